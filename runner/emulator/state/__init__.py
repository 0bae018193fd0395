"""The state of the embedded cloud: documents in one SQLite file, the clock and its alarms, the settings, the owner's token.

Nothing here knows what a document means.
"""

from runner.emulator.state.clock import Alarms, Clock
from runner.emulator.state.owner import make_owner_token, owner_token_file, read_owner_token
from runner.emulator.state.settings import REGIONS, CloudSettings, region_of
from runner.emulator.state.store import Document, Store

__all__ = [
    "REGIONS",
    "Alarms",
    "Clock",
    "CloudSettings",
    "Document",
    "Store",
    "make_owner_token",
    "owner_token_file",
    "read_owner_token",
    "region_of",
]
