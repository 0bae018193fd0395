"""The remote side on its own, run by each shell that may be /bin/sh: dash, bash, and BusyBox with its own tools."""

from __future__ import annotations

import dataclasses
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runner.hardware.bundle import Bundle, remote_scripts, shell_words, tar_bundles, tar_files
from runner.hardware.remote_state import How, Phase, RemoteState
from runner.hardware.workspace import parse_states
from tests.hardware.hosts import kill_leftovers, processes_of, wait_until
from tests.needs import need


@dataclass(kw_only=True)
class Remote:
    """A workspace, and a way to run the scripts in it."""

    shell: tuple[str, ...]
    workspace: Path
    scripts: Path
    environment: Mapping[str, str]
    # Tokens distinguish the processes of one job from all others on the host, also from those of tests that run at the same time.
    token: str = field(default_factory=lambda: secrets.token_hex(8))

    def run(self, *words: str, stdin: bytes = b"", script: str = "manager.sh") -> str:
        command = [*self.shell, str(self.scripts / script), *words]
        done = subprocess.run(command, cwd=self.workspace, env=self.environment, input=stdin, capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout.decode()

    def start(self, *words: str, stdin: bytes = b"") -> subprocess.Popen[bytes]:
        """As ``run``, and do not wait for its end."""
        command = [*self.shell, str(self.scripts / "manager.sh"), *words]
        process = subprocess.Popen(
            command, cwd=self.workspace, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin is not None
        process.stdin.write(stdin)
        process.stdin.close()
        process.stdin = None
        return process

    def with_line(self, line: str, *, before: str) -> Remote:
        """Return the same workspace for a client whose manager.sh also runs ``line``, before the one line ``before``."""
        scripts = Path(tempfile.mkdtemp(dir=self.scripts.parent))
        shutil.copytree(self.scripts, scripts, dirs_exist_ok=True)
        text = (scripts / "manager.sh").read_text()
        assert text.count(f"\n{before}\n") == 1
        (scripts / "manager.sh").write_text(text.replace(f"\n{before}\n", f"\n{line}\n{before}\n"))
        return dataclasses.replace(self, scripts=scripts)

    def submit(self, *bundles: Bundle, token: str = "", mode: str = "new") -> dict[str, str]:
        token = token or self.token
        answers = self.run("submit", token, mode, stdin=b"".join(tar_bundles(bundles, token)))
        return {line.split("\t")[1]: line.split("\t")[0] for line in answers.splitlines()}

    def state(self, name: str) -> RemoteState:
        return parse_states(self.run("status", name))[name]

    def end(self, name: str) -> RemoteState:
        wait_until(lambda: self.state(name).phase is Phase.END, f"the end of {name}")
        return self.state(name)

    def edit(self, name: str, file: str, **changes: str) -> None:
        """Change words of a state file: pid, start, boot."""
        path = self.workspace / name / ".job" / file
        words = dict(zip(("pid", "start", "boot", "uptime"), path.read_text().split(), strict=False)) | changes
        path.write_text(" ".join(words.values()) + "\n")


def find_shells(folder: Path, name: str) -> tuple[tuple[str, ...], str]:
    """Return the shell, and a PATH with the tools that go with it."""
    if name != "bash":
        need(name)
    if name != "busybox":
        return (f"/bin/{name}",), os.environ["PATH"]
    busybox = str(shutil.which("busybox"))
    tools = folder / "busybox"
    tools.mkdir()
    for applet in subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split():
        (tools / applet).symlink_to(busybox)
    return (str(tools / "sh"),), str(tools)


@pytest.fixture(params=["dash", "bash", "busybox"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Remote]:
    shell, path = find_shells(tmp_path, request.param)
    workspace, scripts = tmp_path / "a $(work) 'space'", tmp_path / "scripts"
    workspace.mkdir()
    scripts.mkdir()
    for file in remote_scripts():
        assert isinstance(file.source, bytes)
        # The scripts call each other by the shell that every system has; here it is the one under test.
        (scripts / file.path).write_bytes(file.source.replace(b"/bin/sh ", f"{shell[0]} ".encode()))
    made = Remote(shell=shell, workspace=workspace, scripts=scripts, environment={"PATH": path, "HOME": str(tmp_path)})
    yield made
    kill_leftovers(workspace)


def script_bundle(text: str, name: str = "a", **more: object) -> Bundle:
    wanted: dict[str, object] = {"log_name": "log", "grace_s": 1} | more
    settings = shell_words(["sh", "-c", text])
    return Bundle(name=name, settings=settings, **wanted)  # type: ignore[arg-type]


def test_attach_creates_a_workspace_and_installs_the_scripts(remote: Remote, tmp_path: Path) -> None:
    for where, how in ((str(tmp_path / "new one/deep"), "given"), ("~/x y", "given"), (str(tmp_path), "beside")):
        answer = remote.run(how, where, "d1", stdin=b"".join(tar_files(remote_scripts())), script="attach.sh")
        began_in, folder = answer.splitlines()[:2]
        assert began_in == str(remote.workspace)
        assert (Path(folder) / ".opensees-hpc/d1/manager.sh").exists()
        if how == "beside":
            assert Path(folder).parent == tmp_path
            assert Path(folder).name.startswith("exauq") and len(Path(folder).name) == 10


def test_life_of_a_job(remote: Remote) -> None:
    assert remote.submit(script_bundle("echo out; echo err >&2; exit 3")) == {"a": "ok"}
    end = remote.end("a").end
    assert end is not None
    assert (end.how, end.exit_code, end.has_output) == (How.ENDED, 3, False)
    assert end.wall_s >= 0 and end.core_s is not None
    assert (remote.workspace / "a/log").read_text() == "out\nerr\n"
    assert remote.run("show", "a", "log", "1").splitlines()[1:] == ["8", "err"]
    assert remote.run("read", "a", "log", "5").splitlines()[1:] == ["8", "out", "e"]
    assert remote.run("delete", "a", "b").splitlines() == ["ok\ta\t", "none\tb\t"]
    assert remote.run("status") == ""
    assert remote.run("status", "a") == "a\t-\tnone\n"


def test_programs_end_by_a_broken_pipe(remote: Remote) -> None:
    remote.submit(script_bundle("while :; do echo y; done | head -1; grep SigIgn /proc/self/status"))
    assert remote.end("a").phase is Phase.END
    said, ignored = (remote.workspace / "a/log").read_text().splitlines()
    assert said == "y"
    assert not int(ignored.split()[1], 16) & 1 << (signal.SIGPIPE - 1)


def test_output_is_looked_for_when_the_job_ends(remote: Remote) -> None:
    remote.submit(script_bundle("echo 1 >result", output_name="result"))
    end = remote.end("a").end
    assert end is not None and end.has_output


def test_submitting_twice(remote: Remote) -> None:
    bundle = script_bundle("true")
    assert remote.submit(bundle) == {"a": "ok"}
    # The same submit again, as after a lost connection: done already.
    assert remote.submit(bundle) == {"a": "ok"}
    assert remote.submit(bundle, token=secrets.token_hex(8)) == {"a": "exists"}
    remote.end("a")
    assert remote.submit(bundle, token=secrets.token_hex(8), mode="again") == {"a": "ok"}
    assert remote.submit(script_bundle("true", "b"), token=secrets.token_hex(8), mode="again") == {"b": "none"}
    assert remote.submit(script_bundle("true", "b"), token=secrets.token_hex(8), mode="any") == {"b": "ok"}
    assert {path.name for path in (remote.workspace / ".opensees-hpc").iterdir()} == set()


def test_torn_submit_leaves_nothing(remote: Remote) -> None:
    whole = b"".join(tar_bundles([script_bundle("true")], remote.token))
    for size in (0, 700, 1024, 2000, 2048):
        command = [*remote.shell, str(remote.scripts / "manager.sh"), "submit", remote.token, "new"]
        done = subprocess.run(
            command, cwd=remote.workspace, env=remote.environment, input=whole[:size], capture_output=True
        )
        assert done.returncode != 0
        assert remote.state("a").phase is Phase.NONE
    assert list((remote.workspace / ".opensees-hpc").iterdir()) == []
    assert remote.submit(script_bundle("true")) == {"a": "ok"}


def test_half_created_job_blocks_no_other_client(remote: Remote) -> None:
    remote.submit(script_bundle("true"))
    remote.end("a")
    # As if the host had crashed when the folder was in place and nothing had begun.
    for name in ("run", "end", "program"):
        (remote.workspace / "a/.job" / name).unlink()
    remote.edit("a", "placed", boot="another-boot")
    assert remote.state("a").phase is Phase.NONE
    assert remote.submit(script_bundle("exit 5"), token=secrets.token_hex(8)) == {"a": "ok"}
    end = remote.end("a").end
    assert end is not None and end.exit_code == 5


def test_process_after_a_reboot_is_not_mistaken_for_the_job(remote: Remote) -> None:
    remote.submit(script_bundle("sleep 600"))
    remote.edit("a", "run", boot="another-boot")
    end = remote.state("a").end
    assert end is not None and end.how is How.LOST and end.exit_code is None
    # Decided once: it stays so.
    assert remote.state("a").end == end


def test_reused_process_id_is_not_mistaken_for_the_job(remote: Remote) -> None:
    remote.submit(script_bundle("sleep 600"))
    wait_until((remote.workspace / "a/.job/program").exists, "the program")
    remote.edit("a", "run", start="1")
    # The supervisor is another process now, but the program is the one that was started.
    assert remote.state("a").phase is Phase.RUNNING
    remote.edit("a", "program", start="1")
    end = remote.state("a").end
    assert end is not None and end.how is How.LOST


def test_killed_supervisor(remote: Remote) -> None:
    remote.submit(
        script_bundle("touch begun; until [ -e go ]; do sleep 0.05; done; echo 1 >out", output_name="out"),
        script_bundle("touch begun; sleep 600", "b"),
    )
    for name in ("a", "b"):
        wait_until((remote.workspace / name / "begun").exists, "the program's first act")
        os.kill(int((remote.workspace / name / ".job/run").read_text().split()[0]), 9)
        assert remote.state(name).phase is Phase.RUNNING
    (remote.workspace / "a/go").touch()
    end = remote.end("a").end
    assert end is not None and (end.how, end.has_output) == (How.LOST, True)
    assert parse_states(remote.run("cancel", "b"))["b"].end is not None
    end = remote.state("b").end
    assert end is not None and end.how is How.CANCELLED


def test_cancel_ends_everything_after_the_grace(remote: Remote) -> None:
    remote.submit(
        script_bundle(
            'trap "" TERM; (trap "" TERM; exec setsid sleep 600) & echo $! >child; while :; do sleep 0.1; done'
        )
    )
    wait_until((remote.workspace / "a/child").exists, "the child")
    states = parse_states(remote.run("cancel", "a", "unknown"))
    end = states["a"].end
    assert end is not None and (end.how, end.exit_code) == (How.CANCELLED, 137)
    assert states["unknown"].phase is Phase.NONE
    child = (remote.workspace / "a/child").read_text().strip()
    wait_until(lambda: not Path(f"/proc/{child}").exists(), "the end of the child")


def test_cancel_before_the_program_begins(remote: Remote) -> None:
    remote.submit(script_bundle("touch ran; sleep 600"))
    assert parse_states(remote.run("cancel", "a"))["a"].phase is Phase.END


def test_cancelled_jobs_have_each_its_own_grace(remote: Remote) -> None:
    stubborn = 'trap "" TERM; touch begun; while :; do sleep 0.1; done'
    remote.submit(
        script_bundle(stubborn, grace_s=1), script_bundle(stubborn, "b", grace_s=3), script_bundle("sleep 600", "c")
    )
    wait_until(lambda: all((remote.workspace / name / "begun").exists() for name in "ab"), "the programs")
    states = parse_states(remote.run("cancel", "a", "b", "c"))
    ends = {name: state.end for name, state in states.items()}
    assert {name: end and end.how for name, end in ends.items()} == dict.fromkeys("abc", How.CANCELLED)
    # Whole seconds: the grace may be up to one second shorter.
    assert ends["b"] is not None and ends["b"].wall_s >= 2


def test_canceller_that_is_killed_leaves_the_rest_to_the_supervisor(remote: Remote) -> None:
    stubborn = 'trap "" TERM; (trap "" TERM; exec setsid sleep 600) & echo $! >child; while :; do sleep 0.1; done'
    remote.submit(script_bundle(stubborn, grace_s=2))
    wait_until((remote.workspace / "a/child").exists, "the child")
    process = remote.start("cancel", "a")
    wait_until((remote.workspace / "a/.job/request").exists, "the request")
    os.kill(int((remote.workspace / "a/.job/ending").read_text().split()[0]), signal.SIGKILL)
    assert process.communicate()[0] == b"a\t-\trunning\n"
    os.kill(int((remote.workspace / "a/.job/program").read_text().split()[0]), signal.SIGKILL)
    end = remote.end("a").end
    assert end is not None and end.how is How.CANCELLED
    assert processes_of(remote.workspace) == []


def test_deadline_and_what_runs_after_the_end(remote: Remote) -> None:
    after = shell_words(["sh", "-c", "echo $OPENSEES_HPC_JOB_END >after; exit 9"])
    remote.submit(script_bundle("sleep 600", timeout_s=1, on_end=after))
    end = remote.end("a").end
    assert end is not None and end.how is How.TIMEOUT and end.wall_s >= 1
    wait_until(lambda: remote.state("a").after == 9, "the command after the end")
    assert (remote.workspace / "a/after").read_text() == "timeout\n"
    assert "timed out after 1 s" in (remote.workspace / "a/log").read_text()


def test_watching(remote: Remote) -> None:
    remote.submit(script_bundle("echo one; sleep 0.5; printf two"), script_bundle("exit 4", "b"))
    frames = remote.run("a", "2", "b", "end", "nobody", "end", "a", "after", script="watch.sh")
    text = "".join(line for line in frames.splitlines(keepends=True) if not line.startswith(("L ", "E ", "K")))
    assert "e\n" in text and "two" in frames
    ends = sorted(line[line.index("E ") :] for line in frames.splitlines() if "E " in line)
    assert [line.split()[1:5] for line in ends] == [
        ["1", "-", "end", "ended"],
        ["2", "-", "end", "ended"],
        ["3", "-", "none"],
        ["4", "-", "end", "ended"],
    ]


def test_sweep_removes_only_folders_without_an_owner(remote: Remote) -> None:
    control = remote.workspace / ".opensees-hpc"
    for name, owner in (("new.dead.1", "1 1 another-boot\n"), ("new.torn.99999999", ""), ("bin.99999999", "")):
        (control / name).mkdir(parents=True)
        (control / name / ".owner").write_text(owner)
    stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (control / "new.live.3").mkdir()
    (control / "new.live.3/.owner").write_text(f"{os.getpid()} {stat[19]} {boot}\n")
    in_the_making = control / f"new.made.{os.getpid()}"  # whose creator is not written down yet
    in_the_making.mkdir()
    remote.run("sweep")
    assert {path.name for path in control.iterdir()} == {"new.live.3", in_the_making.name}


def test_claim_of_a_client_that_died_does_not_last(remote: Remote) -> None:
    remote.submit(script_bundle("true"))
    remote.end("a")
    (remote.workspace / "a/.job/claim.1").symlink_to("1 1 another-boot")
    assert remote.submit(script_bundle("exit 2"), token=secrets.token_hex(8), mode="again") == {"a": "ok"}
    end = remote.end("a").end
    assert end is not None and end.exit_code == 2


@pytest.mark.parametrize("verb", ["delete", "submit"])
def test_job_that_another_client_has_restarted_is_left_alone(remote: Remote, verb: str) -> None:
    remote.submit(script_bundle("true"))
    remote.end("a")
    # A client that has seen the end of the job, and stands still before it acts on it.
    slow = remote.with_line("touch ../looked; until [ -e ../go ]; do sleep 0.05; done", before="  workspace=$PWD")
    token = secrets.token_hex(8)
    words = ("delete", "a") if verb == "delete" else ("submit", token, "again")
    bundle = b"" if verb == "delete" else b"".join(tar_bundles([script_bundle("exit 9")], token))
    process = slow.start(*words, stdin=bundle)
    folder = remote.workspace.parent
    wait_until((folder / "looked").exists, "the first look")
    again = script_bundle("until [ -e done ] || [ ! -e .job ]; do sleep 0.05; done; exit 2")
    assert remote.submit(again, token=secrets.token_hex(8), mode="again") == {"a": "ok"}
    (folder / "go").touch()
    assert process.communicate()[0].decode() == "busy\ta\trunning\n"
    assert remote.state("a").phase is Phase.RUNNING
    (remote.workspace / "a/done").touch()
    end = remote.end("a").end
    assert end is not None and end.exit_code == 2
    # What the other client has left there blocks no other client.
    assert remote.run("delete", "a") == "ok\ta\t\n"


@pytest.mark.parametrize("mode", ["new", "again", "any"])
def test_submit_that_was_killed_before_the_job_began_can_be_repeated(remote: Remote, mode: str) -> None:
    if mode != "new":
        remote.submit(script_bundle("true"), token=secrets.token_hex(8))
        remote.end("a")
    bundle = script_bundle("exit 5")
    killed = remote.with_line("kill -9 $$", before='  shift "$placed"')
    stdin = b"".join(tar_bundles([bundle], remote.token))
    process = killed.start("submit", remote.token, mode, stdin=stdin)
    assert (process.communicate()[0], process.returncode) == (b"", -signal.SIGKILL)
    assert remote.state("a").phase is Phase.NONE
    assert remote.submit(bundle, mode=mode) == {"a": "ok"}
    end = remote.end("a").end
    assert end is not None and end.exit_code == 5


def test_submit_that_was_killed_between_two_folders_can_be_repeated(remote: Remote) -> None:
    remote.submit(script_bundle("true"), token=secrets.token_hex(8))
    remote.end("a")
    bundle = script_bundle("exit 5")
    killed = remote.with_line('[ -e "$2" ] || kill -9 $$', before='    if mv -- "$1" ./ 2>/dev/null; then return 0; fi')
    stdin = b"".join(tar_bundles([bundle], remote.token))
    process = killed.start("submit", remote.token, "again", stdin=stdin)
    assert (process.communicate()[0], process.returncode) == (b"", -signal.SIGKILL)
    assert remote.state("a").phase is Phase.NONE
    assert remote.submit(bundle, mode="again") == {"a": "ok"}


# As many files with something in them as there are now are all that the disk takes.
FULL_DISK = """
. "$1/common.sh"
OWN_PID=$$
count() { find a/.job -type f -size +0 | wc -l; }
room=$(count)
printf() { [ "$(count)" -lt "$room" ] && command printf "$@"; }
write_once a/.job/request shutdown && write_line a/.job/over 0 && write_state a/.job/timeout_s 5 && write_line a/.job/after 0 || exit 1
write_line a/.job/swept 1 && exit 2
cat a/.job/request a/.job/over a/.job/timeout_s a/.job/after
"""


def test_each_state_file_finds_room_on_a_full_disk(remote: Remote) -> None:
    remote.submit(script_bundle(":"))
    remote.end("a")
    command = [*remote.shell, "-c", FULL_DISK, "full", str(remote.scripts)]
    done = subprocess.run(command, cwd=remote.workspace, env=remote.environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "shutdown\n0\n5\n0\n", "")
