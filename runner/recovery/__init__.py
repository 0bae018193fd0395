"""Abandoned sessions: reported, or ended where nobody needs to be asked.

Batches that live are left alone.
"""

from runner.recovery.sessions import report_dead_sessions

__all__ = [
    "report_dead_sessions",
]
