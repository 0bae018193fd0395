"""Start, stop and find the embedded cloud of a state folder, from any process. It keeps running in the background."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import psutil

from runner.emulator.control.cloud_log import log_file
from runner.emulator.control.endpoint import Endpoint, read_endpoint
from runner.errors import CloudError, UnreachableError
from runner.system.file_lock import waiting_lock
from runner.system.files import make_private_folder, open_private, remove_tree

START_LIMIT_S = 30.0
STOP_LIMIT_S = 15.0
_POLL_S = 0.02
_LOG_TAIL_LINES = 15
_REPOSITORY = Path(__file__).resolve().parents[3]


def start(state: Path, *, timeout_s: float = START_LIMIT_S, options: Sequence[str] = ()) -> Endpoint:
    """Return the cloud of this folder, and start it if it is not running; two processes that start at once get the same one.

    ``options`` as for ``python -m runner.emulator``; they count only if it has to be started. A cloud of a version without
    tokens is stopped and replaced, if no instance runs in it; one that is about to end is waited for.

    Raises:
        UnreachableError: it did not start; the message has the end of its log.
        CloudError: a cloud of such a version has running instances.
    """
    state = state.resolve()
    make_private_folder(state)
    with _locked(state):
        running = status(state)
        if running is not None and running.has_stopped_listening():
            _stop(state)
        elif running is not None and running.token_file:
            return running
        elif running is not None:
            _retire(state, running)
        return _launch(state, timeout_s, options)


def status(state: Path) -> Endpoint | None:
    """Return its endpoint, or None if it is not running."""
    endpoint = read_endpoint(state)
    return endpoint if endpoint is not None and endpoint.is_alive() else None


def stop(state: Path) -> bool:
    """End it, with everything in it; running instances are reported as terminated later. Return False if it was not running.

    Raises:
        CloudError: it cannot be ended.
    """
    if not state.is_dir():
        return False
    with _locked(state):
        return _stop(state)


def kill(state: Path) -> None:
    """End it as a power cut would, with everything in it, and wait until it is gone.

    Raises:
        CloudError: it cannot be ended.
    """
    if not state.is_dir():
        return
    with _locked(state):
        _stop(state, by=(psutil.Process.kill,))


def reset(state: Path) -> None:
    """End it and delete its folder."""
    if not state.is_dir():
        return
    with _locked(state):
        _stop(state)
        remove_tree(state)


def _locked(state: Path) -> AbstractContextManager[None]:
    """Hold the lock of this folder; the lock file is beside the folder, so that a reset does not delete it."""
    return waiting_lock(state.with_name(f".{state.name}.lock"))


def _launch(state: Path, timeout_s: float, options: Sequence[str]) -> Endpoint:
    command = [sys.executable, "-m", "runner.emulator", "--state", str(state), *options]
    with open_private(log_file(state)) as log:
        process = subprocess.Popen(  # noqa: S603 - our own module
            command, cwd=_REPOSITORY, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        endpoint = status(state)
        if endpoint is not None and endpoint.pid == process.pid:
            process.returncode = 0  # it keeps running, and is not waited for
            return endpoint
        if process.poll() is not None:
            raise _not_started(state, f"ended with exit code {process.returncode}")
        time.sleep(_POLL_S)
    process.kill()
    process.wait()
    raise _not_started(state, f"did not answer within {timeout_s:g} s")


def _retire(state: Path, running: Endpoint) -> None:
    """End a cloud of a version that requires no token."""
    request = urllib.request.Request(f"{running.url}/_local/status")  # noqa: S310 - our own address
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=STOP_LIMIT_S) as answer:
            instances = json.load(answer)["instances"]
    except (OSError, ValueError, KeyError) as error:
        raise UnreachableError(f"cannot list the VMs of the embedded cloud at {running.url}: {error}") from error
    if any(one["status"] != "TERMINATED" for one in instances):
        raise CloudError(
            "the running embedded cloud is of an older version, which accepts requests from every user of this computer; "
            f"it has {len(instances)} VMs",
            remedy="end its batches with the version that started them, or stop them with `invoke local.stop`",
        )
    _stop(state)


def _not_started(state: Path, why: str) -> UnreachableError:
    lines = log_file(state).read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
    last_lines = "\n".join(lines)
    return UnreachableError(f"the embedded cloud {why}:\n{last_lines}", remedy=f"see {log_file(state)}")


def _stop(
    state: Path, *, by: Sequence[Callable[[psutil.Process], None]] = (psutil.Process.terminate, psutil.Process.kill)
) -> bool:
    endpoint = status(state)
    if endpoint is None:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(endpoint.pid)
        for end in by:
            end(process)
            with contextlib.suppress(psutil.TimeoutExpired):
                process.wait(timeout=STOP_LIMIT_S)
                return True
        raise CloudError(f"cannot end the embedded cloud (process {endpoint.pid})")
    return True
