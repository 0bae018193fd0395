"""How a client's part in a batch ends, and what of the batch is left then: nothing, or all of it if it keeps running without this client."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from runner.batch.run import BatchRun
from runner.batch.stack import analysis_spec
from runner.batch.summary import RunReport, RunSummary
from runner.commands import attach
from runner.errors import HpcError, LeftoverError, PermissionDeniedError
from runner.jobsfile.definition import load_definition
from runner.journal.owner import describe_this_process
from runner.lease.keeper import WatchedError, change_lease
from runner.model import names
from runner.model.events import Event, Listener
from runner.model.journal_state import Owner
from runner.model.lease import Lease
from runner.model.leftover import Item, Kind
from runner.model.states import JobState
from runner.options.batches import Attach
from runner.recovery.report import report_abandoned_batches
from runner.results.claims import FOLDER
from runner.stacks.contract import EngineLimit, OnProgress, StackSpec
from runner.teardown.end import end_batch
from runner.teardown.steps import Interrupted
from tests.batch.clients.client import END, Client, Engine, SmallInventory
from tests.disks import largest_file
from tests.support.bucket import Batch

ELSEWHERE = "somebody@there 2"


def run(client: Client, *jobs: str, listener: Listener | None = None, report: RunReport | None = None) -> RunSummary:
    """Run a batch that this client begins."""
    definition = client.define(*jobs, is_saved=False)
    listener = listener or client.listener
    with client.context.journals.begin(client.batch.name, "run") as journal:
        return BatchRun(
            context=client.context.with_listener(listener).with_journal(journal),
            definition=definition,
            report=report or RunReport(),
        ).begin()


def attach_to(
    client: Client, *, listener: Listener | None = None, take_over: bool = False, report: RunReport | None = None
) -> RunSummary:
    context = client.context.with_listener(listener or client.listener)
    return attach.execute(context, Attach(batch=client.batch.name, take_over=take_over), report=report)


def left_by(report: RunReport) -> dict[str, JobState]:
    """Return what a client says of the jobs of a batch that keeps running without it."""
    assert report.summary is not None and report.summary.is_detached
    return {job.name: job.state for job in report.summary.jobs}


def take(lease: Lease) -> Lease:
    return replace(lease, holder=ELSEWHERE)


def test_an_attach_that_is_refused_leaves_the_batch_as_it_was(client: Client) -> None:
    client.define("a")
    client.write_lease(detached=True)
    client.add_vm()
    client.keys.trouble = PermissionDeniedError("no keys for you", status=403)
    report = RunReport()
    with pytest.raises(PermissionDeniedError):
        attach_to(client, report=report)
    assert left_by(report) == {"a": JobState.UNKNOWN}
    assert len(client.inventory.items) == 1
    assert client.engine.acts == []
    assert client.lease().detached
    assert client.has_definition()
    journal = client.journal()
    assert (journal.has_ended, journal.is_detached) == (False, True)


def test_an_attach_that_is_interrupted_while_it_looks_around_leaves_the_batch_as_it_was(client: Client) -> None:
    client.define("a")
    client.write_lease(detached=True)
    client.add_vm()

    def interrupt(event: Event) -> None:
        if (event.kind, event.as_json().get("phase"), event.as_json().get("state")) == ("phase", "attach", "started"):
            signal.raise_signal(signal.SIGINT)

    report = RunReport()
    with pytest.raises(Interrupted):
        attach_to(client, listener=Listener(on_progress=interrupt), report=report)
    assert left_by(report) == {"a": JobState.UNKNOWN}
    assert len(client.inventory.items) == 1
    assert client.engine.acts == []
    assert client.lease().detached
    assert client.has_definition()


def test_a_batch_keeps_its_owner_under_another_client_and_ends_as_a_whole(client: Client) -> None:
    client.define("a", owner="alice")
    client.write_lease(detached=True)
    definition = load_definition(client.context, client.batch.name)
    assert analysis_spec(client.context, definition, []).config["opensees-hpc:owner"] == "alice"
    client.add_vm(owner="alice")
    end_batch(client.context, client.batch.name)
    assert client.inventory.items == []


def test_an_attach_that_finds_no_lease_to_take_leaves_the_batch_as_it_was(client: Client, batch: Batch) -> None:
    client.define("a")
    client.add_vm()
    batch.store.put_control(batch.name, "lease.json", b"{")
    with pytest.raises(HpcError, match=r"lease\.json"):
        attach_to(client)
    assert len(client.inventory.items) == 1
    assert not client.journal().has_ended


def test_an_attach_without_disk_space_runs_the_batch_and_judges_results_when_they_are_downloaded(
    client: Client, batch: Batch
) -> None:
    client.define("a", "b")
    client.write_lease(detached=True)
    batch.push("a", END | {"noise": os.urandom(100_000)})
    batch.push("b", END | {"noise": os.urandom(100_000)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def make_room(event: Event) -> None:
        client.reported.append(event)
        if event.kind == "warning":
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with largest_file(50_000):
        summary = attach_to(client, listener=Listener(on_progress=make_room))
    assert "up" not in client.engine.acts, "what has ended is not run again"
    assert [(job.name, job.state) for job in summary.jobs] == [
        ("a", JobState.SUCCEEDED),
        ("b", JobState.SUCCEEDED),
    ]
    assert summary.exit_code == 0
    assert all("downloaded late" in job.message for job in summary.jobs)
    assert set(batch.at_home()) >= {"a", "b"}
    journal = client.journal()
    assert [(job.name, job.state) for job in journal.jobs] == [("a", "succeeded"), ("b", "succeeded")]
    assert journal.has_ended
    assert not client.has_definition()


def test_a_job_that_was_given_up_without_results_stays_lost(client: Client) -> None:
    report = RunReport()
    with pytest.raises(HpcError, match="no VM today"):
        run(client, "a", report=report)
    assert report.summary is not None
    assert [job.state for job in report.summary.jobs] == [JobState.LOST]
    assert client.engine.acts == ["up", "destroy", "remove"]
    assert client.journal().has_ended


@dataclass(kw_only=True)
class InterruptingEngine(Engine):
    """Interrupts the client when this many files are there, once or twice; no VM is ever created."""

    unpacking: Path
    client: Client | None = None
    times: int = 1

    def up(self, spec: StackSpec, on_progress: OnProgress, *, limit: EngineLimit | None = None) -> Mapping[str, object]:
        assert self.client is not None
        _until(lambda: len(list(self.unpacking.glob("out/*"))) > 10)
        os.kill(os.getpid(), signal.SIGINT)
        _until(lambda: bool(self.client and self.client.events("cleanup")))
        if self.times > 1:
            os.kill(os.getpid(), signal.SIGINT)
        return super().up(spec, on_progress, limit=limit)


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)


@dataclass(kw_only=True)
class CutOffEngine(Engine):
    """Interrupts the client, and is itself interrupted while it creates the VM."""

    interrupted: threading.Event = field(default_factory=threading.Event)

    def up(self, spec: StackSpec, on_progress: OnProgress, *, limit: EngineLimit | None = None) -> Mapping[str, object]:
        os.kill(os.getpid(), signal.SIGINT)
        assert self.interrupted.wait(60)
        return super().up(spec, on_progress, limit=limit)

    def interrupt(self) -> None:
        self.interrupted.set()


@dataclass(kw_only=True)
class LateInventory(SmallInventory):
    """VMs come up late: after the sweep, and after they were not found once. ``attempts``: to delete one."""

    attempts: list[Item] = field(default_factory=list)

    def remove(self, item: Item) -> str:
        if item.kind is Kind.INSTANCE:
            self.attempts.append(item)
            if self.attempts.count(item) == 2:
                self.items.append(item)
        return super().remove(item)


def test_a_vm_that_comes_up_after_its_engine_was_interrupted_is_deleted(client: Client) -> None:
    client.engine, client.inventory = CutOffEngine(), LateInventory()
    with pytest.raises(Interrupted):
        run(client, "a")
    name = names.instance_name(client.batch.name, 0)
    assert isinstance(client.inventory, LateInventory)
    assert [item.name for item in client.inventory.attempts] == [name, name]
    assert client.inventory.items == []
    assert [(item.name, item.answers) for item in client.journal().gone if item.kind == "instance"] == [
        (name, ("404 notFound",))
    ]


@pytest.mark.parametrize("times", [1, 2])
def test_results_unpacked_while_the_client_is_interrupted_are_reported_as_they_are(
    client: Client, batch: Batch, times: int
) -> None:
    unpacking = batch.folder / FOLDER / "a.attempt-1" / "unpacking"
    client.engine = InterruptingEngine(unpacking=unpacking, client=client, times=times)
    batch.push("a", END | {f"out/{number}": b"%d" % number for number in range(2000)})
    report = RunReport()
    with pytest.raises(Interrupted):
        run(client, "a", report=report)
    assert report.summary is not None
    (job,) = report.summary.jobs
    is_home = "a" in batch.at_home()
    assert is_home or times == 2, "an interrupt that is not repeated waits for results"
    if is_home:
        assert (job.state, job.results) == (JobState.SUCCEEDED, batch.folder / "a")
    else:
        assert job.state is JobState.LOST
        assert "its results are in the bucket" in job.message
        assert len([name for name in batch.objects() if name.startswith("a/")]) == 3


def test_a_client_that_lost_its_batch_and_does_not_know_it_yet_ends_nothing(client: Client, batch: Batch) -> None:
    """Woken up by the signal that ends it: before it has looked at its lease."""
    client.add_vm()

    def take_and_interrupt(event: Event) -> None:
        client.reported.append(event)
        if (event.kind, event.as_json().get("phase"), event.as_json().get("state")) == ("phase", "jobs", "started"):
            change_lease(batch.store, batch.name, take)
            signal.raise_signal(signal.SIGHUP)

    report = RunReport()
    with pytest.raises(Interrupted) as caught:
        run(client, "a", listener=Listener(on_progress=take_and_interrupt), report=report)
    assert ELSEWHERE in str(caught.value.__notes__)
    assert len(client.inventory.items) == 1
    assert client.engine.acts == []
    assert client.has_definition()
    assert client.lease().holder == ELSEWHERE
    assert client.journal().outcome == f"taken over by {ELSEWHERE}"
    assert left_by(report) == {"a": JobState.WAITING}


def test_a_client_that_lost_its_batch_creates_no_more_vms(client: Client, batch: Batch) -> None:
    client.define("a")
    client.add_vm()
    client.write_lease(detached=True)

    def take_before_up(event: Event) -> None:
        client.reported.append(event)
        if (event.kind, event.as_json().get("phase"), event.as_json().get("state")) == ("phase", "up", "started"):
            change_lease(batch.store, batch.name, take)

    with pytest.raises(HpcError, match=ELSEWHERE):
        attach_to(client, listener=Listener(on_progress=take_before_up))
    assert client.engine.acts == []
    assert len(client.inventory.items) == 1
    assert client.journal().outcome == f"taken over by {ELSEWHERE}"


def test_a_journal_that_cannot_be_written_for_a_while_is_reported_and_ended(client: Client) -> None:
    client.define("a")
    client.write_lease(detached=True)
    disk = ExitStack()

    def fill_at_the_end(event: Event) -> None:
        client.reported.append(event)
        if (event.kind, event.as_json().get("phase")) == ("phase", "receipt"):
            if event.as_json()["state"] == "started":
                disk.enter_context(largest_file(1))
            else:
                disk.close()

    with pytest.raises(HpcError, match="no VM today"):
        attach_to(client, listener=Listener(on_progress=fill_at_the_end))
    reported = [event["message"] for event in client.events("warning")]
    assert any(f"the journal of {client.batch.name} cannot be written now" in message for message in reported), reported
    assert client.journal().has_ended


def test_taking_over_is_asked_for_every_time(client: Client) -> None:
    client.define("a")
    client.write_lease()
    for _ in range(2):
        report = RunReport()
        with pytest.raises(WatchedError, match="watched by"):
            attach_to(client, report=report)
        assert left_by(report) == {"a": JobState.UNKNOWN}
        assert client.lease().holder == ELSEWHERE
        assert client.journal().has_ended, "this computer has nothing to look after"


def leave_behind(client: Client, batch: Batch, **owner: Any) -> Owner:
    """Leave the journal and the lease of a client that has ``owner`` instead of this process's own."""
    there = replace(describe_this_process(), **{"lock": "of another folder"} | owner)
    with client.context.journals.begin(batch.name, "run"):
        client.write_lease(str(there), holder_id=there.identity)
    file = client.context.journals.folder / f"{batch.name}.jsonl"
    begun = json.loads(file.read_text())
    file.write_text(json.dumps(begun | {"owner": asdict(there)}) + "\n")
    return there


NUMBERED_NOBODY = 2**22 + 1


def test_a_batch_abandoned_on_this_computer_needs_no_take_over(client: Client, batch: Batch) -> None:
    client.define("a")
    leave_behind(client, batch, pid=NUMBERED_NOBODY)
    with pytest.raises(HpcError, match="no VM today"):
        attach_to(client)


@pytest.mark.parametrize("owner", [{"pid_namespace": "pid:[1]"}, {"host": "another"}, {"machine_id": "another"}])
def test_a_client_that_may_be_alive_is_taken_over_only_on_request(
    client: Client, batch: Batch, owner: dict[str, str]
) -> None:
    """In another container or on another computer, where the numbers of processes are others."""
    client.define("a")
    there = leave_behind(client, batch, pid=NUMBERED_NOBODY, **owner)
    with pytest.raises(WatchedError) as caught:
        attach_to(client)
    assert "--take-over" in caught.value.remedy
    assert client.lease().holder_id == there.identity
    with pytest.raises(HpcError, match="no VM today"):
        attach_to(client, take_over=True)


def test_a_living_client_keeps_its_batch_from_one_with_a_copy_of_its_journal(client: Client, batch: Batch) -> None:
    client.define("a")
    with subprocess.Popen(["sleep", "600"]) as living:
        try:
            there = leave_behind(
                client, batch, pid=living.pid, process_started=psutil.Process(living.pid).create_time()
            )
            assert client.journal().is_owner_alive
            assert report_abandoned_batches(client.context) == []
            with pytest.raises(WatchedError, match=rf"process {living.pid}\)"):
                attach_to(client)
            assert client.lease().holder_id == there.identity
            living.kill()
            os.waitid(os.P_PID, living.pid, os.WEXITED | os.WNOWAIT)  # it has ended, though nobody has fetched how
            with pytest.raises(HpcError, match="no VM today"):
                attach_to(client)
        finally:
            living.kill()


def test_a_reused_process_number_is_another_client(client: Client, batch: Batch) -> None:
    """Its predecessor had the same one before the computer was started anew."""
    client.define("a")
    here = describe_this_process()
    leave_behind(client, batch, boot_id="the one before")
    client.write_lease(str(here), holder_id=replace(here, host="another").identity)
    with pytest.raises(WatchedError):
        attach_to(client)


def test_a_batch_that_cannot_be_deleted_may_still_push_and_can_be_attached_to(client: Client, batch: Batch) -> None:
    client.add_vm()
    client.inventory.is_stuck = True
    batch.push("a", END, parts="a")  # a push under way
    report = RunReport()
    with pytest.raises(HpcError, match="no VM today") as caught:
        run(client, "a", report=report)
    assert "still there" in str(caught.value.__notes__)
    assert [name for name in batch.objects() if name.startswith("a/")]
    assert client.has_definition()
    assert report.summary is not None
    assert report.summary.left_over
    assert LeftoverError.exit_code == report.summary.exit_code


def test_a_run_without_a_batch_has_a_summary_too() -> None:
    summary = RunReport().cut_off(2)
    assert (summary.batch, summary.jobs, summary.exit_code) == ("", (), 2)
