"""A batch from its definition to its end: controller, fleet, jobs, and what one client does in it.

No arguments are read here and nothing is printed. One client's part begins with ``BatchRun``.
"""

from runner.batch.run import BatchRun
from runner.batch.summary import JobOutcome, RunReport, RunSummary

__all__ = [
    "BatchRun",
    "JobOutcome",
    "RunReport",
    "RunSummary",
]
