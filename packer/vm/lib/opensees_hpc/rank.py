"""One rank of a run: runs a Tcl or Python script on OpenSees, and reports its end to the launcher.

``python -m opensees_hpc.rank tcl|python SCRIPT [ARGS]``. The launcher's pipe and output streams come as descriptor
numbers in the environment: output does not pass through mpiexec, so the last line of a failing rank is written before
any rank is ended. Without a launcher (one process, no MPI) only the exit code is reported.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import stat
import sys
import time
import traceback
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path
from types import ModuleType

from .engine import import_engine

REPORT_FD = "OPENSEES_HPC_REPORT_FD"
OUTPUT_FDS = "OPENSEES_HPC_OUTPUT_FDS"
RANKS = "OPENSEES_HPC_RANKS"
WAIT_FOR_LAUNCHER_S = 10.0
FRONT_END_FAILED = 70


class Rank:
    """The reports of this process to the launcher: that it began, and the exit code of its script."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self._report_fd = int(environment.pop(REPORT_FD, "-1"))
        self._outputs = [int(fd) for fd in environment.pop(OUTPUT_FDS, "").split(",") if fd]
        self.wanted_ranks = int(environment.pop(RANKS, "1"))
        self.number = int(environment.get("PMI_RANK", "0"))

    def take_output(self) -> None:
        """Use the launcher's own stdout and stderr instead of mpiexec's pipes."""
        for target, fd in enumerate(self._outputs, start=1):
            os.dup2(fd, target)
            os.close(fd)

    def report(self, word: str, value: int) -> None:
        if self._report_fd >= 0:
            with contextlib.suppress(OSError):
                os.write(self._report_fd, f"{word} {self.number} {value}\n".encode())

    def leave(self, code: int) -> None:
        """End this process. With a code other than 0 the launcher ends all ranks, and MPI is not shut down."""
        self.report("end", code)
        if code and self._report_fd >= 0:
            time.sleep(WAIT_FOR_LAUNCHER_S)
            os._exit(code)
        sys.exit(code)


def end_last_line() -> None:
    """Add the missing newline after a script's last output: OpenSees prints a line when it is unloaded.

    This can be checked only in a file such as a job's log.
    """
    for fd in (1, 2):
        with contextlib.suppress(OSError):
            size = os.fstat(fd).st_size if stat.S_ISREG(os.fstat(fd).st_mode) else 0
            with Path(f"/dev/fd/{fd}").open("rb") as written:
                if size and os.pread(written.fileno(), 1, size - 1) != b"\n":
                    os.write(fd, b"\n")


def _say(text: str) -> None:
    os.write(2, f"{text}\n".encode(errors="backslashreplace"))


def run_tcl(ops: ModuleType, rank: Rank, script: Path, arguments: Sequence[str]) -> int:
    """Run a Tcl script and return its exit code, 1 for a Tcl error."""
    from .interpreter import Interpreter

    interpreter = Interpreter(ops)
    end = interpreter.run_script(script, arguments)
    interpreter.flush()
    if end.error:
        _say(f"openseesmp: Tcl error on rank {rank.number} of {rank.wanted_ranks} in {script}:\n{end.error}")
    return end.exit_code


def run_python(ops: ModuleType, rank: Rank, script: Path, arguments: Sequence[str]) -> int:
    """Run an OpenSeesPy script as ``__main__`` and return its exit code, 1 for an exception."""
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.resolve().parent))
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 0xFF
        _say(str(end.code))
        return 1
    except BaseException:
        _say(f"openseespy: error on rank {rank.number} of {rank.wanted_ranks} in {script}:\n{traceback.format_exc()}")
        return 1
    return 0


KINDS: dict[str, Callable[[ModuleType, Rank, Path, Sequence[str]], int]] = {"tcl": run_tcl, "python": run_python}


def run_script(rank: Rank, kind: str, script: Path, arguments: Sequence[str]) -> int:
    """Run the script and return its exit code, with everything flushed: recorders by ``wipe``, then the streams."""
    ops = import_engine()
    if ops.getNP() != rank.wanted_ranks:
        _say(
            f"openseesmp: {rank.wanted_ranks} ranks were requested, but this OpenSees sees {ops.getNP()}: it has no MPI here"
        )
        return FRONT_END_FAILED
    code = KINDS[kind](ops, rank, script, arguments)
    ops.wipe()
    sys.stdout.flush()
    sys.stderr.flush()
    end_last_line()
    return code


def main(arguments: Sequence[str]) -> None:
    # Otherwise Python would handle the first Ctrl-C only after the call of OpenSees that it waits for.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    kind, script, *rest = arguments
    rank = Rank(os.environ)
    rank.take_output()
    rank.report("begin", os.getpid())
    try:
        code = run_script(rank, kind, Path(script), rest)
    except Exception:
        _say(f"openseesmp: rank {rank.number} failed outside the script:\n{traceback.format_exc()}")
        code = FRONT_END_FAILED
    rank.leave(code)


if __name__ == "__main__":
    main(sys.argv[1:])
