"""Sessions that nobody looks after any more: told, or ended where that asks nothing of anybody.

Batches that live are left alone.
"""

from runner.recovery.sessions import report_dead_sessions

__all__ = [
    "report_dead_sessions",
]
