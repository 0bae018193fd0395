"""The journal of a batch or bake: what is about to be created and what happened to it, on the disk before anything else happens.

Nothing here calls a cloud. ``model.journal_state`` interprets the records.
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
