"""The one tree of errors, each with its exit code. Errors carry data; foreign errors are mapped at the seam with ``raise … from``.

    HpcError                      1   anything that ends a command
    ├── InputError                2   a jobs file, setting or argument is wrong; nothing was created
    ├── MissingToolError          3   a program or package that is needed is missing
    ├── CloudError                4   Google Cloud API error, or the cloud could not be reached
    │   ├── UnreachableError          no answer at all
    │   ├── PermissionDeniedError     401 or 403
    │   ├── NotFoundError             404
    │   ├── ConflictError             409 or 412
    │   ├── QuotaError                a quota is too small
    │   └── StockoutError             the zone has no such VM available now
    ├── RemoteError               5   SSH: connect, host key, a command on an instance
    │   ├── HostKeyError              the host is not the one we know
    │   ├── RemoteCommandError        a remote command ended with an exit code that is not 0
    │   └── JobsNotStartedError       jobs of a submit that a host could not start
    ├── StackError                6   the Pulumi engine failed
    ├── BuildError                7   the image could not be baked or did not validate
    ├── LeftoverError             8   a billable resource could not be removed
    ├── DiskError                10   a disk of this computer is full, over quota or cannot be written; nothing was lost
    ├── CrashError               11   a fault in opensees-hpc itself; a file has the report
    ├── SimulatorOutputParsingError   what a simulation wrote is not one number
    └── DeclinedError             9   the user declined, or nobody could be asked

A wrong argument of a call is a ValueError, such as JobsRefusedError: IDs of jobs that are taken, or not known.

Exit code 1 without an error: at least one job did not succeed. Exit code 130: interrupted. ``EXIT_CODES`` has all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

INTERRUPTED_EXIT_CODE = 130
# What each exit code of a command means, wherever it can be one. The help of a command says with which it can end.
EXIT_CODES: Mapping[int, str] = {
    0: "success",
    1: "something did not succeed, though the command ran to its end",
    2: "a file, setting or argument is wrong; nothing was created",
    3: "a program or package is missing",
    4: "Google Cloud API error, or the cloud could not be reached",
    5: "SSH failed",
    6: "Pulumi failed",
    7: "the image could not be baked, or did not validate",
    8: "a billable resource is left and could not be removed",
    9: "declined",
    10: "a disk of this computer is full or cannot be written; nothing was lost",
    11: "a fault in opensees-hpc itself; a file has the report",
    129: "the terminal was closed (SIGHUP)",
    INTERRUPTED_EXIT_CODE: "Ctrl-C (SIGINT)",
    143: "terminated (SIGTERM)",
}


class HpcError(Exception):
    """Anything that ends a command. ``remedy`` says what the user can do; it is shown under the message."""

    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


@dataclass(frozen=True, kw_only=True)
class InputProblem:
    """One error in a file: where (1-based line and column, 0 if not known), what, and the remedy."""

    file: Path | None
    line: int
    column: int
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        where = "" if self.file is None else f"{self.file}:{self.line}:{self.column}: "
        return f"{where}{self.message}" + (f" ({self.remedy})" if self.remedy else "")


class InputError(HpcError):
    """Bad input. ``problems`` holds every problem found, in file order."""

    exit_code = 2

    def __init__(self, problems: Sequence[InputProblem] | str, *, remedy: str = "") -> None:
        if isinstance(problems, str):
            problems = [InputProblem(file=None, line=0, column=0, message=problems)]
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems), remedy=remedy)


class MissingToolError(HpcError):
    """A program or package that is needed is missing."""

    exit_code = 3


class CloudError(HpcError):
    """Google Cloud API error. ``reason`` is Google's own word (``errors[].reason``), ``status`` the HTTP status, 0 if none.

    ``retry_after_s``: the wait that the cloud asked for, 0 if it did not.
    """

    exit_code = 4

    def __init__(self, message: str, *, reason: str = "", status: int = 0, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.reason = reason
        self.status = status
        self.retry_after_s = 0.0


class UnreachableError(CloudError):
    """No answer at all."""


class PermissionDeniedError(CloudError):
    """401 or 403."""


class NotFoundError(CloudError):
    """404."""


class ConflictError(CloudError):
    """409 or 412."""


class QuotaError(CloudError):
    """A quota is too small."""


class StockoutError(CloudError):
    """The zone has no such VM available now. ``zones_available``: the zones that Google proposes instead, if any."""

    def __init__(self, message: str, *, reason: str = "", status: int = 0, zones_available: Sequence[str] = ()) -> None:
        super().__init__(message, reason=reason, status=status)
        self.zones_available = tuple(zones_available)


class RemoteError(HpcError):
    """SSH to ``host`` failed."""

    exit_code = 5

    def __init__(self, message: str, *, host: str = "", remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.host = host


class HostKeyError(RemoteError):
    """The host showed a key that is not the one we know."""


class RemoteCommandError(RemoteError):
    """A remote command ended with ``exit_code_remote`` (None: killed); ``last_lines`` is the end of what it printed."""

    def __init__(
        self, message: str, *, host: str, command: str, exit_code_remote: int | None, last_lines: Sequence[str] = ()
    ) -> None:
        super().__init__(message, host=host)
        self.command = command
        self.exit_code_remote = exit_code_remote
        self.last_lines = tuple(last_lines)


class JobsNotStartedError(RemoteError):
    """The host could not start some jobs of a submit. ``refused``: as that of JobsRefusedError; the IDs under ``failed`` are free."""

    def __init__(self, message: str, *, host: str, refused: Mapping[str, Mapping[str, str]]) -> None:
        super().__init__(message, host=host)
        self.refused = refused


class JobsRefusedError(ValueError):
    """Some jobs of a submit have IDs that cannot be submitted now. ``refused``: the reasons by ID, by what it is: exists, none, busy."""

    def __init__(self, message: str, *, refused: Mapping[str, Mapping[str, str]]) -> None:
        super().__init__(message)
        self.refused = refused


class SimulatorOutputParsingError(HpcError):
    """What a simulation wrote as its output is not one number."""


class StackError(HpcError):
    """The Pulumi engine failed. ``diagnostics``: the engine's own error messages, as shown to the user.

    ``lost_vms``: the VMs of which it complains that they went while they were being made.
    """

    exit_code = 6

    def __init__(
        self, message: str, *, diagnostics: Sequence[str] = (), lost_vms: Sequence[str] = (), remedy: str = ""
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.diagnostics = tuple(diagnostics)
        self.lost_vms = tuple(lost_vms)


class BuildError(HpcError):
    """The image could not be baked or did not validate."""

    exit_code = 7


class LeftoverError(HpcError):
    """Billable resources could not be removed. ``items`` names each."""

    exit_code = 8

    def __init__(self, message: str, *, items: Sequence[str], remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.items = tuple(items)


class DiskError(HpcError):
    """A disk of this computer is full, over quota or cannot be written. What could not be saved is still where it was."""

    exit_code = 10


class CrashError(HpcError):
    """A fault in opensees-hpc itself. ``report``: the file with what is needed to fix it, None if it could not be written."""

    exit_code = 11

    def __init__(self, message: str, *, report: Path | None, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.report = report


class DeclinedError(HpcError):
    """The user declined, or nobody could be asked."""

    exit_code = 9
