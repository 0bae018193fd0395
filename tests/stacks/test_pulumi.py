"""``PulumiStacks`` on the real engine, with programs that need no provider, independent of any cloud."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pulumi
import pytest

from runner.errors import MissingToolError, StackError
from runner.stacks.contract import ProjectName, StackProgress, StackSpec
from runner.stacks.program import Program
from runner.stacks.pulumi import PulumiStacks
from tests.infra.engine import ROOT, find_changes, find_cli_bin, make_site, make_stacks

LIMIT_S = 60.0


class Item(pulumi.ComponentResource):
    """A resource that needs no provider."""

    def __init__(self, name: str) -> None:
        super().__init__("test:index:Item", name)
        self.register_outputs({})


def declare_items() -> None:
    config = pulumi.Config("opensees-hpc")
    items = [Item(f"item-{index}") for index in range(int(config.require("count")))]
    pulumi.export("names", [item.urn.apply(lambda urn: urn.rsplit("::", 1)[1]) for item in items])
    pulumi.export("stack", pulumi.get_stack())


def spec(name: str = "b1", count: int = 2, project: ProjectName = "analysis") -> StackSpec:
    return StackSpec(project=project, name=name, config={"opensees-hpc:count": str(count)})


def ignore(progress: StackProgress) -> None:
    """Ignore it."""


@pytest.fixture
def infra(tmp_path: Path) -> Path:
    """Return a checkout of the test's own: links for use by hand are created in it."""
    for project in ("base", "analysis"):
        folder = tmp_path / "infra" / project
        folder.mkdir(parents=True)
        (folder / "Pulumi.yaml").write_bytes((ROOT / "infra" / project / "Pulumi.yaml").read_bytes())
    return tmp_path / "infra"


@pytest.fixture
def stacks_of(tmp_path: Path, infra: Path) -> Callable[[Program], PulumiStacks]:
    return lambda program: make_stacks(make_site(tmp_path, infra=infra), {"analysis": program, "base": program})


@pytest.fixture
def stacks(stacks_of: Callable[[Program], PulumiStacks]) -> PulumiStacks:
    return stacks_of(declare_items)


def test_the_life_of_a_stack(stacks: PulumiStacks) -> None:
    assert stacks.names("analysis") == []
    assert stacks.outputs("analysis", "b1") is None
    seen: list[StackProgress] = []
    outputs = stacks.up(spec(), seen.append)
    assert outputs == {"names": ["item-0", "item-1"], "stack": "b1"}
    assert {(step.name, step.op) for step in seen if step.state == "done"} == {
        ("item-0", "create"),
        ("item-1", "create"),
    }
    assert stacks.outputs("analysis", "b1") == outputs
    assert stacks.names("analysis") == ["b1"]
    assert find_changes(stacks, spec()) == set()
    assert find_changes(stacks, spec(count=3)) == {("item-2", "create")}

    assert stacks.up(spec(count=1), ignore)["names"] == ["item-0"]
    with pytest.raises(StackError, match="removal of analysis/b1 failed"):
        stacks.remove("analysis", "b1")
    seen.clear()
    stacks.destroy("analysis", "b1", seen.append)
    assert ("item-0", "delete", "done") in {(step.name, step.op, step.state) for step in seen}
    stacks.destroy("analysis", "b1", ignore)
    stacks.remove("analysis", "b1")
    assert stacks.names("analysis") == []


def test_a_missing_stack_is_destroyed_and_removed_silently(stacks: PulumiStacks) -> None:
    stacks.destroy("analysis", "nothing", ignore)
    stacks.remove("analysis", "nothing")


def test_pulumi_by_hand_sees_the_same_stack(stacks: PulumiStacks, tmp_path: Path, infra: Path) -> None:
    stacks.up(spec(), ignore)
    site = make_site(tmp_path, infra=infra)
    for command, answer in (
        (["config", "get", "opensees-hpc:count"], "2"),
        (["stack", "output", "stack"], "b1"),
    ):
        shown = subprocess.run(
            [site.cli_bin / "pulumi", "--non-interactive", *command, "--stack", "b1"],
            cwd=infra / "analysis",
            env=dict(site.env),
            capture_output=True,
            text=True,
            check=True,
        )
        assert shown.stdout.strip() == answer
    project_file = (infra / "analysis" / "Pulumi.yaml").read_bytes()
    assert project_file == (ROOT / "infra" / "analysis" / "Pulumi.yaml").read_bytes()


def test_settings_lost_with_another_computer_do_not_keep_a_stack_alive(stacks: PulumiStacks, tmp_path: Path) -> None:
    stacks.up(spec(), ignore)
    (tmp_path / "work" / "analysis" / "Pulumi.b1.yaml").unlink()
    stacks.destroy("analysis", "b1", ignore)
    stacks.remove("analysis", "b1")
    assert stacks.names("analysis") == []


def test_a_wrong_passphrase_is_reported_with_its_remedy(stacks: PulumiStacks, tmp_path: Path, infra: Path) -> None:
    stacks.up(spec(), ignore)
    site = make_site(tmp_path, infra=infra, more={"PULUMI_CONFIG_PASSPHRASE": "another"})
    with pytest.raises(StackError) as caught:
        make_stacks(site, {"analysis": declare_items}).up(spec(), ignore)
    assert "passphrase" in caught.value.remedy


def test_a_refused_setting_is_reported_without_a_traceback(stacks_of: Callable[[Program], PulumiStacks]) -> None:
    def declare() -> None:
        raise pulumi.RunError("wrong settings, nothing was declared:\n  opensees-hpc:owner: is not set")

    stacks = stacks_of(declare)
    with pytest.raises(StackError) as caught:
        stacks.up(spec(), ignore)
    assert "opensees-hpc:owner: is not set" in str(caught.value)
    assert "Traceback" not in str(caught.value)
    stacks.destroy("analysis", "b1", ignore)
    stacks.remove("analysis", "b1")


def test_a_program_that_cannot_be_loaded_says_so(tmp_path: Path, infra: Path) -> None:
    def load() -> Program:
        raise ImportError("no module named nowhere")

    stacks = PulumiStacks(make_site(tmp_path, infra=infra), {"analysis": load})
    with pytest.raises(StackError, match="no module named nowhere"):
        stacks.up(spec(), ignore)


def test_a_listener_that_fails_does_not_break_the_run(stacks: PulumiStacks) -> None:
    def fail(progress: StackProgress) -> None:
        raise BrokenPipeError(progress.name)

    with pytest.raises(BrokenPipeError):
        stacks.up(spec(), fail)
    assert stacks.outputs("analysis", "b1") == {"names": ["item-0", "item-1"], "stack": "b1"}


def test_a_killed_engine_is_reported_and_leaves_no_thread(stacks_of: Callable[[Program], PulumiStacks]) -> None:
    """Its program waits for a value then; Python would wait for the program's thread before it exits."""
    is_running = threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def wait_for_ever() -> str:
        loops.append(asyncio.get_running_loop())
        is_running.set()
        return str(await asyncio.get_running_loop().create_future())

    stacks = stacks_of(lambda: pulumi.export("never", pulumi.Output.from_input(wait_for_ever())))

    def kill_engine() -> None:
        assert is_running.wait(LIMIT_S)
        for child in psutil.Process().children():
            if child.name() == "pulumi":
                child.kill()

    threading.Thread(target=kill_engine).start()
    with pytest.raises(StackError, match="ended by SIGKILL"):
        stacks.up(spec(), ignore)
    assert all(loop.is_closed() for loop in loops)


def test_without_a_cli_the_remedy_is_named(tmp_path: Path, infra: Path) -> None:
    site = make_site(tmp_path, infra=infra)
    elsewhere = type(site)(cli_bin=tmp_path, infra=site.infra, work=site.work, env=site.env)
    with pytest.raises(MissingToolError) as caught:
        make_stacks(elsewhere, {"analysis": declare_items}).names("analysis")
    assert "bootstrap" in caught.value.remedy


def test_stacks_are_created_side_by_side(stacks: PulumiStacks) -> None:
    created: dict[str, object] = {}
    threads = [
        threading.Thread(target=lambda name=name: created.update({name: stacks.up(spec(name), ignore)["stack"]}))
        for name in ("b1", "b2", "b3")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert created == {"b1": "b1", "b2": "b2", "b3": "b3"}
    assert stacks.names("analysis") == ["b1", "b2", "b3"]


def test_the_lock_of_a_killed_engine_is_removed(stacks: PulumiStacks, tmp_path: Path) -> None:
    stacks.up(spec(), ignore)
    with subprocess.Popen(["sleep", "0"]) as dead:
        dead.wait()
    write_lock(tmp_path, dead.pid)
    stacks.destroy("analysis", "b1", ignore)
    stacks.remove("analysis", "b1")
    write_lock(tmp_path, dead.pid)  # as if it had been killed before there was a state
    stacks.up(spec(), ignore)
    stacks.destroy("analysis", "b1", ignore)
    stacks.remove("analysis", "b1")


def test_an_old_lock_of_another_computer_is_removed_from_a_batch(stacks: PulumiStacks, tmp_path: Path) -> None:
    stacks.up(spec(), ignore)
    write_lock(tmp_path, 1, host="elsewhere", age_s=2 * 3600)
    seen: list[StackProgress] = []
    stacks.destroy("analysis", "b1", seen.append)
    (unlock,) = [step for step in seen if step.op == "unlock"]
    assert "you@elsewhere (process 1, since " in unlock.message


@pytest.mark.parametrize("verb", ["up", "destroy"])
def test_a_living_engine_is_waited_for(stacks: PulumiStacks, tmp_path: Path, verb: str) -> None:
    """For example that of a client that was killed just now, which is about to end."""
    stacks.up(spec(), ignore)
    lock = write_lock(tmp_path, os.getpid())
    acts: dict[str, Callable[[], object]] = {
        "up": lambda: stacks.up(spec(), ignore),
        "destroy": lambda: stacks.destroy("analysis", "b1", ignore),
    }
    ended: list[str] = []

    def act() -> None:
        acts[verb]()
        ended.append(verb)

    thread = threading.Thread(target=act)
    thread.start()
    time.sleep(2.0)  # so that the engine has been refused; it is right if it was not, too
    assert not ended
    lock.unlink()
    thread.join(LIMIT_S)
    assert ended == [verb]
    assert bool(stacks.outputs("analysis", "b1")) is (verb == "up")


def write_lock(tmp_path: Path, pid: int, *, host: str = "", age_s: float = 0.0) -> Path:
    """Write a lock as the engine does, of process ``pid`` of this computer, or of another ``host``."""
    folder = tmp_path / "state" / ".pulumi" / "locks" / "organization" / "opensees-hpc-analysis" / "b1"
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / "11111111-1111-4111-8111-111111111111.json"
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - age_s))
    host = host or os.uname().nodename
    lock.write_text(f'{{"pid": {pid}, "username": "you", "hostname": "{host}", "timestamp": "{at}"}}', encoding="utf-8")
    return lock


def test_the_cli_is_there() -> None:
    assert (find_cli_bin() / "pulumi").is_file()
