"""The controller: what it makes of what its threads tell, on a cloud and VMs of a few lists."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from runner.commands.adoption import adopt_machines
from runner.commands.collect import Collector
from runner.commands.context import Context
from runner.commands.controller import Controller, TakenOverError
from runner.commands.downloads import Downloads
from runner.commands.events import Event, Listener
from runner.commands.fleet import Fleet, MachineWish
from runner.commands.messages import CameHome, LeaseLost, MachineDown, MachineReady, MachinesRefused
from runner.commands.preflight import JobInputs
from runner.core.compute import Instance
from runner.core.download_tracker import HomeSet
from runner.core.lease import WatchedError
from runner.core.results import CorruptResultsError
from runner.core.session_state import SessionState
from runner.errors import (
    CloudError,
    HpcError,
    PermissionDeniedError,
    RemoteError,
    StockoutError,
    UnreachableError,
)
from runner.hardware import JobOutput, JobStatus
from runner.hardware.watch import LogPiece
from runner.model.batch import Expectation, Job
from runner.model.catalog import MACHINE_TYPES
from runner.model.plan import Plan
from runner.model.roster import MOST_ATTEMPTS
from runner.model.states import JobState
from tests.commands.small_cloud import LIMIT_S, SmallCompute, instance, small_context

MACHINE = MACHINE_TYPES["c2-standard-4"]
GONE = RemoteError("the connection is lost", host="b")
PUSH_REFUSED = 5


@dataclass(kw_only=True)
class SmallVm:
    """A VM's job interface. Jobs end at once; what comes after a job's end waits for ``pushed``, or for the VM's end.

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
    abandoned: list[str] = field(default_factory=list)
    owing: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    check: Callable[..., None] = lambda within_s=0.0: None

    def ask_for(self, wishes: Sequence[MachineWish]) -> None:
        for wish in wishes:
            self.on_ask(wish.name)

    def adopt(self, instances: Sequence[Instance], *, answered: Collection[str] = ()) -> None:
        for found in instances:
            self.on_ask(found.name)

    def forget(self, name: str, *, owes: bool = False) -> None:
        self.forgotten.append(name)
        self.owing += [name] if owes else []

    def note_ended(self, name: str) -> None:
        self.ended.append(name)

    def abandon(self, name: str) -> None:
        self.abandoned.append(name)


@dataclass(kw_only=True)
class SmallCollector:
    """``pushed``: attempts in the bucket, each of which comes home while ``runs`` is set. ``refusals``: what the next looks into the
    bucket end with."""

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

    def find_home(self, job: str, attempt: int) -> HomeSet | None:
        return self.home(job, attempt) if (job, attempt) in self.pushed and self.runs.is_set() else None

    def wait_home(self, job: str, attempt: int, *, timeout_s: float, least_push: int = 1) -> HomeSet | None:
        if self.error is not None:
            raise self.error
        self.runs.wait(0.01)
        return self.find_home(job, attempt)

    def give_up(self, job: str, attempt: int) -> None:
        self.given_up.append((job, attempt))

    def home(self, job: str, attempt: int) -> HomeSet:
        """Results that say that the job ended well."""
        folder = self.folder / job
        (folder / ".job").mkdir(parents=True, exist_ok=True)
        (folder / ".job" / "end").write_text("ended 0 0 1.0 2.0 - -\n")
        return HomeSet(job=job, attempt=attempt, push=1, folder=folder, files=1, size_bytes=1, crc32c="AAAAAA==")


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

    context: Context
    controller: Controller
    compute: SmallCompute
    collector: SmallCollector
    session: SessionState
    told: list[Event]
    lines: list[str]
    vms: dict[str, SmallVm] = field(default_factory=lambda: defaultdict(SmallVm))

    def fleet(self) -> Any:
        """Each VM that is asked for answers."""
        return cast(Fleet, SmallFleet(on_ask=self.boot))

    def boot(self, name: str) -> None:
        """A VM answers. Results are pushed at once, except on the first."""
        self.compute.there[name] = instance(name)
        vm = self.vms[name]
        if name != "opensees-hpc-b-0":
            vm.pushed.set()
        self.controller.tell(MachineReady(instance=instance(name), interface=cast(Any, vm)))

    def attempts(self) -> dict[str, tuple[str, int]]:
        """Where each job ran last, and the how manieth attempt that was."""
        return {job.name: (job.machine, job.attempt) for job in self.controller.roster.jobs}


def _bench(folder: Path, compute: SmallCompute, *, jobs: str = "a", **more: Any) -> Bench:
    collector = SmallCollector(folder=folder / "home", **more)
    context = small_context(folder, compute)
    session = context.journal.begin("b", "run")
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
        collector=cast(Collector, collector),
        session=session,
        listener=Listener(on_progress=told.append, on_log=lambda name, line: lines.append(line)),
    )
    return Bench(
        context=context,
        controller=controller,
        compute=compute,
        collector=collector,
        session=session,
        told=told,
        lines=lines,
    )


@contextmanager
def _running(bench: Bench, fleet: Any) -> Iterator[None]:
    """Inside, the batch runs; after it, it has come to its end."""
    thread = threading.Thread(target=lambda: bench.controller.run(fleet), daemon=True)
    with Downloads(cast(Collector, bench.collector)):
        thread.start()
        yield
        thread.join(LIMIT_S)
    assert not thread.is_alive(), bench.told
    bench.controller.close()


def _lose(bench: Bench, name: str, witness: str = "ssh") -> None:
    """A VM is lost while its job's results are on their way, or may be."""
    assert bench.vms[name].waiting.wait(LIMIT_S)
    bench.controller.tell(MachineDown(name=name, witness=witness, reason="nothing is heard of it"))


@pytest.mark.parametrize("silences", [0, 3, 10_000])
def test_a_job_of_a_lost_vm_of_which_nothing_is_found_runs_again(tmp_path: Path, silences: int) -> None:
    compute = SmallCompute(troubles={"instances": [UnreachableError("no answer")] * silences})
    bench = _bench(tmp_path, compute)
    with _running(bench, bench.fleet()):
        _lose(bench, "opensees-hpc-b-0", "marker")
    assert bench.attempts() == {"a": ("opensees-hpc-b-1", 2)}
    assert ("opensees-hpc-b-0" in compute.there) is (silences == 10_000), "what may still run its job is deleted first"


def test_a_job_that_is_given_up_after_many_lost_vms_is_told_and_journalled(tmp_path: Path) -> None:
    bench = _bench(tmp_path, SmallCompute())
    bench.controller.note_attempt("a", MOST_ATTEMPTS - 1)
    with _running(bench, bench.fleet()):
        _lose(bench, "opensees-hpc-b-0", "marker")
    (outcome,) = bench.controller.outcomes()
    assert (outcome.state, outcome.message) == (JobState.LOST, "given up: 10 VMs were lost under it")
    (told,) = [event.facts for event in bench.told if event.facts.get("state") == "lost" and event.event == "job"]
    assert (told["job"], told["attempt"]) == ("a", MOST_ATTEMPTS)
    (trace,) = bench.session.read().jobs
    assert trace.state == "lost"


def test_what_arrived_damaged_from_a_lost_vm_runs_again(tmp_path: Path) -> None:
    bench = _bench(tmp_path, SmallCompute(), error=CorruptResultsError("damaged"), pushed={("a", 1)})
    with _running(bench, bench.fleet()):
        _lose(bench, "opensees-hpc-b-0")
    assert bench.attempts() == {"a": ("opensees-hpc-b-1", 2)}


def test_all_jobs_of_a_lost_vm_are_looked_for_in_the_bucket(tmp_path: Path) -> None:
    bench = _bench(tmp_path, SmallCompute(), pushed={("a", 1)})
    with _running(bench, bench.fleet()):
        _lose(bench, "opensees-hpc-b-0")
    (outcome,) = bench.controller.outcomes()
    assert (outcome.state, outcome.instance) == (JobState.SUCCEEDED, "opensees-hpc-b-0")
    assert bench.attempts() == {"a": ("opensees-hpc-b-0", 1)}
    assert bench.compute.there.keys() <= {"opensees-hpc-b-1"}, "it can push nothing more"


@pytest.mark.parametrize(("witness", "has_ended"), [("ssh", True), ("ssh", False), ("marker", True)])
def test_a_silent_vm_owes_the_results_of_a_job_that_has_ended_there(
    tmp_path: Path, witness: str, has_ended: bool
) -> None:
    bench = _bench(tmp_path, SmallCompute())
    fleet, lost = bench.fleet(), "opensees-hpc-b-0"
    bench.vms[lost].has_long_jobs = not has_ended
    with _running(bench, fleet):
        _lose(bench, lost, witness)
    assert fleet.owing == ([lost] if witness == "ssh" and has_ended else [])
    assert fleet.ended == [lost]


def test_a_bucket_that_cannot_be_read_keeps_jobs_from_running_again(tmp_path: Path) -> None:
    bench = _bench(tmp_path, SmallCompute(), refusals=[UnreachableError("no answer")] * 50, pushed={("a", 1)})
    with _running(bench, bench.fleet()):
        _lose(bench, "opensees-hpc-b-0")
    assert bench.attempts() == {"a": ("opensees-hpc-b-0", 1)}
    (warning,) = [event.facts["message"] for event in bench.told if event.event == "warning"]
    assert "not run again before the bucket can be read" in warning


def test_a_bucket_that_refuses_makes_the_job_lost(tmp_path: Path) -> None:
    bench = _bench(tmp_path, SmallCompute(), refusals=[PermissionDeniedError("not yours")])
    with _running(bench, bench.fleet()):
        _lose(bench, "opensees-hpc-b-0")
    (outcome,) = bench.controller.outcomes()
    assert (outcome.state, outcome.message) == (JobState.LOST, "not yours")


def test_a_vm_that_goes_by_itself_is_let_go_in_its_own_time(tmp_path: Path) -> None:
    compute = SmallCompute()
    bench = _bench(tmp_path, compute)
    with _running(bench, bench.fleet()):
        assert bench.vms["opensees-hpc-b-0"].waiting.wait(LIMIT_S)
        compute.there["opensees-hpc-b-0"] = instance("opensees-hpc-b-0", "STOPPING")
        _lose(bench, "opensees-hpc-b-0", "cloud")
        looks = compute.asked.count("instances") + 5
        while compute.asked.count("instances") < looks:
            time.sleep(0.01)
        assert bench.attempts() == {"a": ("opensees-hpc-b-0", 1)}, "its last act may push results"
        del compute.there["opensees-hpc-b-0"]
    assert bench.attempts() == {"a": ("opensees-hpc-b-1", 2)}
    assert "delete_instance" not in compute.asked


def test_a_batch_that_another_client_has_is_let_be(tmp_path: Path) -> None:
    bench = _bench(tmp_path, SmallCompute())
    looked = threading.Event()

    def check(within_s: float = 0.0) -> None:
        if not bench.vms["opensees-hpc-b-0"].waiting.is_set():
            return  # when its job began, the batch was this client's
        looked.set()
        raise WatchedError("it is another client's", holder="them")

    fleet = cast(Any, SmallFleet(on_ask=bench.boot, check=check))
    ends: list[BaseException] = []

    def run() -> None:
        try:
            bench.controller.run(fleet)
        except TakenOverError as error:
            ends.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    _lose(bench, "opensees-hpc-b-0")
    assert looked.wait(LIMIT_S)
    bench.controller.tell(LeaseLost(holder="them"))
    thread.join(LIMIT_S)
    assert ends
    bench.controller.close()
    assert "opensees-hpc-b-0" in bench.compute.there
    assert bench.attempts() == {"a": ("opensees-hpc-b-0", 1)}


def test_an_earlier_attempt_that_comes_home_ends_the_job_and_the_later_attempt(tmp_path: Path) -> None:
    bench = _bench(tmp_path, SmallCompute())
    bench.vms["opensees-hpc-b-0"].pushed.clear()
    bench.controller.note_attempt("a", 1)
    with _running(bench, bench.fleet()):
        assert bench.vms["opensees-hpc-b-0"].waiting.wait(LIMIT_S)
        assert bench.attempts() == {"a": ("opensees-hpc-b-0", 2)}
        bench.controller.tell(CameHome(home=bench.collector.home("a", 1)))
    (outcome,) = bench.controller.outcomes()
    assert outcome.state is JobState.SUCCEEDED
    assert bench.vms["opensees-hpc-b-0"].cancelled == ["a.a2"]
    assert bench.collector.given_up == [("a", 2)]
    (end,) = [event for event in bench.told if (event.event, event.facts.get("state")) == ("job", "succeeded")]
    assert end.facts["attempt"] == 1


def test_results_of_the_attempt_that_runs_are_left_to_the_thread_that_follows_it(tmp_path: Path) -> None:
    bench = _bench(tmp_path, SmallCompute())
    with _running(bench, bench.fleet()):
        assert bench.vms["opensees-hpc-b-0"].waiting.wait(LIMIT_S)
        bench.controller.tell(CameHome(home=bench.collector.home("a", 1)))
        bench.vms["opensees-hpc-b-0"].pushed.set()
    (outcome,) = bench.controller.outcomes()
    assert "push-results" in outcome.message
    assert bench.vms["opensees-hpc-b-0"].cancelled == []


def test_a_vm_that_is_refused_though_it_answered_gives_its_jobs_back(tmp_path: Path) -> None:
    bench = _bench(tmp_path, SmallCompute(), jobs="ab")
    fleet = bench.fleet()
    with _running(bench, fleet):
        assert bench.vms["opensees-hpc-b-0"].waiting.wait(LIMIT_S)
        bench.controller.tell(MachinesRefused(names=("opensees-hpc-b-0",), error=StockoutError("none left")))
    assert bench.attempts() == {"a": ("opensees-hpc-b-1", 2), "b": ("opensees-hpc-b-1", 1)}


def test_a_vm_that_is_refused_is_nobodys_and_one_that_is_lost_is_so_after_the_look_for_its_jobs(tmp_path: Path) -> None:
    bench = _bench(tmp_path, SmallCompute(), jobs="ab")
    lost, refused, last = (f"opensees-hpc-b-{index}" for index in range(3))
    fleet = cast(Any, SmallFleet(on_ask=lambda name: None if name == refused else bench.boot(name)))
    with _running(bench, fleet):
        assert bench.vms[lost].waiting.wait(LIMIT_S)
        bench.controller.tell(MachinesRefused(names=(refused,), error=StockoutError("none left")))
        _lose(bench, lost)
    assert fleet.abandoned == [refused, lost]
    assert {machine for machine, _ in bench.attempts().values()} == {last}


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
    assert (fleet.forgotten, fleet.abandoned) == (["opensees-hpc-b-5"], ["opensees-hpc-b-5"])
    assert "opensees-hpc-b-5" not in bench.compute.there, (
        "nobody knows what it runs: it is ended before anything is started"
    )
    with _running(bench, fleet):
        pass
    assert bench.vms["opensees-hpc-b-6"].followed[0] == "a.a1"
    assert "a.a1" not in bench.vms["opensees-hpc-b-6"].submitted
    ran = {job: attempt for job, (_, attempt) in bench.attempts().items()}
    assert ran == {"a": 1, "b": 3, "c": 4}
    assert {outcome.state for outcome in bench.controller.outcomes()} == {JobState.LOST}, "no results, but an end"


def test_results_of_a_vm_that_is_lost_while_others_are_taken_over_come_home(tmp_path: Path) -> None:
    silent, lost = "opensees-hpc-b-5", "opensees-hpc-b-6"
    bench = _bench(tmp_path, SmallCompute(there={name: instance(name) for name in (silent, lost)}), pushed={("a", 1)})
    bench.vms[silent].statuses = RemoteError("the connection is lost", host=silent)
    bench.vms[lost].statuses = {"a.a1": JobStatus.RUNNING}

    def boot(name: str) -> None:
        bench.boot(name)
        bench.vms[name].pushed.clear()
        if name == lost:  # which is heard when its job was taken over, and the other VM is still being ended
            bench.controller.tell(MachineDown(name=lost, witness="marker", reason="the cloud took it back"))

    session, fleet = bench.session.read(), cast(Any, SmallFleet(on_ask=boot))
    adopting = threading.Thread(
        target=lambda: adopt_machines(
            bench.context, session, bench.controller, fleet, cast(Collector, bench.collector)
        ),
        daemon=True,
    )
    adopting.start()
    adopting.join(LIMIT_S)
    assert not adopting.is_alive(), bench.told
    bench.controller.close()
    (outcome,) = bench.controller.outcomes()
    assert (outcome.state, outcome.instance) == (JobState.SUCCEEDED, lost)
    assert not bench.collector.runs.is_set(), "nothing else looks into the bucket when the next look begins"


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


def test_a_vm_that_answered_and_was_not_heard_leaves_no_connection_open(tmp_path: Path) -> None:
    bench = _bench(tmp_path, SmallCompute())
    bench.boot("opensees-hpc-b-0")
    bench.controller.close()
    assert bench.vms["opensees-hpc-b-0"].ended.is_set()


@pytest.mark.parametrize(("witness", "most"), [("boot", 5), ("cloud", 10)])
def test_vms_that_never_come_up_are_not_made_for_ever(tmp_path: Path, witness: str, most: int) -> None:
    """The cloud may take back all of a batch at once, which says less than a VM that does not answer."""
    bench = _bench(tmp_path, SmallCompute())
    asked: list[str] = []

    def on_ask(name: str) -> None:
        asked.append(name)
        bench.controller.tell(MachineDown(name=name, witness=witness, reason="it went"))

    with pytest.raises(RemoteError, match="did not come up"):
        bench.controller.run(cast(Any, SmallFleet(on_ask=on_ask)))
    bench.controller.close()
    assert len(asked) == most + 1
