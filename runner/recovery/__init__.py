"""Abandoned batches and bakes: reported, or ended where no question is needed.

Batches with a living client are left alone.
"""

from runner.recovery.report import report_abandoned_batches

__all__ = [
    "report_abandoned_batches",
]
