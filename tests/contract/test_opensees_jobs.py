"""The contract of OpenSeesInterface, on a real sshd and on an emulated instance. OpenSees itself is a stand-in: a shell."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runner.errors import HpcError
from runner.hardware import JobStatus, OpenSeesInterface, OpenSeesJob
from tests.hardware.hosts import Host, wait_until

WAIT_S = 60.0


@dataclass(kw_only=True)
class Bench:
    """An interface, and a model's folder."""

    host: Host
    workspace: Path
    model: Path
    vm: OpenSeesInterface

    def job(self, script: str, name: str = "job-1", **more: Any) -> OpenSeesJob:
        (self.model / "main.tcl").write_text(script)
        wanted: dict[str, Any] = {"files": ("main.tcl",), "main": "main.tcl", "np": 2} | more
        return OpenSeesJob(id=name, folder=self.model, **wanted)

    def run(self, script: str, name: str = "job-1", **more: Any) -> JobStatus:
        self.vm.submit_job(self.job(script, name, **more))
        return self.vm.wait([name], timeout=WAIT_S, after=True)[name]


@pytest.fixture
def bench(host: Host, tmp_path: Path) -> Iterator[Bench]:
    workspace = tmp_path / "a work space"
    model = tmp_path / "model"
    model.mkdir()
    with host.opensees(workspace) as vm:
        yield Bench(host=host, workspace=workspace, model=model, vm=vm)


def test_success(bench: Bench) -> None:
    assert bench.run('echo "np $NP args $*"; pwd; touch made') is JobStatus.COMPLETED
    output = bench.vm.get_job_output("job-1")
    assert output is not None
    assert (output.exit_code, output.timed_out, output.has_on_end, output.on_end_exit_code) == (0, False, False, None)
    assert output.last_lines == ("np 2 args ", str(bench.workspace / "job-1"))
    assert output.log_bytes == Path(output.log_path).stat().st_size
    assert (Path(output.folder) / "made").exists()
    assert 0 <= output.wall_s < WAIT_S


def test_failure_keeps_code_and_order_of_output(bench: Bench) -> None:
    assert bench.run("echo out; echo err >&2; echo out again; exit 42") is JobStatus.FAILED
    output = bench.vm.get_job_output("job-1", last_lines=2)
    assert output is not None and output.exit_code == 42
    assert output.last_lines == ("err", "out again")


def test_files_in_folders_and_with_odd_names_arrive(bench: Bench) -> None:
    names = ("sub/dir/a b.txt", "-x", "new\nline", "ü.cdata", "it's", "x" * 150 + "/" + "y" * 150, "run.sh", "empty")
    for name in names:
        path = bench.model / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 10_000 if name != "empty" else b"")
    (bench.model / "run.sh").chmod(0o755)
    assert bench.run("[ -x run.sh ] && [ ! -x empty ]", files=("main.tcl", *names)) is JobStatus.COMPLETED
    for name in names:
        assert (bench.workspace / "job-1" / name).read_bytes() == (bench.model / name).read_bytes()


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../b", "", ".job/run", "opensees-hpc.log"])
def test_file_outside_the_folder_is_refused(bench: Bench, path: str) -> None:
    with pytest.raises(ValueError):
        bench.vm.submit_job(bench.job("true", files=("main.tcl", path)))


def test_missing_file_starts_nothing_and_leaves_the_id_free(bench: Bench) -> None:
    with pytest.raises((HpcError, OSError)):
        bench.vm.submit_job(bench.job("true", files=("main.tcl", "not-there.tcl")))
    assert bench.run("true") is JobStatus.COMPLETED


@pytest.mark.parametrize("name", ["a/b", "..", "a b", "$x", "", "-a", "é"])
def test_bad_name_is_refused(bench: Bench, name: str) -> None:
    with pytest.raises(ValueError):
        bench.vm.submit_job(bench.job("true", name))


def test_arguments_and_environment_arrive_as_they_are(bench: Bench) -> None:
    words = ("a b", "it's", '"', "$HOME", "\\", "*", "new\nline", "~", "", "ü")
    script = 'printf "%s|" "$@"; printf "%s" "$ODD"'
    assert bench.run(script, args=words, environment={"ODD": "x'\n$y"}) is JobStatus.COMPLETED
    output = bench.vm.get_job_output("job-1")
    assert output is not None and "\n".join(output.last_lines) == "|".join(words) + "|x'\n$y"


def test_python_model_and_own_command(bench: Bench) -> None:
    (bench.model / "main.py").write_text('echo "python $NP $1"')
    job = OpenSeesJob(id="p", folder=bench.model, files=("main.py",), main="main.py", np=3, args=("x",))
    bench.vm.submit_jobs([job, bench.job("true", "own", command=("sh", "-c", "echo mine"))])
    assert set(bench.vm.wait(["p", "own"], timeout=WAIT_S).values()) == {JobStatus.COMPLETED}
    outputs = [bench.vm.get_job_output(name) for name in ("p", "own")]
    assert [output.last_lines for output in outputs if output] == [("python 3 x",), ("mine",)]
    with pytest.raises(ValueError, match="neither"):
        bench.vm.submit_job(bench.job("true", main="main.xyz"))


def test_command_that_is_not_there(bench: Bench) -> None:
    assert bench.run("true", command=("no-such-program",)) is JobStatus.FAILED
    output = bench.vm.get_job_output("job-1")
    assert output is not None and output.exit_code == 127
    assert "no-such-program" in output.last_lines[-1]


def test_deadline_ends_the_tree_and_is_told(bench: Bench) -> None:
    status = bench.run("echo begun; (setsid sleep 600 &) ; while :; do sleep 0.1; done", timeout_s=1)
    assert status is JobStatus.FAILED
    output = bench.vm.get_job_output("job-1")
    assert output is not None and output.timed_out
    assert output.wall_s >= 1
    assert any("timed out after 1 s" in line for line in output.last_lines)


def test_deadline_can_be_moved(bench: Bench) -> None:
    bench.vm.submit_job(bench.job("while [ ! -e go ]; do sleep 0.1; done", timeout_s=3600))
    assert bench.vm.extend_jobs(["job-1"], 1) == {"job-1": JobStatus.RUNNING}
    assert bench.vm.wait(["job-1"], timeout=WAIT_S) == {"job-1": JobStatus.FAILED}
    output = bench.vm.get_job_output("job-1")
    assert output is not None and output.timed_out


def test_command_after_the_end(bench: Bench) -> None:
    script = (
        'until [ -e go ]; do sleep 0.05; done; echo "$OPENSEES_HPC_JOB_END $OPENSEES_HPC_JOB_EXIT $X" >after; exit 7'
    )
    after = ("sh", "-c", script)
    bench.vm.submit_job(bench.job("exit 3", on_end=after, environment={"X": "y"}))
    assert bench.vm.wait(["job-1"], timeout=WAIT_S) == {"job-1": JobStatus.FAILED}
    output = bench.vm.get_job_output("job-1")
    assert output is not None and output.has_on_end and output.on_end_exit_code is None
    with pytest.raises(ValueError, match="after its end"):
        bench.vm.delete_jobs(["job-1"])
    (bench.workspace / "job-1/go").touch()
    bench.vm.wait(["job-1"], timeout=WAIT_S, after=True)
    output = bench.vm.get_job_output("job-1")
    assert output is not None and output.on_end_exit_code == 7
    assert (bench.workspace / "job-1/after").read_text() == "ended 3 y\n"
    bench.vm.delete_jobs(["job-1", "unknown"])
    assert bench.vm.get_job_statuses() == {}


def test_command_runs_after_cancel_too(bench: Bench) -> None:
    bench.vm.submit_job(
        bench.job("while :; do sleep 0.1; done", on_end=("sh", "-c", "echo $OPENSEES_HPC_JOB_END >after"))
    )
    bench.vm.cancel_job("job-1")
    bench.vm.wait(["job-1"], timeout=WAIT_S, after=True)
    assert (bench.workspace / "job-1/after").read_text() == "cancelled\n"


def test_what_the_program_leaves_running_is_ended(bench: Bench) -> None:
    assert (
        bench.run("(setsid sh -c 'echo $$ >pid; exec sleep 600' &); until [ -s pid ]; do sleep 0.05; done")
        is JobStatus.COMPLETED
    )
    pid = (bench.workspace / "job-1/pid").read_text().strip()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the child")


def test_follow_gives_lines_while_the_job_runs_then_ends(bench: Bench) -> None:
    script = "n=1; while [ $n -le 5 ]; do echo line $n; until [ -e go$n ]; do sleep 0.02; done; n=$((n + 1)); done; printf end"
    bench.vm.submit_job(bench.job(script))
    text = ""
    for chunk in bench.vm.follow("job-1"):
        text += chunk
        # The next line is written only when this one has arrived here.
        for number in range(1, 6):
            if f"line {number}\n" in text:
                (bench.workspace / f"job-1/go{number}").touch()
    assert text == "".join(f"line {number}\n" for number in range(1, 6)) + "end"
    assert "".join(bench.vm.follow("job-1", from_byte=7)) == text[7:]
    pieces = list(bench.vm.follow_bytes("job-1", from_byte=3))
    assert pieces[0].offset == 3


def test_follow_of_an_unknown_job_is_an_error(bench: Bench) -> None:
    with pytest.raises(ValueError, match="not submitted"):
        list(bench.vm.follow("nobody"))


def test_follow_many_jobs_with_long_logs_at_once(bench: Bench) -> None:
    names = [f"long-{number}" for number in range(6)]
    script = 'i=0; while [ $i -lt 300 ]; do printf "%s %01000d\\n" "$1" $i; i=$((i + 1)); done'
    bench.vm.submit_jobs([bench.job(script, name, args=(name,)) for name in names])
    texts: dict[str, str] = {}

    def follow(name: str) -> None:
        texts[name] = "".join(bench.vm.follow(name))

    threads = [threading.Thread(target=follow, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    for name in names:
        assert texts[name] == "".join(f"{name} {number:01000d}\n" for number in range(300))


def test_slow_reader_holds_up_nobody_and_loses_nothing(bench: Bench) -> None:
    size = 20_000_000
    bench.vm.submit_job(bench.job(f"head -c {size} /dev/zero", "big"))
    slow = bench.vm.follow_bytes("big")
    received = len(next(slow).content)
    bench.vm.submit_job(bench.job("echo quick", "quick"))
    assert "".join(bench.vm.follow("quick")) == "quick\n"
    received += sum(len(piece.content) for piece in slow)
    assert received == size


def test_log_is_cut_into_characters_rightly(bench: Bench) -> None:
    bench.vm.submit_job(bench.job("printf '\\303'; sleep 0.4; printf '\\274\\n\\377'"))
    assert "".join(bench.vm.follow("job-1")) == "ü\n�"


def test_wait_has_a_limit(bench: Bench) -> None:
    bench.vm.submit_job(bench.job("while :; do sleep 0.1; done"))
    assert bench.vm.wait(["job-1"], timeout=0.3) == {"job-1": JobStatus.RUNNING}
    assert bench.vm.wait([], timeout=0.3) == {}
    bench.vm.cancel_job("job-1")


def test_close_wakes_those_who_wait(bench: Bench) -> None:
    vm = bench.host.opensees(bench.workspace)
    vm.submit_job(bench.job("while :; do sleep 0.1; done"))
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            vm.wait(["job-1"])
        except HpcError as error:
            caught.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    wait_until(lambda: bool(vm._watcher._subscriptions), "the waiter")
    vm.close()
    waiter.join(WAIT_S)
    assert len(caught) == 1
    with pytest.raises((HpcError, RuntimeError)):
        vm.get_job_statuses()
    bench.vm.cancel_job("job-1")


def test_processor_time_is_counted(bench: Bench) -> None:
    bench.run(
        "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done; sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done'"
    )
    output = bench.vm.get_job_output("job-1")
    assert output is not None and output.core_s is not None and output.core_s > 0.01


def test_log_lines_are_prompt(bench: Bench) -> None:
    """The clocks are the same: what matters is that no line waits for another one."""
    bench.vm.submit_job(bench.job("for i in 1 2 3; do date +%s.%N; sleep 1; done"))
    delays = [time.time() - float(line) for chunk in bench.vm.follow("job-1") for line in chunk.splitlines()]
    assert len(delays) == 3


def test_a_job_that_ends_with_its_machine_did_not_end(bench: Bench) -> None:
    bench.vm.submit_job(bench.job("touch begun; sleep 600", on_end=("sh", "-c", "echo $OPENSEES_HPC_JOB_END >said")))
    folder = bench.workspace / "job-1"
    wait_until((folder / "begun").exists, "the job runs")
    for name in ("program", "run"):
        os.kill(int((folder / ".job" / name).read_text().split()[0]), signal.SIGTERM)
    assert bench.vm.wait(["job-1"], timeout=WAIT_S, after=True)["job-1"] is JobStatus.FAILED
    assert (folder / ".job/end").read_text().split()[0] == "lost"
    assert (folder / "said").read_text() == "lost\n"
