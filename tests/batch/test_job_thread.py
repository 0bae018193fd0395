"""The life of one attempt on a VM of a few lists: what follows from how its pushes end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runner.batch.job_thread import Assignment, JobThread
from runner.batch.live_logs import LiveLogs
from runner.batch.messages import JobDone, JobTrouble, Message
from runner.batch.summary import JobOutcome
from runner.errors import RemoteError, UnreachableError
from runner.hardware import JobStatus
from runner.jobsfile.preflight import JobInputs
from runner.lease.keeper import WatchedError
from runner.model.batch import Expectation, Job
from runner.model.events import Listener
from runner.model.states import JobState
from runner.results.corrupt_pushes import CorruptPushError
from runner.results.tracker import DownloadedSet
from tests.support.small_cloud import SmallCompute, small_context

FULL = RemoteError("the jobs could not be submitted: the disk is full", host="b-0")
GONE = RemoteError("the connection is lost", host="b-0")


@dataclass(kw_only=True)
class PushingVm:
    """A VM whose jobs end at once. ``pushes``: how one push after the other ends; an error: it cannot be begun."""

    pushes: list[int | RemoteError | None]
    is_there: bool = True
    waits: list[float | None] = field(default_factory=list)
    commands: list[Sequence[str]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)

    def submit_job(self, job: Any, resubmit: bool = False) -> None:
        self.commands.append(job.on_end or job.command)
        if isinstance(self.pushes[0], RemoteError):
            self.refused.add(job.id)
            self.is_there = self.pushes[0] is not GONE
            raise self.pushes[0]

    def follow_bytes(self, name: str, from_byte: int) -> Iterator[Any]:
        yield from ()

    def wait(self, job_ids: Sequence[str], timeout: float | None = None, *, after: bool = False) -> None:
        self.waits.append(timeout)

    def get_job_status(self, name: str) -> JobStatus:
        if not self.is_there:
            raise GONE
        return JobStatus.FAILED_SUBMIT if name in self.refused else JobStatus.PENDING_SUBMIT

    def get_job_output(self, name: str) -> Any:
        code = self.pushes.pop(0)
        is_push = ".push-" in name
        exit_code = code if is_push else 0
        return SimpleNamespace(exit_code=exit_code, on_end_exit_code=code, wall_s=1.0, core_s=1.0, last_lines=())


@dataclass(kw_only=True)
class SmallCollector:
    """A collector that downloads everything at once. ``corrupt``: the pushes that arrive corrupt."""

    folder: Path
    corrupt: tuple[int, ...] = ()
    asked: list[int] = field(default_factory=list)

    def wait_downloaded(self, job: str, attempt: int, *, timeout_s: float, least_push: int = 1) -> DownloadedSet:
        self.asked.append(least_push)
        if least_push in self.corrupt:
            raise CorruptPushError("corrupt", push=least_push)
        (self.folder / ".job").mkdir(parents=True, exist_ok=True)
        (self.folder / ".job" / "end").write_text("ended 0 0 1.0 2.0 - -\n")
        return DownloadedSet(
            job=job, attempt=attempt, push=least_push, folder=self.folder, files=1, size_bytes=1, crc32c="AAAAAA=="
        )


def _run(
    folder: Path,
    vm: PushingVm,
    collector: SmallCollector | None = None,
    check: Callable[[], None] = lambda: None,
    closed: threading.Event | None = None,
) -> Message | None:
    """Return what the thread reported last."""
    reported: list[Message] = []
    context = small_context(folder, SmallCompute())
    job = Job(
        name="a",
        folder=folder,
        main="main.tcl",
        np=1,
        timeout_s=60.0,
        args=(),
        include=(),
        expect=Expectation(),
        entry=0,
    )
    inputs = JobInputs(job=job, files=(), size_bytes=0)
    JobThread(
        context=context,
        batch="b",
        assignment=Assignment(inputs=inputs, attempt=1, vm="b-0", is_there=False),
        interface=cast(Any, vm),
        collector=cast(Any, collector or SmallCollector(folder=folder / "downloaded")),
        live_logs=LiveLogs(folder / "logs", Listener()),
        report=reported.append,
        check=check,
        closed=closed or threading.Event(),
    ).run()
    return reported[-1] if reported else None


def test_no_job_is_started_in_a_batch_of_another_client(tmp_path: Path) -> None:
    """A client that wakes decides to begin jobs before it hears that its lease is lost."""

    def check() -> None:
        raise WatchedError("it is another client's", holder="them")

    vm = PushingVm(pushes=[0])
    assert _run(tmp_path, vm, check=check) is None
    assert vm.commands == []


def test_a_job_starts_once_the_lease_is_known_to_be_ours(tmp_path: Path) -> None:
    silences = [UnreachableError("nobody knows whose it is")] * 3

    def check() -> None:
        if silences:
            raise silences.pop()

    message = _run(tmp_path, PushingVm(pushes=[0]), check=check)
    assert isinstance(message, JobDone)
    assert silences == []


def test_no_job_is_started_once_the_connections_are_closed(tmp_path: Path) -> None:
    closed = threading.Event()

    def check() -> None:
        closed.set()
        raise UnreachableError("nobody knows whose it is")

    vm = PushingVm(pushes=[0])
    assert _run(tmp_path, vm, check=check, closed=closed) is None
    assert vm.commands == []


def _outcome(folder: Path, vm: PushingVm, collector: SmallCollector | None = None) -> JobOutcome:
    message = _run(folder, vm, collector)
    assert isinstance(message, JobDone), message
    return message.outcome


def test_a_push_may_take_as_long_as_its_vm_may(tmp_path: Path) -> None:
    vm = PushingVm(pushes=[0])
    assert _outcome(tmp_path, vm).state is JobState.SUCCEEDED
    assert vm.waits == [None]


@pytest.mark.parametrize("code", [1, 4, 6, 137, -1])
def test_a_failed_push_is_repeated(tmp_path: Path, code: int) -> None:
    vm, collector = PushingVm(pushes=[code, code, 0]), SmallCollector(folder=tmp_path / "downloaded")
    assert _outcome(tmp_path, vm, collector).state is JobState.SUCCEEDED
    prefixes = [words[words.index("--prefix") + 1] for words in vm.commands]
    assert prefixes == ["b/a/attempt-1/", "b/a/attempt-1.push-2/", "b/a/attempt-1.push-3/"]
    assert collector.asked == [3]


@pytest.mark.parametrize(("pushes", "code"), [([6, 6, 6], 6), ([6, None, 4], 4), ([5], 5), ([1, FULL], 1)])
def test_results_whose_last_push_fails_are_lost(
    tmp_path: Path, pushes: list[int | RemoteError | None], code: int
) -> None:
    vm = PushingVm(pushes=list(pushes))
    outcome = _outcome(tmp_path, vm)
    assert outcome.state is JobState.LOST
    assert f"(push-results: {code})" in outcome.message
    assert len(vm.commands) == len(pushes)


def test_a_vm_that_is_lost_before_it_can_push_again_is_reported(tmp_path: Path) -> None:
    message = _run(tmp_path, PushingVm(pushes=[6, GONE]))
    assert isinstance(message, JobTrouble)
    assert message.error is GONE


def test_corrupt_results_are_pushed_again(tmp_path: Path) -> None:
    collector = SmallCollector(folder=tmp_path / "downloaded", corrupt=(1, 2))
    assert _outcome(tmp_path, PushingVm(pushes=[0, 0, 3]), collector).state is JobState.SUCCEEDED
    assert collector.asked == [1, 2, 3]
    message = _run(tmp_path, PushingVm(pushes=[0, FULL]), SmallCollector(folder=tmp_path / "downloaded", corrupt=(1,)))
    assert isinstance(message, JobTrouble)
    assert "are corrupt, and cannot be pushed again" in str(message.error)
