"""The connection is cut at any byte of any verb, the server restarted, the client killed: jobs do not notice, and clients continue."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.proxy import Proxy, run_proxy
from runner.hardware import HardwareInterfaceFailureError, Job, JobStatus, OpenSeesJob, UnixServerScriptInterface
from tests.hardware.hosts import LIMIT_S, Host, openssh_host, wait_until

# Every run leaves a line behind: a job that ran twice shows.
SIMULATOR = (
    'echo run >>"${2%/*}/runs"; IFS=, read -r kind value <"$1"; [ "$kind" = 1 ] || sleep 600; echo "$value" >"$2"\n'
)
CUTS = 14


@dataclass(kw_only=True)
class Bench:
    proxy: Proxy
    jobs: UnixServerScriptInterface

    @property
    def workspace(self) -> Path:
        return Path(self.jobs.workspace_dir)

    def runs(self, job_id: int) -> int:
        return len((self.workspace / f"{job_id}/runs").read_text().splitlines())


def through(host: Host, proxy: Proxy) -> Host:
    """Return the host as seen through the proxy."""
    return dataclasses.replace(host, port=proxy.own_port)


@pytest.fixture
def bench(host: Host, tmp_path: Path) -> Iterator[Bench]:
    script = tmp_path / "simulate.sh"
    script.write_text(SIMULATOR)
    with (
        run_proxy(host.port) as proxy,
        through(host, proxy).scripts("/bin/sh", script, None, reconnect_limit_s=LIMIT_S) as jobs,
    ):
        yield Bench(proxy=proxy, jobs=jobs)


def cut_everywhere(bench: Bench, verb: Callable[[int], object]) -> Iterator[int]:
    """Do ``verb(number)`` again and again, each time on a new connection that is cut at another place; yields each number afterwards."""
    before = bench.proxy.bytes_passed
    verb(0)
    yield 0
    total = bench.proxy.bytes_passed - before
    for number in range(1, CUTS + 1):
        bench.proxy.cut_after_bytes = max(1, total * number // CUTS)
        bench.proxy.cut_all()
        verb(number)
        yield number


def test_submit_cut_anywhere_runs_the_job_once(bench: Bench) -> None:
    for number in cut_everywhere(bench, lambda number: bench.jobs.submit_job(Job(number, (1, number)))):
        bench.jobs.wait([number], timeout=LIMIT_S)
        assert bench.jobs.get_job_output(number) == number
        assert bench.runs(number) == 1
    assert not list((bench.workspace / ".opensees-hpc").glob("new.*"))


def test_resubmit_cut_anywhere_runs_the_job_once(bench: Bench) -> None:
    numbers = range(CUTS + 1)
    bench.jobs.submit_jobs([Job(number, (1, 1)) for number in numbers])
    bench.jobs.wait(numbers, timeout=LIMIT_S)
    for number in cut_everywhere(bench, lambda number: bench.jobs.submit_job(Job(number, (1, 5)), resubmit=True)):
        bench.jobs.wait([number], timeout=LIMIT_S)
        assert bench.jobs.get_job_output(number) == 5
        assert bench.runs(number) == 1


def test_reading_cut_anywhere_gives_correct_results(bench: Bench) -> None:
    bench.jobs.submit_job(Job(1, (1, 8)))
    bench.jobs.wait([1], timeout=LIMIT_S)
    seen: list[object] = []
    for _ in cut_everywhere(
        bench, lambda _number: seen.extend([bench.jobs.get_job_status(1), bench.jobs.get_job_output(1)])
    ):
        assert seen == [JobStatus.COMPLETED, 8]
        seen.clear()


def test_cancel_and_delete_cut_anywhere(bench: Bench) -> None:
    numbers = range(CUTS + 1)
    bench.jobs.submit_jobs([Job(number, (2, 1)) for number in numbers])
    for number in cut_everywhere(bench, bench.jobs.cancel_job):
        assert bench.jobs.get_job_status(number) is JobStatus.CANCELLED
    for number in cut_everywhere(bench, bench.jobs.delete_remote_job_dir):
        assert bench.jobs.get_job_status(number) is JobStatus.PENDING_SUBMIT


def test_waiting_continues_after_a_cut(bench: Bench) -> None:
    bench.jobs.submit_job(Job(1, (2, 1)))
    statuses: list[dict[str, JobStatus]] = []
    waiter = threading.Thread(target=lambda: statuses.append(bench.jobs.wait([1], timeout=LIMIT_S)))
    waiter.start()
    for _ in range(3):
        count = bench.proxy.connections
        bench.proxy.cut_all()
        wait_until(lambda count=count: bench.proxy.connections > count, "the next connection")  # type: ignore[misc]
    bench.jobs.cancel_job(1)
    waiter.join()
    assert statuses == [{"1": JobStatus.CANCELLED}]


def test_following_a_log_loses_nothing_and_repeats_nothing(host: Host, tmp_path: Path) -> None:
    (tmp_path / "main.tcl").write_text(
        'i=0; while [ $i -lt 400 ]; do printf "%s %0500d\\n" x $i; i=$((i + 1)); sleep 0.005; done'
    )
    with run_proxy(host.port) as proxy, through(host, proxy).opensees(tmp_path / "ws") as vm:
        vm.submit_job(OpenSeesJob(id="long", folder=tmp_path, files=("main.tcl",), main="main.tcl", np=1))
        text = ""
        for chunk in vm.follow("long"):
            text += chunk
            if proxy.connections < 8 and len(text) // 20_000 >= proxy.connections:
                # Once at the byte where it stands, then after some more bytes.
                proxy.cut_after_bytes = 9_000
                proxy.cut_all()
        assert proxy.connections > 3
    assert text == "".join(f"x {number:0500d}\n" for number in range(400))


def test_host_that_is_lost_for_good_is_an_error(host: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "runner")
    with run_proxy(host.port) as proxy, through(host, proxy).opensees(tmp_path / "ws", reconnect_limit_s=0.5) as vm:
        proxy.refuses = True
        proxy.cut_all()
        with pytest.raises(HardwareInterfaceFailureError, match="could not be restored"):
            vm.get_job_statuses()
        with pytest.raises(HardwareInterfaceFailureError):
            vm.wait(["a"], timeout=LIMIT_S)
        with pytest.raises(HardwareInterfaceFailureError):
            list(vm.follow("a"))
        proxy.refuses = False
        assert vm.get_job_statuses() == {}
    for words in (": connected, ", ": lost, again in ", ": lost, gave up: ", ": connected again, "):
        assert [line for line in caplog.messages if words in line], words


def test_server_is_restarted_in_the_middle(tmp_path: Path) -> None:
    (tmp_path / "main.tcl").write_text("echo one; until [ -e go ]; do sleep 0.05; done; echo two")
    with openssh_host(tmp_path / "host") as host, host.opensees(tmp_path / "ws") as vm:
        vm.submit_job(OpenSeesJob(id="a", folder=tmp_path, files=("main.tcl",), main="main.tcl", np=1))
        log = vm.follow("a")
        assert next(log) == "one\n"
        host.restart()
        (tmp_path / "ws/a/go").touch()
        assert "".join(log) == "two\n"
        assert vm.get_job_statuses() == {"a": JobStatus.COMPLETED}


def test_job_continues_when_its_client_is_killed(host: Host, tmp_path: Path) -> None:
    script = tmp_path / "simulate.sh"
    script.write_text('until [ -e "${2%/*}/go" ]; do sleep 0.05; done; echo 4 >"$2"\n')
    client = f"""
import sys, time
from runner.hardware import Job, UnixServerScriptInterface
jobs = UnixServerScriptInterface({host.user!r}, {host.host_port!r}, "/bin/sh", {str(script)!r}, "x", workspace_dir={str(tmp_path / "ws")!r},
                                 key_filename={str(host.key)!r}, host_keys=[{host.host_key!r}])
jobs.submit_job(Job(1, (1.0,)))
print("submitted", flush=True)
time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", client], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"submitted\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    host.cut_connections()
    with host.scripts("/bin/sh", script, tmp_path / "ws") as jobs:
        assert jobs.get_job_statuses() == {"1": JobStatus.RUNNING}
        (tmp_path / "ws/1/go").touch()
        assert jobs.wait([1], timeout=LIMIT_S) == {"1": JobStatus.COMPLETED}
        assert jobs.get_job_output(1) == 4


def test_client_killed_while_it_submits_leaves_nothing_in_the_way(host: Host, tmp_path: Path) -> None:
    (tmp_path / "main.tcl").write_text("true")
    os.truncate(_touch(tmp_path / "big"), 30_000_000)
    job = OpenSeesJob(id="a", folder=tmp_path, files=("main.tcl", "big"), main="main.tcl", np=1)
    workspace = tmp_path / "ws"
    with run_proxy(host.port) as proxy:
        vm = through(host, proxy).opensees(workspace, reconnect_limit_s=0)
        passed = proxy.bytes_passed
        proxy.refuses = True

        def cut_in_the_middle() -> None:
            wait_until(lambda: proxy.bytes_passed > passed + 1_000_000, "the first megabyte")
            proxy.cut_all()

        killer = threading.Thread(target=cut_in_the_middle)
        killer.start()
        with pytest.raises(HardwareInterfaceFailureError):
            vm.submit_job(job)
        killer.join()
        vm.close()
    with host.opensees(workspace) as vm:
        assert vm.get_job_status("a") is JobStatus.PENDING_SUBMIT
        wait_until(lambda: not list((workspace / ".opensees-hpc").glob("new.*")), "the remains to go")
        vm.submit_job(job)
        assert vm.wait(["a"], timeout=LIMIT_S) == {"a": JobStatus.COMPLETED}


def _touch(path: Path) -> Path:
    path.touch()
    return path
