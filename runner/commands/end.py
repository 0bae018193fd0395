"""The end of a batch: destroy its stack, then ask the cloud itself whether anything with the batch's label is left."""

from __future__ import annotations

from runner.commands.context import Context
from runner.commands.events import Listener, Phases
from runner.commands.progress import tell_stack_progress
from runner.core.compute import Item
from runner.errors import HpcError, LeftoverError
from runner.model import names


def end_batch(context: Context, batch: str, listener: Listener, phases: Phases) -> None:
    """Destroy and remove the batch's stack, then delete what is left of it by label. Idempotent.

    Raises:
        LeftoverError: something billable is still there; its ``items`` say what.
    """
    failure: HpcError | None = None
    with phases.phase("destroy"):
        try:
            context.cloud.stacks.destroy("analysis", batch, tell_stack_progress(listener, batch))
            context.cloud.stacks.remove("analysis", batch)
        except HpcError as error:
            failure = error
            listener.tell("warning", message=f"pulumi destroy failed, going on by label: {error}")
    with phases.phase("check"):
        left = sweep(context, names.labels_of_batch(batch), listener)
    if left:
        raise LeftoverError(
            f"batch {batch}: still there: {', '.join(left)}",
            items=left,
            remedy=f"delete them in the console of project {context.settings.project}",
        ) from failure
    if failure is not None:
        raise failure


def sweep(context: Context, labels: dict[str, str], listener: Listener) -> list[str]:
    """Delete everything that bears these labels, going on after errors; what is still there afterwards."""
    compute = context.cloud.compute
    for item in compute.labelled(labels):
        try:
            _delete(context, item)
            listener.tell("sweep", what=str(item), state="deleted")
        except HpcError as error:
            listener.tell("sweep", what=str(item), state="failed", message=str(error))
    return [str(item) for item in compute.labelled(labels)]


def _delete(context: Context, item: Item) -> None:
    deletions = {"instances": context.cloud.compute.delete_instance, "disks": context.cloud.compute.delete_disk}
    if item.kind in deletions:
        deletions[item.kind](item.zone, item.name)
