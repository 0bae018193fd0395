"""The controller: what it makes of what its threads tell, on a cloud and VMs of a few lists."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from runner.commands.collect import Collector
from runner.commands.controller import Controller
from runner.commands.events import Event, Listener
from runner.commands.fleet import Fleet, MachineWish
from runner.commands.messages import MachineDown, MachineReady, MachinesRefused
from runner.commands.preflight import JobInputs
from runner.core.download_tracker import HomeSet
from runner.core.results import CorruptResultsError
from runner.errors import HpcError, RemoteError, StockoutError, UnreachableError
from runner.hardware import JobOutput, JobStatus
from runner.hardware.watch import LogPiece
from runner.model.batch import Expectation, Job
from runner.model.catalog import MACHINE_TYPES
from runner.model.plan import Plan
from runner.model.states import JobState
from tests.commands.small_cloud import LIMIT_S, SmallCompute, instance, small_context

MACHINE = MACHINE_TYPES["c2-standard-4"]
GONE = RemoteError("the connection is lost", host="b")
PUSH_REFUSED = 5


@dataclass(kw_only=True)
class SmallVm:
    """A VM's job interface. Jobs end at once; what comes after a job's end waits for ``pushed``, or for the VM's end."""

    pushed: threading.Event = field(default_factory=threading.Event)
    waiting: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    statuses: Mapping[str, JobStatus] | RemoteError = field(default_factory=dict)
    refusals: dict[str, Exception] = field(default_factory=dict)
    submitted: list[str] = field(default_factory=list)
    followed: list[str] = field(default_factory=list)

    def submit_job(self, job: Any) -> None:
        self.submitted.append(job.id)
        if job.id in self.refusals:
            raise self.refusals[job.id]

    def follow_bytes(self, name: str, from_byte: int) -> Iterator[Any]:
        self.followed.append(name)
        yield from (LogPiece(offset=0, content=b"first\nsec"), LogPiece(offset=9, content=b"ond\n"))

    def wait(self, job_ids: Sequence[str], *, after: bool) -> None:
        self.waiting.set()
        while not self.pushed.wait(0.01):
            if self.ended.is_set():
                raise GONE

    def get_job_output(self, name: str) -> JobOutput:
        """A job whose results the bucket refused: it ends without them."""
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
    """Makes ``on_ask`` the answer to every wish."""

    on_ask: Callable[[str], None]
    forgotten: list[str] = field(default_factory=list)

    def ask_for(self, wishes: Sequence[MachineWish]) -> None:
        for wish in wishes:
            self.on_ask(wish.name)

    def forget(self, name: str) -> None:
        self.forgotten.append(name)


@dataclass(kw_only=True)
class NothingComesHome:
    """A collector. ``error``: what it finds instead of results."""

    error: HpcError | None = None

    def wait_home(self, job: str, attempt: int, *, timeout_s: float, least_push: int = 1) -> HomeSet | None:
        if self.error is not None:
            raise self.error
        return None


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
    """A controller of jobs a, b…, each as wide as a VM, and what it told."""

    controller: Controller
    told: list[Event]
    lines: list[str]
    vms: dict[str, SmallVm] = field(default_factory=lambda: defaultdict(SmallVm))

    def fleet(self) -> Any:
        """Each VM that is asked for answers."""
        return cast(Fleet, SmallFleet(on_ask=self.boot))

    def boot(self, name: str) -> None:
        """A VM answers. Results are pushed at once, except on the first."""
        vm = self.vms[name]
        if name != "opensees-hpc-b-0":
            vm.pushed.set()
        self.controller.tell(MachineReady(instance=instance(name), interface=cast(Any, vm)))

    def attempts(self) -> dict[str, tuple[str, int]]:
        """Where each job ran last, and the how manieth attempt that was."""
        return {job.name: (job.machine, job.attempt) for job in self.controller.roster.jobs}


def _bench(folder: Path, compute: SmallCompute, *, jobs: str = "a", error: HpcError | None = None) -> Bench:
    context = small_context(folder, compute)
    told: list[Event] = []
    lines: list[str] = []
    made = [_job(name, folder) for name in jobs]
    plan = Plan(
        batch="b",
        jobs=tuple(made),
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
    controller = Controller(
        context=context,
        plan=plan,
        inputs=[JobInputs(job=job, files=(), size_bytes=0) for job in made],
        collector=cast(Collector, NothingComesHome(error=error)),
        session=context.journal.begin("b", "run"),
        listener=Listener(on_progress=told.append, on_log=lambda name, line: lines.append(line)),
    )
    return Bench(controller=controller, told=told, lines=lines)


@contextmanager
def _running(bench: Bench, fleet: Any) -> Iterator[None]:
    """Inside, the batch runs; after it, it has come to its end."""
    thread = threading.Thread(target=lambda: bench.controller.run(fleet), daemon=True)
    thread.start()
    yield
    thread.join(LIMIT_S)
    assert not thread.is_alive(), bench.told
    bench.controller.close()


@pytest.mark.parametrize("error", [None, CorruptResultsError("damaged"), UnreachableError("no answer")])
def test_results_that_a_lost_vm_owes_are_looked_for_though_the_cloud_is_silent(
    tmp_path: Path, error: HpcError | None
) -> None:
    compute = SmallCompute(troubles={"instances": [UnreachableError("no answer")] * 10_000})
    bench = _bench(tmp_path, compute, error=error)
    with _running(bench, bench.fleet()):
        assert bench.vms["opensees-hpc-b-0"].waiting.wait(LIMIT_S)
        bench.controller.tell(MachineDown(name="opensees-hpc-b-0", witness="marker", reason="preempted"))
    assert bench.attempts() == {"a": ("opensees-hpc-b-1", 2)}


def test_a_vm_that_is_refused_though_it_answered_gives_its_jobs_back(tmp_path: Path) -> None:
    bench = _bench(tmp_path, SmallCompute(), jobs="ab")
    fleet = bench.fleet()
    with _running(bench, fleet):
        assert bench.vms["opensees-hpc-b-0"].waiting.wait(LIMIT_S)
        bench.controller.tell(MachinesRefused(names=("opensees-hpc-b-0",), error=StockoutError("none left")))
    assert bench.attempts() == {"a": ("opensees-hpc-b-1", 2), "b": ("opensees-hpc-b-1", 1)}


def test_a_vm_that_goes_while_it_is_taken_over_takes_no_other_with_it(tmp_path: Path) -> None:
    bench = _bench(tmp_path, SmallCompute(), jobs="abc")
    fleet = bench.fleet()
    bench.vms["opensees-hpc-b-5"].statuses = RemoteError("the connection is lost", host="opensees-hpc-b-5")
    bench.vms["opensees-hpc-b-6"].statuses = {
        "a.a1": JobStatus.RUNNING,
        "b.a2": JobStatus.PENDING_SUBMIT,
        "c.a3": JobStatus.FAILED_SUBMIT,
    }
    bench.controller.expect_machines(
        [instance("opensees-hpc-b-5"), instance("opensees-hpc-b-6")],
        names_used=["opensees-hpc-b-5", "opensees-hpc-b-6"],
    )
    bench.boot("opensees-hpc-b-5")
    bench.boot("opensees-hpc-b-6")
    bench.controller.hear_machines(fleet)
    assert fleet.forgotten == ["opensees-hpc-b-5"]
    with _running(bench, fleet):
        pass
    assert bench.vms["opensees-hpc-b-6"].followed[0] == "a.a1"
    assert "a.a1" not in bench.vms["opensees-hpc-b-6"].submitted
    ran = {job: attempt for job, (_, attempt) in bench.attempts().items()}
    assert ran == {"a": 1, "b": 3, "c": 4}
    assert {outcome.state for outcome in bench.controller.outcomes()} == {JobState.LOST}, "no results, but an end"


@pytest.mark.parametrize("error", [OSError("main.tcl became shorter"), ValueError("not a path inside the folder")])
def test_a_job_that_cannot_be_sent_ends_and_the_others_go_on(tmp_path: Path, error: Exception) -> None:
    bench = _bench(tmp_path, SmallCompute(), jobs="ab")
    bench.vms["opensees-hpc-b-0"].refusals["a.a1"] = error
    with _running(bench, bench.fleet()):
        pass
    outcomes = {outcome.name: outcome.message for outcome in bench.controller.outcomes()}
    assert str(error) in outcomes["a"]
    assert "push-results" in outcomes["b"]
    assert bench.attempts() == {"a": ("opensees-hpc-b-0", 1), "b": ("opensees-hpc-b-1", 1)}


def test_logs_that_cannot_be_kept_are_shown_and_keep_no_job_from_its_end(tmp_path: Path) -> None:
    bench = _bench(tmp_path, SmallCompute(), jobs="ab")
    (tmp_path / "results").write_text("a file where a folder should be")
    bench.vms["opensees-hpc-b-0"].pushed.set()
    with _running(bench, bench.fleet()):
        pass
    assert sorted(bench.lines) == ["first", "first", "second", "second"]
    (warning,) = [event.facts["message"] for event in bench.told if event.event == "warning"]
    assert "not kept" in warning
