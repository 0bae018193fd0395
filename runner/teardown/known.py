"""The batches and bakes that are known: to the cloud, the bucket, a stack or a journal. An unknown name is a mistake of the user."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from runner.context import Context
from runner.errors import InputError
from runner.model import names
from runner.model.journal_state import BAKE
from runner.model.leftover import BILLED, Kind

KNOWING = (*BILLED, Kind.IMAGE, Kind.ACCOUNT, Kind.CONTROL, Kind.RESULTS, Kind.STACK)
NEAR = 3  # names that are shown


def check_known(context: Context, *, batch: str = "", bake: str = "") -> None:
    """Make sure that a batch or bake of this name exists or existed. It reads the whole bucket: call it only if nothing of it was found.

    Raises:
        InputError: the name is unknown. It is not raised if something could not be read.
    """
    journals = [journal for name in context.journals.names() if (journal := context.journals.read(name)) is not None]
    found = context.cloud.inventory.find(KNOWING, {"app": names.APP})
    bakes = {item.bake for item in found.items} | {one.name for one in journals if one.kind == BAKE}
    batches = {item.batch for item in found.items} | {one.name for one in journals if one.kind != BAKE}
    name, own, others = (batch, batches, bakes) if batch else (bake, bakes, batches)
    if name in own or found.unread:
        return
    kind, other = ("batch", "bake") if batch else ("bake", "batch")
    raise InputError(
        f"no {kind} {name}: not in the cloud, the bucket, the stacks or the journals on this computer",
        remedy=f"{name} is a {other}: --{other} {name}" if name in others else _near(name, own - {""}),
    )


def _near(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=NEAR) or sorted(known)[-NEAR:]
    return f"did you mean {' or '.join(near)}?" if near else "`invoke status` shows what exists"
