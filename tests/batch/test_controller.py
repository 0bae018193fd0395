"""The controller: how it handles what its threads report, on a small cloud with small VMs."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from runner.batch.adoption import take_over_vms
from runner.batch.messages import LeaseLost, ResultsDownloaded, VMDown, VMsRefused
from runner.batch.parts import BatchParts
from runner.errors import (
    PermissionDeniedError,
    RemoteError,
    StockoutError,
    UnreachableError,
)
from runner.hardware import JobStatus
from runner.lease.keeper import WatchedError
from runner.model.roster import MOST_ATTEMPTS
from runner.model.states import JobState
from runner.results.manifest import CorruptResultsError
from tests.support.controller_bench import lose, make_bench, running
from tests.support.small_cloud import LIMIT_S, SmallCompute, instance


@pytest.mark.parametrize("silences", [0, 3, 10_000])
def test_a_job_of_a_lost_vm_without_results_runs_again(tmp_path: Path, silences: int) -> None:
    compute = SmallCompute(troubles={"instances": [UnreachableError("no answer")] * silences})
    bench = make_bench(tmp_path, compute)
    with running(bench):
        lose(bench, "opensees-hpc-b-0", "marker")
    assert bench.attempts() == {"a": ("opensees-hpc-b-1", 2)}
    assert ("opensees-hpc-b-0" in compute.there) is (silences == 10_000), "what may still run its job is deleted first"


def test_a_job_that_is_given_up_after_many_lost_vms_is_reported_and_journalled(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, SmallCompute())
    bench.controller.note_attempt("a", MOST_ATTEMPTS - 1)
    with running(bench):
        lose(bench, "opensees-hpc-b-0", "marker")
    (outcome,) = bench.controller.outcomes()
    assert (outcome.state, outcome.message) == (JobState.LOST, "given up: 10 VMs were lost while it ran")
    (reported,) = [
        event.as_json() for event in bench.reported if event.as_json().get("state") == "lost" and event.kind == "job"
    ]
    assert (reported["job"], reported["attempt"]) == ("a", MOST_ATTEMPTS)
    (trace,) = bench.journal.read().jobs
    assert trace.state == "lost"


def test_a_job_with_corrupt_results_from_a_lost_vm_runs_again(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, SmallCompute(), error=CorruptResultsError("corrupt"), pushed={("a", 1)})
    with running(bench):
        lose(bench, "opensees-hpc-b-0")
    assert bench.attempts() == {"a": ("opensees-hpc-b-1", 2)}


def test_results_of_all_jobs_of_a_lost_vm_are_searched_for_in_the_bucket(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, SmallCompute(), pushed={("a", 1)})
    with running(bench):
        lose(bench, "opensees-hpc-b-0")
    (outcome,) = bench.controller.outcomes()
    assert (outcome.state, outcome.instance) == (JobState.SUCCEEDED, "opensees-hpc-b-0")
    assert bench.attempts() == {"a": ("opensees-hpc-b-0", 1)}
    assert bench.compute.there.keys() <= {"opensees-hpc-b-1"}, "it can push nothing more"


@pytest.mark.parametrize(("witness", "has_ended"), [("ssh", True), ("ssh", False), ("marker", True)])
def test_a_silent_vm_owes_the_results_of_a_job_that_has_ended_there(
    tmp_path: Path, witness: str, has_ended: bool
) -> None:
    bench = make_bench(tmp_path, SmallCompute())
    fleet, lost = bench.fleet, "opensees-hpc-b-0"
    bench.vms[lost].has_long_jobs = not has_ended
    with running(bench):
        lose(bench, lost, witness)
    assert fleet.owing == ([lost] if witness == "ssh" and has_ended else [])
    assert fleet.ended == [lost]


def test_a_bucket_that_cannot_be_read_keeps_jobs_from_running_again(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, SmallCompute(), refusals=[UnreachableError("no answer")] * 50, pushed={("a", 1)})
    with running(bench):
        lose(bench, "opensees-hpc-b-0")
    assert bench.attempts() == {"a": ("opensees-hpc-b-0", 1)}
    (warning,) = [event.as_json()["message"] for event in bench.reported if event.kind == "warning"]
    assert "not run again until the bucket can be read" in warning


def test_a_bucket_that_refuses_makes_the_job_lost(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, SmallCompute(), refusals=[PermissionDeniedError("not yours")])
    with running(bench):
        lose(bench, "opensees-hpc-b-0")
    (outcome,) = bench.controller.outcomes()
    assert (outcome.state, outcome.message) == (JobState.LOST, "not yours")


def test_a_vm_that_the_cloud_is_deleting_is_waited_for(tmp_path: Path) -> None:
    compute = SmallCompute()
    bench = make_bench(tmp_path, compute)
    with running(bench):
        assert bench.vms["opensees-hpc-b-0"].waiting.wait(LIMIT_S)
        compute.there["opensees-hpc-b-0"] = instance("opensees-hpc-b-0", "STOPPING")
        lose(bench, "opensees-hpc-b-0", "cloud")
        looks = compute.asked.count("instances") + 5
        while compute.asked.count("instances") < looks:
            time.sleep(0.01)
        assert bench.attempts() == {"a": ("opensees-hpc-b-0", 1)}, "its last act may push results"
        del compute.there["opensees-hpc-b-0"]
    assert bench.attempts() == {"a": ("opensees-hpc-b-1", 2)}
    assert "delete_instance" not in compute.asked


def test_a_batch_of_another_client_is_left_alone(tmp_path: Path) -> None:
    looked = threading.Event()

    def check(*, within_s: float = 0.0) -> None:
        if not bench.vms["opensees-hpc-b-0"].waiting.is_set():
            return  # when its job began, the batch was this client's
        looked.set()
        raise WatchedError("it is another client's", holder="them")

    bench = make_bench(tmp_path, SmallCompute(), check=check)
    ends: list[BaseException] = []

    def run() -> None:
        try:
            bench.controller.run()
        except WatchedError as error:
            ends.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    lose(bench, "opensees-hpc-b-0")
    assert looked.wait(LIMIT_S)
    bench.inbox.add(LeaseLost(holder="them"))
    thread.join(LIMIT_S)
    assert ends
    bench.controller.close()
    assert "opensees-hpc-b-0" in bench.compute.there
    assert bench.attempts() == {"a": ("opensees-hpc-b-0", 1)}


def test_downloaded_results_of_an_earlier_attempt_end_the_job_and_the_later_attempt(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, SmallCompute())
    bench.vms["opensees-hpc-b-0"].pushed.clear()
    bench.controller.note_attempt("a", 1)
    with running(bench):
        assert bench.vms["opensees-hpc-b-0"].waiting.wait(LIMIT_S)
        assert bench.attempts() == {"a": ("opensees-hpc-b-0", 2)}
        bench.inbox.add(ResultsDownloaded(results=bench.collector.download("a", 1)))
    (outcome,) = bench.controller.outcomes()
    assert outcome.state is JobState.SUCCEEDED
    assert bench.vms["opensees-hpc-b-0"].cancelled == ["a.a2"]
    assert bench.collector.given_up == [("a", 2)]
    (end,) = [event for event in bench.reported if (event.kind, event.as_json().get("state")) == ("job", "succeeded")]
    assert end.as_json()["attempt"] == 1


def test_results_of_the_attempt_that_runs_are_left_to_the_thread_that_follows_it(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, SmallCompute())
    with running(bench):
        assert bench.vms["opensees-hpc-b-0"].waiting.wait(LIMIT_S)
        bench.inbox.add(ResultsDownloaded(results=bench.collector.download("a", 1)))
        bench.vms["opensees-hpc-b-0"].pushed.set()
    (outcome,) = bench.controller.outcomes()
    assert "push-results" in outcome.message
    assert bench.vms["opensees-hpc-b-0"].cancelled == []


def test_a_vm_that_is_refused_though_it_answered_gives_its_jobs_back(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, SmallCompute(), jobs="ab")
    with running(bench):
        assert bench.vms["opensees-hpc-b-0"].waiting.wait(LIMIT_S)
        bench.inbox.add(VMsRefused(names=("opensees-hpc-b-0",), error=StockoutError("none left")))
    assert bench.attempts() == {"a": ("opensees-hpc-b-1", 2), "b": ("opensees-hpc-b-1", 1)}


def test_a_refused_vm_is_abandoned_at_once_and_a_lost_one_after_its_rescue(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, SmallCompute(), jobs="ab")
    lost, refused, last = (f"opensees-hpc-b-{index}" for index in range(3))
    fleet = bench.fleet
    fleet.on_request = lambda name: None if name == refused else bench.boot(name)
    with running(bench):
        assert bench.vms[lost].waiting.wait(LIMIT_S)
        bench.inbox.add(VMsRefused(names=(refused,), error=StockoutError("none left")))
        lose(bench, lost)
    assert fleet.abandoned == [refused, lost]
    assert {vm for vm, _ in bench.attempts().values()} == {last}


def test_a_vm_that_is_lost_during_the_takeover_does_not_affect_the_others(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, SmallCompute(), jobs="abc")
    fleet = bench.fleet
    bench.vms["opensees-hpc-b-5"].statuses = RemoteError("the connection is lost", host="opensees-hpc-b-5")
    bench.vms["opensees-hpc-b-6"].statuses = {
        "a.a1": JobStatus.RUNNING,
        "b.a2": JobStatus.PENDING_SUBMIT,
        "c.a3": JobStatus.FAILED_SUBMIT,
    }
    bench.controller.expect_vms(
        [instance("opensees-hpc-b-5"), instance("opensees-hpc-b-6")],
        names_used=["opensees-hpc-b-5", "opensees-hpc-b-6"],
    )
    bench.boot("opensees-hpc-b-5")
    bench.boot("opensees-hpc-b-6")
    bench.controller.learn_jobs()
    assert (fleet.forgotten, fleet.abandoned) == (["opensees-hpc-b-5"], ["opensees-hpc-b-5"])
    assert "opensees-hpc-b-5" not in bench.compute.there, (
        "nobody knows what it runs: it is ended before anything is started"
    )
    with running(bench):
        pass
    assert bench.vms["opensees-hpc-b-6"].followed[0] == "a.a1"
    assert "a.a1" not in bench.vms["opensees-hpc-b-6"].submitted
    ran = {job: attempt for job, (_, attempt) in bench.attempts().items()}
    assert ran == {"a": 1, "b": 3, "c": 4}
    assert {outcome.state for outcome in bench.controller.outcomes()} == {JobState.LOST}, "no results, but an end"


def test_results_of_a_vm_that_is_lost_during_the_takeover_are_downloaded(tmp_path: Path) -> None:
    silent, lost = "opensees-hpc-b-5", "opensees-hpc-b-6"
    bench = make_bench(
        tmp_path, SmallCompute(there={name: instance(name) for name in (silent, lost)}), pushed={("a", 1)}
    )
    bench.vms[silent].statuses = RemoteError("the connection is lost", host=silent)
    bench.vms[lost].statuses = {"a.a1": JobStatus.RUNNING}

    def boot(name: str) -> None:
        bench.boot(name)
        bench.vms[name].pushed.clear()
        if name == lost:  # which is heard when its job was taken over, and the other VM is still being ended
            bench.inbox.add(VMDown(name=lost, witness="marker", reason="the cloud took it back"))

    bench.fleet.on_request = boot
    parts = SimpleNamespace(controller=bench.controller, fleet=bench.fleet, collector=bench.collector)
    adopting = threading.Thread(target=lambda: take_over_vms(bench.context, cast(BatchParts, parts)), daemon=True)
    adopting.start()
    adopting.join(LIMIT_S)
    assert not adopting.is_alive(), bench.reported
    bench.controller.close()
    (outcome,) = bench.controller.outcomes()
    assert (outcome.state, outcome.instance) == (JobState.SUCCEEDED, lost)
    assert not bench.collector.runs.is_set(), "nothing else looks into the bucket when the next look begins"


@pytest.mark.parametrize("error", [OSError("main.tcl became shorter"), ValueError("not a path inside the folder")])
def test_a_job_that_cannot_be_sent_ends_and_the_others_continue(tmp_path: Path, error: Exception) -> None:
    bench = make_bench(tmp_path, SmallCompute(), jobs="ab")
    bench.vms["opensees-hpc-b-0"].refusals["a.a1"] = error
    with running(bench):
        pass
    outcomes = {outcome.name: outcome.message for outcome in bench.controller.outcomes()}
    assert str(error) in outcomes["a"]
    assert "push-results" in outcomes["b"]
    assert bench.attempts() == {"a": ("opensees-hpc-b-0", 1), "b": ("opensees-hpc-b-1", 1)}


def test_logs_that_cannot_be_kept_are_shown_and_keep_no_job_from_its_end(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, SmallCompute(), jobs="ab")
    (tmp_path / "results").write_text("a file where a folder should be")
    bench.vms["opensees-hpc-b-0"].pushed.set()
    with running(bench):
        pass
    assert sorted(bench.lines) == ["first", "first", "second", "second"]
    (warning,) = [event.as_json()["message"] for event in bench.reported if event.kind == "warning"]
    assert "not kept" in warning


def test_a_vm_that_answers_after_the_end_leaves_no_connection_open(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, SmallCompute())
    bench.boot("opensees-hpc-b-0")
    bench.controller.close()
    assert bench.vms["opensees-hpc-b-0"].ended.is_set()


@pytest.mark.parametrize(("witness", "most"), [("boot", 5), ("cloud", 10)])
def test_vms_that_never_boot_are_not_created_for_ever(tmp_path: Path, witness: str, most: int) -> None:
    """The cloud may take back all of a batch at once, which says less than a VM that does not answer."""
    bench = make_bench(tmp_path, SmallCompute())
    asked: list[str] = []

    def on_request(name: str) -> None:
        asked.append(name)
        bench.inbox.add(VMDown(name=name, witness=witness, reason="it went"))

    bench.fleet.on_request = on_request
    with pytest.raises(RemoteError, match="did not start"):
        bench.controller.run()
    bench.controller.close()
    assert len(asked) == most + 1
