"""The job interface: submit, status, output, cancel over SSH. Names and behaviour are those of EXAUQ-Toolbox's ``hardware`` module, and more.

Importing this loads no SSH library; opening a connection does.
"""

from __future__ import annotations

from runner.errors import RemoteError as HardwareInterfaceFailureError
from runner.errors import SimulatorOutputParsingError
from runner.hardware.connect import SSHInterface
from runner.hardware.interface import HardwareInterface
from runner.hardware.job import Job, JobId
from runner.hardware.opensees import JobOutput, OpenSeesInterface, OpenSeesJob
from runner.hardware.script import UnixServerScriptInterface
from runner.hardware.status import PENDING_STATUSES, TERMINAL_STATUSES, JobStatus

__all__ = [
    "PENDING_STATUSES",
    "TERMINAL_STATUSES",
    "HardwareInterface",
    "HardwareInterfaceFailureError",
    "Job",
    "JobId",
    "JobOutput",
    "JobStatus",
    "OpenSeesInterface",
    "OpenSeesJob",
    "SSHInterface",
    "SimulatorOutputParsingError",
    "UnixServerScriptInterface",
]
