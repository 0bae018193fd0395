"""Abandoned batches and bakes: reported, or ended where nobody needs to be asked.

Batches that live are left alone.
"""

from runner.recovery.report import report_abandoned_batches

__all__ = [
    "report_abandoned_batches",
]
