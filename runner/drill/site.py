"""Where a drill runs: the commands as a user types them, and the same cloud through its API."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from runner import wiring
from runner.context import Context
from runner.errors import CrashError
from runner.system.signals import handled_signals

COMMAND_LIMIT_S = 900.0
STACKS_LIMIT_S = 2.0
_CRASH = re.compile(rb"^Traceback \(most recent call last\)|^warning: .+ ended: ", re.MULTILINE)


class FaultBoard(Protocol):
    """The faults of the embedded cloud. ``arm`` takes a fault as described in docs/faults.md; ``clear`` disarms all.

    ``restart`` kills the cloud, with everything that runs in it, and starts it again.
    """

    def arm(self, fault: Mapping[str, Any]) -> None: ...

    def clear(self) -> None: ...

    def restart(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class DrillSite:
    """``context``: for queries. ``environment``: for the commands, with the same state folder. ``faults``: None if none can be armed.

    ``folder``: for jobs files and results. ``defects``: returns what went wrong inside the cloud so far, if that is visible.
    """

    context: Context
    environment: Mapping[str, str]
    folder: Path
    faults: FaultBoard | None = None
    defects: Callable[[], Sequence[str]] = tuple
    _started: list[Client] = field(default_factory=list)

    @property
    def lease_s(self) -> float:
        """How long a VM continues without a client."""
        return self.context.settings.lease_s

    def start(self, *words: str, environment: Mapping[str, str] | None = None) -> Client:
        """Start ``invoke words…``, without a terminal. ``environment``: instead of the site's own."""
        with _interruptible():
            process = subprocess.Popen(  # noqa: S603 (our own command)
                [sys.executable, "-m", "invoke", *words],
                cwd=self.context.root,
                env=dict(environment or self.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        client = Client(process)
        self._started.append(client)
        return client

    def end_clients(self, limit_s: float) -> None:
        """Interrupt the commands that still run, and kill those that have not ended after this time."""
        running = [client for client in self._started if client.is_running()]
        for client in running:
            client.process.send_signal(signal.SIGINT)
        for client in running:
            client.wait(limit_s)

    def by_hand(self) -> dict[str, str]:
        """Return the variables that a plain ``pulumi`` needs in addition to the site's environment."""
        return wiring.pulumi_shell_environment(self.context)

    def invoke(self, *words: str, limit_s: float = COMMAND_LIMIT_S) -> Client:
        """Run ``invoke words…`` to its end."""
        client = self.start(*words)
        client.wait(limit_s)
        return client


@contextmanager
def _interruptible() -> Iterator[None]:
    """Restore SIGINT, which a shell ignores in its background jobs and children inherit: not those of a drill."""
    is_ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    with handled_signals([signal.SIGINT] if is_ignored else [], signal.default_int_handler):
        yield


class Client:
    """A running command. Its output is read into memory as it comes, so that a full disk stops only the command."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._output: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self._readers = [
            threading.Thread(target=self._read, args=(name, stream), daemon=True)
            for name, stream in (("stdout", process.stdout), ("stderr", process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        """The ID of its process."""
        return self.process.pid

    @property
    def exit_code(self) -> int | None:
        """Its exit code: None while it runs, negative for a signal."""
        return self.process.returncode

    def is_running(self) -> bool:
        """Return whether it runs."""
        return self.process.poll() is None

    def has_ended_within(self, limit_s: float) -> bool:
        """Wait for its end; return False if that takes longer than this."""
        try:
            self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def read_stacks(self) -> str:
        """Return the stacks of its threads, as it prints them, while it runs."""
        before = len(self._output["stderr"])
        self.process.send_signal(signal.SIGUSR1)
        time.sleep(STACKS_LIMIT_S)
        return bytes(self._output["stderr"][before:]).decode("utf-8", "replace")

    def wait(self, limit_s: float) -> bool:
        """Wait for its end; kill it and return False if that takes longer than this."""
        try:
            if self.has_ended_within(limit_s):
                return True
            self.process.kill()
            self.process.wait()
            return False
        finally:
            for reader in self._readers:  # children that outlive it may hold its pipes open
                reader.join(1.0)

    def events(self) -> list[dict[str, Any]]:
        """Return the events that it printed as JSON lines."""
        lines = bytes(self._output["stdout"]).decode("utf-8", "replace").splitlines()
        return [event for line in lines if (event := _parse(line)) is not None]

    def summary(self) -> Mapping[str, Any]:
        """Return its summary of the batch; empty if it printed none."""
        return next((event for event in reversed(self.events()) if event.get("event") == "summary"), {})

    def last_output(self) -> str:
        """Return the end of its output, for diagnosis."""
        return "".join(bytes(text[-2000:]).decode("utf-8", "replace") for text in self._output.values())

    def has_crashed(self) -> bool:
        """Return whether it, or one of its threads, crashed: a fault in opensees-hpc, reported in a sentence or as a traceback."""
        return self.exit_code == CrashError.exit_code or _CRASH.search(self._output["stderr"]) is not None

    def _read(self, name: str, stream: IO[bytes] | None) -> None:
        if stream is not None:
            with stream:
                while piece := stream.read1():  # type: ignore[attr-defined]  # a pipe's reader is buffered
                    self._output[name] += piece


def _parse(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
