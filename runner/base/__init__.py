"""The stack ``base`` that all batches share, and the turns that commands take at it.

What it consists of is declared in ``infra/base``.
"""

from runner.base.stack import begin_reading_base, ensure_base, wanted_settings
from runner.base.turns import taking_turns

__all__ = [
    "begin_reading_base",
    "ensure_base",
    "taking_turns",
    "wanted_settings",
]
