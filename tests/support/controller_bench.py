"""A controller on a small cloud with small VMs, for its tests."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from runner.batch.controller import Controller
from runner.batch.downloads import Downloads
from runner.batch.fleet import Fleet
from runner.batch.messages import Inbox, VMDown, VMReady
from runner.batch.stack import VMWish
from runner.context import JournalContext
from runner.errors import (
    CloudError,
    HpcError,
    RemoteError,
)
from runner.google.compute import Instance
from runner.hardware import JobOutput, JobStatus
from runner.hardware.watch import LogPiece
from runner.jobsfile.preflight import JobInputs
from runner.journal.journal import Journal
from runner.lease import LeaseCheck
from runner.model.batch import Expectation, Job
from runner.model.catalog import MACHINE_TYPES
from runner.model.events import Event, Listener
from runner.model.plan import Plan
from runner.results.collector import Collector
from runner.results.tracker import DownloadedSet
from tests.support.small_cloud import LIMIT_S, SmallCompute, instance, small_context

MACHINE = MACHINE_TYPES["c2-standard-4"]
GONE = RemoteError("the connection is lost", host="b")
PUSH_REFUSED = 5


@dataclass(kw_only=True)
class SmallVm:
    """A VM's job interface. Jobs end at once; the push after a job's end waits for ``pushed``, or for the VM's end.

    ``has_long_jobs``: they end with the VM instead.
    """

    has_long_jobs: bool = False
    pushed: threading.Event = field(default_factory=threading.Event)
    waiting: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    statuses: Mapping[str, JobStatus] | RemoteError = field(default_factory=dict)
    refusals: dict[str, Exception] = field(default_factory=dict)
    submitted: list[str] = field(default_factory=list)
    followed: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def cancel_jobs(self, job_ids: Sequence[str]) -> None:
        self.cancelled += job_ids
        self.ended.set()

    def submit_job(self, job: Any) -> None:
        self.submitted.append(job.id)
        if job.id in self.refusals:
            raise self.refusals[job.id]

    def follow_bytes(self, name: str, from_byte: int) -> Iterator[Any]:
        self.followed.append(name)
        yield from (LogPiece(offset=0, content=b"first\nsec"), LogPiece(offset=9, content=b"ond\n"))
        if self.has_long_jobs:
            self.waiting.set()
            assert self.ended.wait(LIMIT_S)
            raise GONE

    def wait(self, job_ids: Sequence[str], *, after: bool) -> None:
        self.waiting.set()
        while not self.pushed.wait(0.01):
            if self.ended.is_set():
                raise GONE

    def get_job_output(self, name: str) -> JobOutput:
        """Return the output of a job whose results the bucket refused: it ends without them."""
        return JobOutput(
            status=JobStatus.COMPLETED,
            exit_code=0,
            timed_out=False,
            wall_s=1.0,
            core_s=1.0,
            folder="",
            log_path="",
            log_bytes=0,
            last_lines=(),
            has_on_end=True,
            on_end_exit_code=PUSH_REFUSED,
            on_end_log_path="",
        )

    def get_job_statuses(self) -> Mapping[str, JobStatus]:
        if isinstance(self.statuses, RemoteError):
            raise self.statuses
        return self.statuses

    def close(self) -> None:
        self.ended.set()


@dataclass(kw_only=True)
class SmallFleet:
    """Answers every wish with ``on_request``."""

    on_request: Callable[[str], None]
    forgotten: list[str] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)
    owing: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def request(self, wishes: Sequence[VMWish]) -> None:
        for wish in wishes:
            self.on_request(wish.name)

    def adopt(self, instances: Sequence[Instance], *, answered: Collection[str] = ()) -> None:
        for found in instances:
            self.on_request(found.name)

    def forget(self, name: str, *, owes: bool = False) -> None:
        self.forgotten.append(name)
        self.owing += [name] if owes else []

    def note_ended(self, name: str) -> None:
        self.ended.append(name)

    def abandon(self, name: str) -> None:
        self.abandoned.append(name)


@dataclass(kw_only=True)
class SmallCollector:
    """``pushed``: attempts in the bucket, each of which is downloaded while ``runs`` is set. ``refusals``: the errors of the next looks into the
    bucket."""

    folder: Path
    runs: threading.Event = field(default_factory=threading.Event)
    pushed: set[tuple[str, int]] = field(default_factory=set)
    refusals: list[CloudError] = field(default_factory=list)
    error: HpcError | None = None
    given_up: list[tuple[str, int]] = field(default_factory=list)

    def run(self, stop: threading.Event) -> None:
        self.runs.set()
        stop.wait()
        self.runs.clear()

    def find_attempts(self, job: str) -> set[int]:
        if self.refusals:
            raise self.refusals.pop(0)
        return {attempt for name, attempt in self.pushed if name == job}

    def find_downloaded(self, job: str, attempt: int) -> DownloadedSet | None:
        return self.download(job, attempt) if (job, attempt) in self.pushed and self.runs.is_set() else None

    def wait_downloaded(self, job: str, attempt: int, *, timeout_s: float, least_push: int = 1) -> DownloadedSet | None:
        if self.error is not None:
            raise self.error
        self.runs.wait(0.01)
        return self.find_downloaded(job, attempt)

    def give_up(self, job: str, attempt: int) -> None:
        self.given_up.append((job, attempt))

    def download(self, job: str, attempt: int) -> DownloadedSet:
        """Return downloaded results that say that the job succeeded."""
        folder = self.folder / job
        (folder / ".job").mkdir(parents=True, exist_ok=True)
        (folder / ".job" / "end").write_text("ended 0 0 1.0 2.0 - -\n")
        return DownloadedSet(job=job, attempt=attempt, push=1, folder=folder, files=1, size_bytes=1, crc32c="AAAAAA==")


def _job(name: str, folder: Path) -> Job:
    return Job(
        name=name,
        folder=folder,
        main="main.tcl",
        np=MACHINE.cores,
        timeout_s=60.0,
        args=(),
        include=(),
        expect=Expectation(),
        entry=0,
    )


@dataclass(kw_only=True)
class Bench:
    """A controller of jobs a, b…, each as wide as a VM, and what it reported."""

    context: JournalContext
    controller: Controller
    inbox: Inbox
    fleet: SmallFleet
    compute: SmallCompute
    collector: SmallCollector
    journal: Journal
    reported: list[Event]
    lines: list[str]
    vms: dict[str, SmallVm] = field(default_factory=lambda: defaultdict(SmallVm))

    def boot(self, name: str) -> None:
        """Let a VM answer. Results are pushed at once, except on the first VM."""
        self.compute.there[name] = instance(name)
        vm = self.vms[name]
        if name != "opensees-hpc-b-0":
            vm.pushed.set()
        self.inbox.add(VMReady(instance=instance(name), interface=cast(Any, vm)))

    def attempts(self) -> dict[str, tuple[str, int]]:
        """Return for each job the VM of its last attempt, and the attempt's number."""
        return {job.name: (job.vm, job.attempt) for job in self.controller.roster.jobs}


def never_lost(*, within_s: float = 0.0) -> None:
    """Find that the lease is this client's."""


def make_bench(
    folder: Path, compute: SmallCompute, *, jobs: str = "a", check: LeaseCheck = never_lost, **more: Any
) -> Bench:
    """Return a controller whose fleet answers each wish with a VM that boots at once."""
    collector = SmallCollector(folder=folder / "downloaded", **more)
    reported: list[Event] = []
    lines: list[str] = []
    listener = Listener(on_progress=reported.append, on_log=lambda name, line: lines.append(line))
    outside = small_context(folder, compute).with_listener(listener)
    journal = outside.journals.begin("b", "run")
    context = outside.with_journal(journal)
    entries = [_job(name, folder) for name in jobs]
    plan = Plan(
        batch="b",
        jobs=tuple(entries),
        machine=MACHINE,
        provisioning="spot",
        fallback="none",
        max_vms=2,
        instances=("opensees-hpc-b-0", "opensees-hpc-b-1"),
        zone="europe-west4-a",
        max_run_s=3600,
        disk_gib=50,
        ceiling_usd=1.0,
    )
    inbox, fleet = Inbox(), SmallFleet(on_request=lambda name: bench.boot(name))
    controller = Controller(
        context=context,
        plan=plan,
        inputs=[JobInputs(job=job, files=(), size_bytes=0) for job in entries],
        collector=cast(Collector, collector),
        fleet=cast(Fleet, fleet),
        inbox=inbox,
        check=check,
    )
    bench = Bench(
        context=context,
        controller=controller,
        inbox=inbox,
        fleet=fleet,
        compute=compute,
        collector=collector,
        journal=journal,
        reported=reported,
        lines=lines,
    )
    return bench


@contextmanager
def running(bench: Bench) -> Iterator[None]:
    """Run the batch during the block, and wait for its end after it."""
    thread = threading.Thread(target=bench.controller.run, daemon=True)
    with Downloads(cast(Collector, bench.collector)):
        thread.start()
        yield
        thread.join(LIMIT_S)
    assert not thread.is_alive(), bench.reported
    bench.controller.close()


def lose(bench: Bench, name: str, witness: str = "ssh") -> None:
    """Lose a VM while its job's results are being pushed, or may be."""
    assert bench.vms[name].waiting.wait(LIMIT_S)
    bench.inbox.add(VMDown(name=name, witness=witness, reason="nothing is heard of it"))
