"""Hosts as they are: start-up files that print, other login shells, full disks, folders that cannot be written, many jobs, many clients."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.errors import HostKeyError
from runner.hardware import (
    TERMINAL_STATUSES,
    HardwareInterfaceFailureError,
    Job,
    JobStatus,
    SSHInterface,
    UnixServerScriptInterface,
)
from runner.ssh.connection import Connection
from tests.hardware.hosts import LIMIT_S, Host, emulated_lab, openssh_host, processes_of, wait_until
from tests.needs import need

SIMULATOR = 'IFS=, read -r x y <"$1"; echo "$y" >"$2"\n'


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "simulate.sh"
    path.write_text(SIMULATOR)
    return path


def check_one_job(host: Host, script: Path, workspace: Path | None = None, **more: Any) -> None:
    with host.scripts("/bin/sh", script, workspace, **more) as jobs:
        jobs.submit_job(Job("it's 1", (1, 2.5)))
        assert jobs.wait(["it's 1"], timeout=LIMIT_S) == {"it's 1": JobStatus.COMPLETED}
        assert jobs.get_job_output("it's 1") == 2.5


def test_start_up_file_that_prints(host: Host, script: Path) -> None:
    (host.home / ".bashrc").write_text('echo "Welcome!"; echo "hpc maintenance on Sunday" >&2; cd /\n')
    try:
        check_one_job(host, script)
    finally:
        (host.home / ".bashrc").unlink()


@pytest.mark.parametrize("shell", ["dash", "busybox ash", "zsh", "bash --posix"])
def test_other_login_shells(tmp_path: Path, script: Path, shell: str) -> None:
    if shell != "bash --posix":
        need(shell.split()[0])
    program = str(shutil.which(shell.split()[0]))
    forced = " ".join([program, *shell.split()[1:], '-c "$SSH_ORIGINAL_COMMAND"'])
    with openssh_host(tmp_path / "h", options=(f"ForceCommand exec {forced}",)) as host:
        check_one_job(host, script)


def test_start_up_file_that_ends_the_session(host: Host, script: Path) -> None:
    (host.home / ".bashrc").write_text('echo "go away"; exit 3\n')
    try:
        with pytest.raises(HardwareInterfaceFailureError, match="go away") as caught:
            check_one_job(host, script)
        assert "start-up files" in caught.value.remedy
    finally:
        (host.home / ".bashrc").unlink()


@pytest.mark.parametrize("nonsense", ["ended 0 1 10.00 later 0m0.10s 0m0.01s\n", "\0\n", "unknown\n"])
def test_a_state_that_cannot_be_read_is_an_error_and_hides_no_other_job(
    host: Host, script: Path, tmp_path: Path, nonsense: str
) -> None:
    workspace = tmp_path / "jobs"
    with host.scripts("/bin/sh", script, workspace) as jobs:
        jobs.submit_jobs([Job("corrupt", (1, 1)), Job("sound", (1, 2))])
        jobs.wait(["corrupt", "sound"], timeout=LIMIT_S)
    (workspace / "corrupt" / ".job" / "end").write_text(nonsense)
    with host.scripts("/bin/sh", script, workspace) as jobs:
        assert set(jobs.jobs_found) == {"corrupt", "sound"}
        asked: list[Callable[[], object]] = [
            lambda: jobs.get_job_status("corrupt"),
            jobs.get_job_statuses,
            lambda: jobs.get_job_output("corrupt"),
            lambda: jobs.wait(["corrupt"], timeout=LIMIT_S),
            lambda: list(jobs.follow("corrupt")),
        ]
        for ask in asked:
            with pytest.raises(HardwareInterfaceFailureError, match=r"the state of job corrupt on .* cannot be read"):
                ask()
        assert jobs.get_job_status("sound") is JobStatus.COMPLETED
        assert jobs.get_job_output("sound") == 2.0


@pytest.mark.parametrize("name", ["with space", "it's", '"q"', "$HOME `x`", "~", "-x", "ü", "back\\slash", "a;b&c|d*"])
def test_workspace_with_an_odd_name(host: Host, script: Path, tmp_path: Path, name: str) -> None:
    check_one_job(host, script, tmp_path / name)


def test_workspace_with_a_newline_is_refused(host: Host, script: Path, tmp_path: Path) -> None:
    with pytest.raises(HardwareInterfaceFailureError, match="newline"):
        check_one_job(host, script, tmp_path / "a\nb")


def test_workspace_that_cannot_be_written(host: Host, script: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for where in (tmp_path / "file/ws", Path("/proc/ws"), tmp_path / "file"):
        with pytest.raises(HardwareInterfaceFailureError, match="workspace"):
            check_one_job(host, script, where)
    with pytest.raises(HardwareInterfaceFailureError, match="workspace"):
        check_one_job(host, Path("/proc/nowhere/simulate.sh"))


def test_process_that_cannot_be_ended(host: Host, tmp_path: Path) -> None:
    script, workspace = tmp_path / "stubborn.sh", tmp_path / "ws"
    script.write_text("trap '' TERM; while :; do sleep 0.1; done\n")
    with host.scripts("/bin/sh", script, workspace) as jobs:
        jobs.submit_job(Job(1))
        # No process withstands SIGKILL for long, except one that waits for a lost disk: so the signal is kept from it.
        stop = next((workspace / ".opensees-hpc").glob("*/stop.sh"))
        text = stop.read_text()
        for part in ("kill -KILL ", "now + 10"):
            assert text.count(part) == 1
        stop.write_text(text.replace("kill -KILL ", ": ").replace("now + 10", "now + 1"))
        with pytest.raises(HardwareInterfaceFailureError, match="could not be ended"):
            jobs.cancel_job(1)
        assert jobs.get_job_status(1) is JobStatus.FAILED_CANCEL
        stop.write_text(text)
        jobs.cancel_job(1)
        assert jobs.get_job_status(1) is JobStatus.CANCELLED


def test_another_file_has_the_name_of_a_job(host: Host, script: Path, tmp_path: Path) -> None:
    (tmp_path / "ws/1").mkdir(parents=True)
    (tmp_path / "ws/1/important").touch()
    (tmp_path / "ws/2").touch()
    with host.scripts("/bin/sh", script, tmp_path / "ws") as jobs:
        for job_id in (1, 2):
            with pytest.raises(HardwareInterfaceFailureError, match="not a job"):
                jobs.submit_job(Job(job_id, (1, 1)))
            assert jobs.get_job_status(job_id) is JobStatus.FAILED_SUBMIT
    assert (tmp_path / "ws/1/important").exists()


def can_write(host: Host) -> bool:
    with Connection(host.target()) as connection:
        return connection.run_script("echo x >probe").exit_code == 0


def test_full_disk(tmp_path: Path, script: Path) -> None:
    with emulated_lab(tmp_path / "h") as (host, fill_disk), host.scripts("/bin/sh", script, tmp_path / "ws") as jobs:
        fill_disk(True)
        wait_until(lambda: not can_write(host), "a full disk")
        with pytest.raises(HardwareInterfaceFailureError, match="could not be submitted"):
            jobs.submit_job(Job(1, (1, 1)))
        assert jobs.get_job_status(1) is JobStatus.FAILED_SUBMIT
        assert JobStatus.FAILED_SUBMIT in TERMINAL_STATUSES
        fill_disk(False)
        wait_until(lambda: can_write(host), "room on the disk")
        jobs.submit_job(Job(1, (1, 1)))
        assert jobs.wait([1], timeout=LIMIT_S) == {"1": JobStatus.COMPLETED}
        jobs.submit_job(Job(1, (1, 2)), resubmit=True)
        assert jobs.wait([1], timeout=LIMIT_S) == {"1": JobStatus.COMPLETED}


def test_host_has_no_python_and_no_bash_and_no_pkill(tmp_path: Path, script: Path) -> None:
    need("busybox")
    busybox = str(shutil.which("busybox"))
    tools = tmp_path / "tools"
    tools.mkdir()
    for applet in [
        "sh",
        "tar",
        "mkdir",
        "mv",
        "rm",
        "ln",
        "cat",
        "grep",
        "sed",
        "awk",
        "tr",
        "tail",
        "head",
        "wc",
        "sleep",
        "env",
        "readlink",
        "stat",
        "setsid",
        "mktemp",
        "rmdir",
        "kill",
    ]:
        (tools / applet).symlink_to(busybox)
    forced = f'{busybox} env -i HOME="$HOME" PATH={tools} {busybox} sh -c "$SSH_ORIGINAL_COMMAND"'
    with openssh_host(tmp_path / "h", options=(f"ForceCommand exec {forced}",)) as host:
        check_one_job(host, script)
        with host.scripts("/bin/sh -c 'sleep 600; :'", script, None) as jobs:
            jobs.submit_job(Job(1, (1, 1)))
            jobs.cancel_job(1)
            assert jobs.get_job_status(1) is JobStatus.CANCELLED


def test_many_jobs_in_one_workspace(host: Host, script: Path, tmp_path: Path) -> None:
    names = [str(number) for number in range(500)]
    with host.scripts("/bin/sh", script, tmp_path / "ws") as jobs:
        jobs.submit_jobs([Job(name, (1, int(name))) for name in names])
        assert set(jobs.wait(names, timeout=240).values()) == {JobStatus.COMPLETED}
        with host.scripts("/bin/sh", script, tmp_path / "ws") as other:
            assert set(other.jobs_found) == set(names)
            assert set(other.get_job_statuses().values()) == {JobStatus.COMPLETED}
            assert other.get_job_output(499) == 499


def test_several_clients_on_one_workspace(host: Host, script: Path, tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def work(first: int) -> None:
        try:
            with host.scripts("/bin/sh", script, tmp_path / "ws") as jobs:
                for number in range(first, first + 4):
                    jobs.submit_job(Job(number, (1, number)))
                    jobs.wait([number], timeout=LIMIT_S)
                    assert jobs.get_job_output(number) == number
                    jobs.delete_remote_job_dir(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(10 * index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [path.name for path in (tmp_path / "ws").iterdir()] == [".opensees-hpc"]


def test_many_running_jobs_are_cancelled_in_one_call(host: Host, tmp_path: Path) -> None:
    (tmp_path / "sleep.sh").write_text("sleep 600; :\n")
    names = [str(number) for number in range(60)]
    with host.scripts("/bin/sh", tmp_path / "sleep.sh", tmp_path / "ws") as jobs:
        jobs.submit_jobs([Job(name) for name in names])
        assert jobs.cancel_jobs(names) == dict.fromkeys(names, JobStatus.CANCELLED)
    assert processes_of(tmp_path / "ws") == []
    # One look at the host's processes was for all of them: no supervisor had to take one of its own.
    assert all((tmp_path / "ws" / name / ".job/swept").exists() for name in names)


def test_clock_of_the_host_does_not_matter(host: Host, script: Path, tmp_path: Path) -> None:
    """Files that seem to come from the future, and a deadline while the wall clock is another one."""
    with host.scripts("/bin/sh", script, tmp_path / "ws") as jobs:
        jobs.submit_job(Job(1, (1, 3)))
        jobs.wait([1], timeout=LIMIT_S)
        for path in (tmp_path / "ws/1").rglob("*"):
            os.utime(path, (4e9, 4e9))
        assert jobs.get_job_output(1) == 3
        jobs.submit_job(Job(1, (1, 4)), resubmit=True)
        jobs.wait([1], timeout=LIMIT_S)
        assert jobs.get_job_output(1) == 4


def test_more_than_one_way_to_authenticate_is_refused(host: Host) -> None:
    ways: dict[str, Any] = {"key_filename": "/k", "ssh_config_path": "/c", "use_ssh_agent": True}
    for left_out in (*ways, None):
        given = {name: value for name, value in ways.items() if name != left_out}
        with pytest.raises(ValueError, match="one way"):
            UnixServerScriptInterface("u", "h", "sh", "/s", "n", **given)


@pytest.mark.parametrize("name", ["known_host", "key_filenme", "reconnect_limit"])
def test_unknown_option_is_refused(name: str) -> None:
    wrong: dict[str, Any] = {name: "/k"}
    with pytest.raises(TypeError, match=f"UnixServerScriptInterface.*'{name}'"):
        UnixServerScriptInterface("u", "h", "sh", "/s", "n", **wrong)


@pytest.mark.parametrize("name", ["key_filename", "ssh_config_path"])
def test_empty_path_is_refused(name: str) -> None:
    empty: dict[str, Any] = {name: ""}
    with pytest.raises(ValueError, match=f"'{name}' is empty"):
        UnixServerScriptInterface("u", "h", "sh", "/s", "n", **empty)


def test_unknown_host_is_an_error_of_the_interface(host: Host, script: Path, tmp_path: Path) -> None:
    with pytest.raises(HardwareInterfaceFailureError) as caught:
        check_one_job(host, script, host_keys=(), known_hosts=tmp_path / "none")
    assert isinstance(caught.value, HostKeyError)


def test_interface_has_its_arguments_as_properties(host: Host, tmp_path: Path) -> None:
    class Minimal(SSHInterface):
        def submit_job(self, job: object, resubmit: bool = False) -> None: ...
        def get_job_status(self, job_id: object) -> JobStatus:
            return JobStatus.PENDING_SUBMIT

        def get_job_output(self, job_id: object) -> None: ...
        def cancel_job(self, job_id: object) -> None: ...

    key = {"ssh-ed25519": host.host_key.split()[1]}
    with Minimal(host.user, host.host_port, "mine", 3, key_filename=str(host.key), host_keys=key) as made:
        assert (made.name, made.level, made.user, made.host) == ("mine", 3, host.user, host.host_port)
        with pytest.raises(AttributeError):
            made.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        SSHInterface("u", "h", "n")  # type: ignore[abstract]


@pytest.fixture
def lonely_host(tmp_path: Path) -> Iterator[Host]:
    with openssh_host(tmp_path / "h") as made:
        yield made


def test_connections_are_left_closed(lonely_host: Host, script: Path) -> None:
    before = threading.active_count()
    for _ in range(3):
        check_one_job(lonely_host, script)
    wait_until(lambda: threading.active_count() <= before, "the threads to end")
