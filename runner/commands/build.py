"""``invoke build``: bake, clean up, validate, and only then create an image of the family ``opensees-hpc``."""

from __future__ import annotations

from runner.bake import RECIPES, BuildSummary, ask_for_bake, bake
from runner.base import base_lock
from runner.context import Context

__all__ = ["RECIPES", "BuildSummary", "execute"]


def execute(context: Context, *, recipe: str) -> BuildSummary:
    """Bake a new image; the old ones of the family are deprecated, not deleted.

    Raises:
        MissingToolError: this computer lacks what the bake needs; nothing was created.
        DeclinedError: the user declined; nothing was created.
        BuildError: a script failed or the image did not validate; the builder is gone.
        LeftoverError: the builder could not be removed.
    """
    context.cloud.open()
    context.cloud.check_bake(recipe)
    ask_for_bake(context, recipe)
    with base_lock(context):
        return bake(context, recipe=recipe)
