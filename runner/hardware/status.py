"""The statuses of a job. Names and values are those of EXAUQ-Toolbox's ``exauq.sim_management.hardware``."""

from __future__ import annotations

from enum import Enum


class JobStatus(Enum):
    """The status of a job."""

    CANCELLED = "Cancelled"
    """It was ended on request."""

    COMPLETED = "Completed"
    """It has ended with a result."""

    FAILED = "Failed"
    """It has ended without a result."""

    FAILED_CANCEL = "Failed cancel"
    """It was to be ended, but still runs."""

    FAILED_SUBMIT = "Failed submit"
    """It could not be transferred to the host; nothing of it is left there."""

    PENDING_CANCEL = "Pending cancel"
    """Its cancellation was requested, but has not happened yet."""

    PENDING_SUBMIT = "Pending submit"
    """It has not been submitted."""

    RUNNING = "Running"
    """It is running on the host."""

    SUBMITTED = "Submitted"
    """It is on the host and about to run."""


PENDING_STATUSES = {JobStatus.PENDING_CANCEL, JobStatus.PENDING_SUBMIT}
"""Something was requested and has not happened yet."""

TERMINAL_STATUSES = {JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.FAILED_SUBMIT, JobStatus.CANCELLED}
"""Nothing is running any more."""
