"""What a journal tells, in the words that tests ask with."""

from __future__ import annotations

from runner.model.journal_state import JournalState, Resource


def open_resources(journal: JournalState) -> tuple[Resource, ...]:
    """What may still be there: it was intended or created, is not meant to stay, and nobody has seen that it is gone."""
    return tuple(item for item in journal.resources if item.gone is None and not item.is_kept)
