"""What a journal tells, in the words that tests ask with."""

from __future__ import annotations

from runner.model.session import Resource, Session


def open_resources(session: Session) -> tuple[Resource, ...]:
    """What may still be there: it was intended or created, is not meant to stay, and nobody has seen that it is gone."""
    return tuple(item for item in session.resources if item.gone is None and not item.is_kept)
