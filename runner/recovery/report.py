"""Abandoned batches and bakes: reported, with their price by the hour, at the start of every command.

For a batch whose client is gone, the commands that continue or end it are shown; a bake is cleaned up at once. Without an open journal
nothing happens here: no cloud is asked or started, and no slow module is imported.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from runner.context import Context
from runner.errors import HpcError

if TYPE_CHECKING:
    from runner.recovery.abandoned import Abandoned


def report_abandoned_batches(
    context: Context,
    *,
    besides: Collection[str] = (),
    may_clean: bool = True,
) -> list[Abandoned]:
    """Report each batch or bake that has not ended and whose owner is gone, as an event ``abandoned``; they are returned.

    Not ``may_clean``: an abandoned bake is only reported. ``besides``: those that the command itself works on. An error
    of a journal or of the cloud is a warning: the command continues.
    """
    try:
        abandoned = [
            item for item in context.journals.open_journals() if item.is_abandoned and item.name not in besides
        ]
    except HpcError as error:
        context.warn(str(error))
        return []
    if not abandoned:
        return []
    from runner.recovery.abandoned import report_abandoned

    return report_abandoned(context, abandoned, may_clean=may_clean)
