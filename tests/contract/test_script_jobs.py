"""The contract of UnixServerScriptInterface, on a real sshd and on an emulated instance."""

from __future__ import annotations

import math
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.errors import JobsNotStartedError, JobsRefusedError
from runner.hardware import (
    HardwareInterfaceFailureError,
    Job,
    JobId,
    JobStatus,
    SimulatorOutputParsingError,
    UnixServerScriptInterface,
)
from runner.ssh.connection import Connection
from tests.hardware.hosts import Host, kill_leftovers, processes_of, wait_until

# What a job does is said by its input: "1,X" adds up; others see below.
SIMULATOR = """\
input=$1
output=$2
IFS=, read -r kind value <"$input"
echo "kind $kind"
echo "to stderr" >&2
case $kind in
  1) echo "$value" >"$output" ;;
  2) exit 3 ;;
  3) echo "$value" >"$output"; exit 9 ;;
  4) while :; do sleep 0.1; done ;;
  5) trap '' TERM; (trap '' TERM; setsid sh -c 'trap "" TERM; while :; do sleep 0.1; done') & wait; while :; do sleep 0.1; done ;;
  6) printf '\\377\\376' >"$output" ;;
  7) echo "1.0 2.0" >"$output" ;;
  8) echo nan >"$output" ;;
  9) echo -inf >"$output" ;;
  10) : >"$output" ;;
  11) pwd >"$output" ;;
  12) echo 5 >"$output"; while :; do sleep 0.1; done ;;
esac
"""


@dataclass(kw_only=True)
class Bench:
    """A script and an interface to it."""

    host: Host
    script: Path
    jobs: UnixServerScriptInterface

    def finish(self, job_id: object, *data: float) -> JobStatus:
        self.jobs.submit_job(Job(JobId(str(job_id)), data))
        return self.jobs.wait([job_id], timeout=60)[str(job_id)]


@pytest.fixture
def bench(host: Host, tmp_path: Path) -> Iterator[Bench]:
    folder = tmp_path / 'it\'s a $HOME "folder" ~'
    folder.mkdir()
    script = folder / "simulate it.sh"
    script.write_text(SIMULATOR)
    with host.scripts("/bin/sh -u", script, None) as jobs:
        yield Bench(host=host, script=script, jobs=jobs)
        kill_leftovers(Path(jobs.workspace_dir))


def test_workspace_is_made_beside_the_script(bench: Bench) -> None:
    workspace = Path(bench.jobs.workspace_dir)
    assert workspace.parent == bench.script.parent
    assert workspace.name.startswith("exauq") and len(workspace.name) == 10


def test_completed_job_has_its_number_and_files(bench: Bench) -> None:
    assert bench.finish(1, 1, 0.1 + 0.2) is JobStatus.COMPLETED
    assert bench.jobs.get_job_output(JobId("1")) == 0.1 + 0.2
    folder = Path(bench.jobs.workspace_dir) / "1"
    assert (folder / "input.csv").read_text() == "1,0.30000000000000004\n"
    assert (folder / "simulate it.sh.out").read_text() == "kind 1\nto stderr\n"


def test_job_by_hand_on_its_host(bench: Bench) -> None:
    bench.finish("it's 1", 1, 2)
    tool = Path(bench.jobs.workspace_dir) / "it's 1/.job/manager.sh"
    output = subprocess.run(["bash", str(tool), "status"], capture_output=True, text=True, check=True).stdout
    assert output.startswith("it's 1\t-\tend ended 0 1 ")


def test_unknown_job_is_pending_and_has_no_output(bench: Bench) -> None:
    assert bench.jobs.get_job_status(JobId("77")) is JobStatus.PENDING_SUBMIT
    assert bench.jobs.get_job_output(77) is None
    bench.jobs.cancel_job(77)


@pytest.mark.parametrize(
    ("data", "status", "output"),
    [
        ((2,), JobStatus.FAILED, None),
        ((3, 7.5), JobStatus.COMPLETED, 7.5),
        ((9,), JobStatus.COMPLETED, -math.inf),
    ],
    ids=["no output", "exit code not looked at", "inf"],
)
def test_end(bench: Bench, data: tuple[float, ...], status: JobStatus, output: float | None) -> None:
    assert bench.finish("1", *data) is status
    assert bench.jobs.get_job_output("1") == output


def test_nan_is_a_number(bench: Bench) -> None:
    bench.finish(1, 8)
    output = bench.jobs.get_job_output(1)
    assert output is not None and math.isnan(output)


@pytest.mark.parametrize("kind", [6, 7, 10], ids=["not utf-8", "two numbers", "empty"])
def test_what_is_not_a_number_is_refused(bench: Bench, kind: int) -> None:
    assert bench.finish(1, kind) is JobStatus.COMPLETED
    with pytest.raises(SimulatorOutputParsingError):
        bench.jobs.get_job_output(1)


def test_job_without_data_gets_an_empty_line(bench: Bench) -> None:
    bench.jobs.submit_job(Job(1))
    assert bench.jobs.wait([1], timeout=60) == {"1": JobStatus.FAILED}
    assert (Path(bench.jobs.workspace_dir) / "1/input.csv").read_text() == "\n"


def test_running_job_is_running_until_cancelled(bench: Bench) -> None:
    bench.jobs.submit_job(Job(1, (4,)))
    assert bench.jobs.get_job_status(1) is JobStatus.RUNNING
    assert bench.jobs.get_job_output(1) is None
    with pytest.raises(ValueError, match="running"):
        bench.jobs.delete_remote_job_dir(1)
    with pytest.raises(ValueError, match="running"):
        bench.jobs.submit_job(Job(1, (1, 2)), resubmit=True)
    bench.jobs.cancel_job(1)
    assert bench.jobs.get_job_status(1) is JobStatus.CANCELLED
    bench.jobs.cancel_job(1)
    assert bench.jobs.get_job_output(1) is None


def test_cancel_ends_children_in_other_sessions_that_ignore_sigterm(bench: Bench) -> None:
    bench.jobs.submit_job(Job(1, (5,)))
    workspace = Path(bench.jobs.workspace_dir)
    wait_until(lambda: len(processes_of(workspace)) >= 3, "the children")
    bench.jobs.cancel_job(1)
    assert processes_of(workspace) == []
    assert bench.jobs.get_job_status(1) is JobStatus.CANCELLED


def test_cancelled_job_is_cancelled_although_it_had_written_something(bench: Bench) -> None:
    bench.jobs.submit_job(Job(1, (12,)))
    wait_until((Path(bench.jobs.workspace_dir) / "1/output.txt").exists, "the output")
    bench.jobs.cancel_job(1)
    assert bench.jobs.get_job_status(1) is JobStatus.CANCELLED


def test_cancel_after_the_end_changes_nothing(bench: Bench) -> None:
    bench.finish(1, 1, 4)
    bench.jobs.cancel_job(1)
    assert bench.jobs.get_job_status(1) is JobStatus.COMPLETED
    assert bench.jobs.get_job_output(1) == 4


def test_same_id_again_needs_resubmit(bench: Bench) -> None:
    with pytest.raises(ValueError, match="not submitted"):
        bench.jobs.submit_job(Job(1, (1, 2)), resubmit=True)
    assert bench.finish(1, 2) is JobStatus.FAILED
    marker = Path(bench.jobs.workspace_dir) / "1/old"
    marker.touch()
    with pytest.raises(ValueError, match="already been submitted"):
        bench.jobs.submit_job(Job(1, (1, 2)))
    bench.jobs.submit_job(Job(1, (1, 2)), resubmit=True)
    assert bench.jobs.wait([1], timeout=60) == {"1": JobStatus.COMPLETED}
    assert bench.jobs.get_job_output(1) == 2
    assert not marker.exists()


def test_deleting(bench: Bench) -> None:
    with pytest.raises(ValueError, match="not submitted"):
        bench.jobs.delete_remote_job_dir(1)
    bench.finish(1, 1, 1)
    bench.jobs.delete_remote_job_dir(1)
    assert not (Path(bench.jobs.workspace_dir) / "1").exists()
    assert bench.jobs.get_job_status(1) is JobStatus.PENDING_SUBMIT
    assert bench.finish(1, 1, 1) is JobStatus.COMPLETED
    bench.jobs.delete_workspace()
    assert not Path(bench.jobs.workspace_dir).exists()
    with pytest.raises(HardwareInterfaceFailureError):
        bench.jobs.get_job_status(1)


def test_jobs_are_found_again(bench: Bench) -> None:
    workspace = Path(bench.jobs.workspace_dir)
    bench.finish(1, 1, 3)
    bench.jobs.submit_job(Job(2, (4,)))
    bench.jobs.close()
    with bench.host.scripts("/bin/sh", bench.script, workspace) as again:
        assert set(again.jobs_found) == {"1", "2"}
        assert again.get_job_statuses() == {"1": JobStatus.COMPLETED, "2": JobStatus.RUNNING}
        assert again.get_job_output(1) == 3
        again.cancel_job(2)
        assert again.get_job_status(2) is JobStatus.CANCELLED


def test_workspace_that_is_not_there_is_made_in_the_home_folder(bench: Bench) -> None:
    with bench.host.scripts("/bin/sh", bench.script, Path("~/some where/deep")) as jobs:
        assert Path(jobs.workspace_dir) == bench.host.home / "some where/deep"
        jobs.submit_job(Job(1, (1, 8)))
        assert jobs.wait([1], timeout=60) == {"1": JobStatus.COMPLETED}
        jobs.delete_workspace()


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b", ".hidden", "a\nb", "a\0b"])
def test_id_that_cannot_be_a_folder_is_refused(bench: Bench, bad: str) -> None:
    with pytest.raises(ValueError, match="cannot be the ID"):
        bench.jobs.submit_job(Job(bad, (1, 2)))


@pytest.mark.parametrize(
    "name", ["-rf", "COMPLETE", "with space", "it's", '"q"', "$HOME", "*", "~", "ü", "\\", "a;b&c|d"]
)
def test_any_other_id_is_a_folder(bench: Bench, name: str) -> None:
    assert bench.finish(name, 1, 6) is JobStatus.COMPLETED
    assert bench.jobs.get_job_output(name) == 6
    assert name in bench.jobs.get_job_statuses()
    bench.jobs.cancel_job(name)
    bench.jobs.delete_remote_job_dir(name)
    assert bench.jobs.get_job_statuses() == {}


@pytest.mark.parametrize("data", [("1",), (None,), (1 + 2j,)])
def test_data_that_are_no_numbers_are_refused(bench: Bench, data: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="not a real number"):
        bench.jobs.submit_job(Job(1, data))


def test_many_at_once(bench: Bench) -> None:
    names = [str(number) for number in range(40)]
    bench.jobs.submit_jobs([Job(name, (1, int(name))) for name in names])
    assert set(bench.jobs.wait(names, timeout=60).values()) == {JobStatus.COMPLETED}
    assert [bench.jobs.get_job_output(name) for name in names] == [float(name) for name in names]
    assert len(bench.jobs.get_job_statuses()) == 40
    with pytest.raises(ValueError, match="same ID"):
        bench.jobs.submit_jobs([Job(50, (1, 1)), Job("50", (1, 1))])


def test_some_of_many_refused_does_not_stop_the_others(bench: Bench) -> None:
    bench.finish(1, 1, 1)
    with pytest.raises(ValueError, match="ID 1:"):
        bench.jobs.submit_jobs([Job(1, (1, 2)), Job(2, (1, 2))])
    assert bench.jobs.wait([1, 2], timeout=60) == {"1": JobStatus.COMPLETED, "2": JobStatus.COMPLETED}
    assert [bench.jobs.get_job_output(name) for name in (1, 2)] == [1, 2]


def test_every_job_of_many_that_is_refused_is_named(bench: Bench) -> None:
    workspace = Path(bench.jobs.workspace_dir)
    bench.finish("over", 1, 1)
    (workspace / "file").touch()
    with pytest.raises(
        HardwareInterfaceFailureError, match=r"file: something .* ID over: a job with the same"
    ) as failed:
        bench.jobs.submit_jobs([Job(name, (1, 2)) for name in ("over", "file", "free")])
    assert isinstance(failed.value, JobsNotStartedError)
    assert {outcome: list(jobs) for outcome, jobs in failed.value.refused.items()} == {
        "failed": ["file"],
        "exists": ["over"],
    }
    bench.jobs.wait(["free"], timeout=60)
    bench.jobs.submit_job(Job("running", (4,)))
    (workspace / "file").unlink()
    with bench.host.scripts("/bin/sh", bench.script, workspace) as other:
        with pytest.raises(ValueError, match=r"ID running: running .* ID new: it was not") as refused:
            other.submit_jobs([Job(name, (1, 3)) for name in ("new", "running", "over")], resubmit=True)
        assert isinstance(refused.value, JobsRefusedError)
        assert refused.value.refused == {
            "none": {"new": "it was not submitted before"},
            "busy": {"running": "running"},
        }
        assert other.wait(["over"], timeout=60) == {"over": JobStatus.COMPLETED}
        assert other.get_job_output("over") == 3


def test_eight_threads_submit_at_once(bench: Bench) -> None:
    failures: list[BaseException] = []

    def submit(first: int) -> None:
        try:
            for number in range(first, first + 5):
                bench.jobs.submit_job(Job(number, (1, number)))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=submit, args=(100 * index,)) for index in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    names = [100 * index + number for index in range(1, 9) for number in range(5)]
    assert set(bench.jobs.wait(names, timeout=60).values()) == {JobStatus.COMPLETED}


def test_two_clients_submit_the_same_id_and_one_wins(bench: Bench) -> None:
    with bench.host.scripts("/bin/sh", bench.script, Path(bench.jobs.workspace_dir)) as other:
        for number in range(10):
            won: list[int] = []

            def submit(jobs: UnixServerScriptInterface, mark: int, number: int = number, won: list[int] = won) -> None:
                try:
                    jobs.submit_job(Job(number, (1, mark)))
                except ValueError:
                    return
                won.append(mark)

            threads = [threading.Thread(target=submit, args=pair) for pair in ((bench.jobs, 1), (other, 2))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(won) == 1
            bench.jobs.wait([number], timeout=60)
            assert bench.jobs.get_job_output(number) == other.get_job_output(number) == won[0]


def test_finish_and_cancel_in_a_race_have_one_outcome(bench: Bench) -> None:
    with bench.host.scripts("/bin/sh", bench.script, Path(bench.jobs.workspace_dir)) as other:
        for number in range(8):
            bench.jobs.submit_job(Job(number, (1, 1)))
            canceller = threading.Thread(target=other.cancel_job, args=(number,))
            canceller.start()
            waited = bench.jobs.wait([number], timeout=60)[str(number)]
            canceller.join()
            assert waited in {JobStatus.COMPLETED, JobStatus.CANCELLED}
            assert bench.jobs.get_job_status(number) is other.get_job_status(number) is waited


def test_program_in_the_home_folder_and_with_quoted_words(bench: Bench) -> None:
    program = bench.host.home / "my bin/run it"
    program.parent.mkdir(exist_ok=True)
    program.write_text('#!/bin/sh\necho "$1|$2" >"$5"\n')
    program.chmod(0o755)
    for given in ("'~/my bin/run it' 'a  b' \"$x\"", "\"$HOME/my bin/run it\" 'a  b' '$x'"):
        with bench.host.scripts(given, bench.script, None) as jobs:
            jobs.submit_job(Job(1, (1, 1)))
            assert jobs.wait([1], timeout=60) == {"1": JobStatus.COMPLETED}
            with pytest.raises(SimulatorOutputParsingError, match=r"a  b\|\$x"):
                jobs.get_job_output(1)


def test_script_runs_where_a_session_begins(bench: Bench) -> None:
    bench.finish(1, 11)
    with pytest.raises(SimulatorOutputParsingError) as caught:
        bench.jobs.get_job_output(1)
    with Connection(bench.host.target()) as connection:
        assert connection.run_script("pwd").text.strip() in str(caught.value)
