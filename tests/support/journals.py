"""Queries of a journal for tests."""

from __future__ import annotations

from runner.model.journal_state import JournalState, Resource


def open_resources(journal: JournalState) -> tuple[Resource, ...]:
    """Return the resources that may still exist: intended or created, not meant to stay, and not known to be gone."""
    return tuple(item for item in journal.resources if item.gone is None and not item.is_kept)
