"""The journal of a batch or bake: what is about to be created and what became of it, on the disk before anything else happens.

Nothing here asks a cloud. What the records come to is in ``model.journal_state``.
"""

from runner.journal.journal import Journal, Journals, NameTakenError
from runner.journal.owner import CLOCK_SLACK_S, gone_clients

__all__ = [
    "CLOCK_SLACK_S",
    "Journal",
    "Journals",
    "NameTakenError",
    "gone_clients",
]
