"""The image that VMs boot: baked on a builder, validated there, and only then created. ``run`` and ``build`` bake it.

What is baked is in ``packer``. Nothing here knows of batches or jobs.
"""

from runner.bake.image import BuildSummary, ask_for_bake, bake, ensure_image, serves
from runner.bake.scripts import RECIPES

__all__ = [
    "RECIPES",
    "BuildSummary",
    "ask_for_bake",
    "bake",
    "ensure_image",
    "serves",
]
