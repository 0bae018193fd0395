"""The statuses of a job. Names and values are those of EXAUQ-Toolbox's ``exauq.sim_management.hardware``."""

from __future__ import annotations

from enum import Enum


class JobStatus(Enum):
    """How it stands with a job."""

    CANCELLED = "Cancelled"
    """It was ended because someone asked for it."""

    COMPLETED = "Completed"
    """It has ended, with a result."""

    FAILED = "Failed"
    """It has ended without a result."""

    FAILED_CANCEL = "Failed cancel"
    """It was to be ended, and still runs."""

    FAILED_SUBMIT = "Failed submit"
    """It could not be brought to the remote machine; nothing of it is there."""

    PENDING_CANCEL = "Pending cancel"
    """Its end was asked for, and has not been carried out."""

    PENDING_SUBMIT = "Pending submit"
    """It has not been submitted."""

    RUNNING = "Running"
    """It runs on the remote machine."""

    SUBMITTED = "Submitted"
    """It is on the remote machine and about to run."""


PENDING_STATUSES = {JobStatus.PENDING_CANCEL, JobStatus.PENDING_SUBMIT}
"""Something was asked for and is still to be done."""

TERMINAL_STATUSES = {JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.FAILED_SUBMIT, JobStatus.CANCELLED}
"""Nothing runs any more."""
