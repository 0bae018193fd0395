"""Starts the ranks of a run with mpiexec, watches them, and ends them all as soon as one fails or a signal comes.

Every event arrives as a line in one pipe: ranks write ``begin R PID`` and ``end R CODE``, our own signal
handlers write ``signal 0 N`` and ``child 0 0``. So one loop handles them all, without races. Exit codes: packer/README.md.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO

from .rank import OUTPUT_FDS, RANKS, REPORT_FD
from .shared_names import STATUS_VARIABLE

NO_ENGINE = 69
LOST_RANK = 70
STOPPING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PR_SET_PDEATHSIG = 1
# Ranks ask mpiexec's proxy for the hardware topology, which it writes to /tmp, whatever TMPDIR is, and leaves there when
# it is ended by a signal. If the file named here does not exist, it writes none, and each rank detects the topology itself.
TOPOLOGY = {"HWLOC_XMLFILE": "/nonexistent/topology.xml"}
SIGNAL_WORDS = re.compile(rb"\(signal (\d+)\)")


@dataclass(frozen=True, kw_only=True)
class Run:
    """The run to start: ``kind`` is tcl or python (this package on OpenSeesPy), or native (the real OpenSeesMP)."""

    kind: str
    ranks: int
    script: Path
    arguments: tuple[str, ...]
    mpiexec: Path

    def command(self) -> list[str]:
        """Return the command of mpiexec, on this VM only, whatever batch system it may be started in."""
        mpi = [str(self.mpiexec), "-launcher", "fork", "-rmk", "user", "-hosts", "localhost", "-n", str(self.ranks)]
        return [*mpi, *self._rank_command(), str(self.script), *self.arguments]

    def _rank_command(self) -> list[str]:
        if self.kind == "native":
            return [str(Path(__file__).resolve().parents[1] / "native_rank.sh"), "OpenSeesMP"]
        return [sys.executable, "-u", "-m", "opensees_hpc.rank", self.kind]


@dataclass(frozen=True, kw_only=True)
class End:
    """How a run ended. ``signal``: the one that ended a rank, or that this process received; None if the code came from the script."""

    code: int
    signal: int | None = None

    @classmethod
    def by_signal(cls, number: int) -> End:
        """Return the exit code that shells use: 128 plus the signal's number."""
        return cls(code=128 + number, signal=number)

    def write_down(self, file: str) -> None:
        """Write ``exit CODE`` or ``signal NUMBER`` to the status file. A full disk must not keep a run from ending."""
        end = f"exit {self.code}" if self.signal is None else f"signal {self.signal}"
        with contextlib.suppress(OSError):
            Path(file).write_text(f"{end}\n", encoding="ascii")


@dataclass(kw_only=True)
class Watch:
    """The ranks' process IDs and exit codes so far."""

    pids: dict[int, int] = field(default_factory=dict)
    codes: dict[int, int] = field(default_factory=dict)

    def end_all(self, mpiexec: subprocess.Popen[bytes]) -> None:
        """Kill each rank with its child processes (mpiexec makes each rank the leader of a session), then mpiexec."""
        for rank, pid in self.pids.items():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL) if os.getpgid(pid) == pid else os.kill(pid, signal.SIGKILL)
            self.codes.setdefault(rank, 128 + signal.SIGKILL)
        mpiexec.kill()
        mpiexec.wait()


def _die_with_parent() -> None:
    """Have Linux kill mpiexec, and with it the ranks, when the launcher dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start_mpiexec(run: Run, report_fd: int, chatter: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start mpiexec with the ranks; its own output goes to ``chatter`` and is shown only if nothing else explains the end."""
    outputs = (os.dup(1), os.dup(2))
    extra = {REPORT_FD: str(report_fd), OUTPUT_FDS: ",".join(map(str, outputs)), RANKS: str(run.ranks)}
    try:
        return subprocess.Popen(  # noqa: S603
            run.command(),
            env=TOPOLOGY | os.environ | extra,
            stdin=subprocess.DEVNULL,
            stdout=chatter,
            stderr=chatter,
            pass_fds=(report_fd, *outputs),
            preexec_fn=_die_with_parent,
        )
    finally:
        for fd in outputs:
            os.close(fd)


def _forward_signals(report_fd: int) -> None:
    def note(number: int, _frame: FrameType | None) -> None:
        word = "child" if number == signal.SIGCHLD else "signal"
        os.write(report_fd, f"{word} 0 {number}\n".encode())

    for number in (*STOPPING_SIGNALS, signal.SIGCHLD):
        signal.signal(number, note)


def read_events(read_fd: int) -> Iterator[tuple[str, int, int]]:
    with os.fdopen(read_fd, "r", encoding="ascii") as pipe:
        for line in iter(pipe.readline, ""):
            word, rank, value = line.split()
            yield word, int(rank), int(value)


def launch(run: Run, chatter: IO[bytes]) -> End:
    """Run all ranks and return how the run ended; exit codes as in packer/README.md."""
    read_fd, report_fd = os.pipe()
    _forward_signals(report_fd)
    mpiexec = start_mpiexec(run, report_fd, chatter)
    watch = Watch()
    for word, rank, value in read_events(read_fd):
        if word == "begin":
            watch.pids[rank] = value
        elif word == "end":
            watch.codes[rank] = value
            if value:
                watch.end_all(mpiexec)
                return End(code=value)
        elif word == "signal":
            watch.end_all(mpiexec)
            print(f"openseesmp: ended by {signal.Signals(value).name}", file=sys.stderr)  # noqa: T201
            return End.by_signal(value)
        elif (code := mpiexec.poll()) is not None:
            return judge_end(run, watch, code, chatter)
    return End(code=LOST_RANK)


def judge_end(run: Run, watch: Watch, code: int, chatter: IO[bytes]) -> End:
    """Return how a run ended when mpiexec has exited and no rank has reported an error: 0 only if every rank reported success."""
    lost = [rank for rank in range(run.ranks) if rank not in watch.codes]
    if code == 0 and not lost:
        return End(code=0)
    chatter.seek(0)
    words = chatter.read()
    sys.stderr.buffer.write(words)
    named = f"rank {', '.join(map(str, lost))}" if lost else "a rank while leaving MPI"
    print(f"openseesmp: lost {named} (mpiexec ended with {code})", file=sys.stderr)  # noqa: T201
    # mpiexec's exit code is the number of the signal that killed a rank, like any other code; its output tells them apart.
    killed = SIGNAL_WORDS.search(words)
    return End.by_signal(int(killed[1])) if killed else End(code=LOST_RANK)


def open_chatter() -> IO[bytes]:
    """Open a file for mpiexec's output; in memory where that exists, so that a full disk does not matter."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("mpiexec"), "w+b")
    return tempfile.TemporaryFile()


def main(arguments: Sequence[str]) -> int:
    """Run ``python -m opensees_hpc.launch tcl|python|native RANKS SCRIPT [ARGS]``, with the prefix's bin on PATH."""
    kind, ranks, script, *rest = arguments
    mpi_bin = os.environ["OPENSEES_HPC_MPI_BIN"]
    mpiexec = shutil.which("mpiexec.hydra", path=mpi_bin) or shutil.which("mpiexec", path=mpi_bin)
    if mpiexec is None:
        print("openseesmp: mpiexec is missing from this prefix", file=sys.stderr)  # noqa: T201
        return NO_ENGINE
    run = Run(kind=kind, ranks=int(ranks), script=Path(script), arguments=tuple(rest), mpiexec=Path(mpiexec))
    # The file for a caller that has to distinguish a script's exit code over 128 from a signal.
    status_file = os.environ.pop(STATUS_VARIABLE, "")
    with open_chatter() as chatter:
        end = launch(run, chatter)
    if status_file:
        end.write_down(status_file)
    return end.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
