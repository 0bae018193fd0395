"""The resources that have expired, for commands that only report them: what ``cleanup`` would delete, by the same rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from runner.context import Context
from runner.errors import HpcError
from runner.google import Instance
from runner.journal import gone_clients
from runner.model.leftover import ANY_OWNER, Item, Kind, Scope

Key = tuple[Kind, str, str]


def find_busy(context: Context) -> Mapping[str, str]:
    """Return the batches and bakes that a living process of this computer runs, and which process.

    Raises:
        HpcError: the journals cannot be read.
    """
    return {
        journal.name: str(journal.owner or "a process")
        for journal in context.journals.open_journals()
        if journal.is_owner_alive
    }


def clients_gone(context: Context) -> frozenset[str]:
    """Return the clients of all open batches that this computer knows to be gone, as ``Lease.is_held_by`` has them.

    Raises:
        HpcError: the journals cannot be read.
    """
    journals = context.journals.open_journals()
    return frozenset().union(*(gone_clients(journal) for journal in journals if journal.is_abandoned))


def find_expired(context: Context, items: Iterable[Item]) -> dict[Key, str]:
    """Return why each expired item has expired, by its key, for all owners. ``items``: all that exist, with the leases of batches."""
    try:
        busy = find_busy(context)
    except HpcError:  # reported at the start of the command
        busy = {}
    scope = Scope(now=context.now(), owner=ANY_OWNER, busy=busy)
    return {choice.item.key: choice.reason for choice in scope.choose(items) if choice.is_taken}


def item_of(instance: Instance) -> Item:
    """Return a VM as a sweep sees it."""
    return Item(
        kind=Kind.INSTANCE,
        name=instance.name,
        location=instance.zone,
        labels=instance.labels,
        state=instance.status,
    )
