"""How things end: undo steps, the destroy and the sweep after it, the receipt, what has expired.

Nothing here starts anything.
"""

from runner.teardown.end import end_bake, end_batch, report_removal
from runner.teardown.expired import Key, clients_gone, find_busy, find_expired, item_of
from runner.teardown.known import check_known
from runner.teardown.receipt import close_journal, closed_journal, read_receipt, receipt_files, write_receipt
from runner.teardown.steps import Interrupted, Steps, deferred_signals, raised_signals

__all__ = [
    "Interrupted",
    "Key",
    "Steps",
    "check_known",
    "clients_gone",
    "close_journal",
    "closed_journal",
    "deferred_signals",
    "end_bake",
    "end_batch",
    "find_busy",
    "find_expired",
    "item_of",
    "raised_signals",
    "read_receipt",
    "receipt_files",
    "report_removal",
    "write_receipt",
]
