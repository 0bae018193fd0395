"""Destroy that cannot be blocked: whatever state Pulumi is in, a batch ends with nothing left of it in the cloud.

Each test creates a batch of one VM with the real engine, breaks something, and ends the batch.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from runner.base.stack import ensure_base
from runner.context import Context
from runner.errors import HpcError, LeftoverError
from runner.model import names
from runner.model.leftover import BILLED, Kind
from runner.stacks.contract import StackProgress, StackSpec
from runner.teardown.end import Ending, end_bake, end_batch
from tests.emulator.conftest import ROCKY, until
from tests.support.command_site import CommandSite

pytestmark = pytest.mark.xdist_group("end")

NS = names.CONFIG_NAMESPACE
PROJECT = names.PULUMI_PROJECTS["analysis"]


def ignore(progress: StackProgress) -> None:
    """Listens to nothing."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch of one VM that is there, and what is known of it on this computer."""

    site: CommandSite
    context: Context
    name: str

    @property
    def folder(self) -> Path:
        """Pulumi's state."""
        return self.site.home / "local" / "stacks" / ".pulumi"

    @property
    def state(self) -> Path:
        return self.folder / "stacks" / PROJECT / f"{self.name}.json"

    @property
    def settings(self) -> Path:
        return self.site.home / "local" / "engine" / "analysis" / f"Pulumi.{self.name}.yaml"

    def lock(self, *, host: str, pid: int) -> Path:
        """Lock the stack as Pulumi does."""
        file = (
            self.folder / "locks" / "organization" / PROJECT / self.name / "0f0e0d0c-0000-4000-8000-000000000000.json"
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        holder = {"pid": pid, "username": "me", "hostname": host, "timestamp": datetime.now(UTC).isoformat()}
        file.write_text(json.dumps(holder))
        return file

    def end(self, context: Context | None = None, *, hurry_after_s: float | None = None) -> Ending:
        """End it. ``hurry_after_s``: hurry after this many seconds."""
        hurry = threading.Event()
        timer = threading.Timer(hurry_after_s or 0.0, hurry.set)
        if hurry_after_s == 0.0:
            hurry.set()
        elif hurry_after_s is not None:
            timer.start()
        try:
            return end_batch(context or self.context, self.name, hurry=hurry)
        finally:
            timer.cancel()

    def is_there(self) -> list[str]:
        """What the cloud has of it."""
        found = self.context.cloud.inventory.find(BILLED, names.labels_of_batch(self.name))
        assert found.unread == ()
        return [str(item) for item in found.items]

    def assert_nothing_is_left(self) -> None:
        """Neither in the cloud, nor in Pulumi's state or settings."""
        assert self.is_there() == []
        assert not self.state.exists()
        assert not self.settings.exists()
        assert not list((self.folder / "locks").rglob(f"{self.name}/*.json"))


def spec(context: Context, name: str) -> StackSpec:
    settings = context.settings
    ours = {
        "owner": settings.owner,
        "expires": (context.now() + timedelta(hours=1)).isoformat(timespec="minutes"),
        "count": "1",
        "image": ROCKY,
        "max_run_seconds": "3600",
        "disk_gib": "50",
    }
    place = {"gcp:project": settings.project, "gcp:region": settings.region, "gcp:zone": settings.zones_to_try[0]}
    return StackSpec(
        project="analysis", name=name, config=place | {f"{NS}:{key}": value for key, value in ours.items()}
    )


@pytest.fixture(scope="module")
def base(cloud_home: Path) -> None:
    site = CommandSite(home=cloud_home)
    context = site.context()
    context.cloud.open()
    ensure_base(context)


@pytest.fixture
def batch(site: CommandSite, base: None, request: pytest.FixtureRequest) -> Iterator[Batch]:
    context = site.context()
    context.cloud.open()
    serial = sum(map(ord, request.node.name)) % 1000
    batch = Batch(site=site, context=context, name=f"b{serial}-{os.getpid()}")
    context.cloud.stacks.up(spec(context, batch.name), ignore)
    assert batch.is_there() == [
        f"instance opensees-hpc-{batch.name}-0 in europe-west4-a",
        f"disk opensees-hpc-{batch.name}-0 in europe-west4-a",
    ]
    yield batch
    site.disarm()


def test_without_any_trouble_the_engine_does_it_all(batch: Batch) -> None:
    assert batch.end() == Ending()
    batch.assert_nothing_is_left()
    assert batch.end() == Ending()


def truncate_state(batch: Batch) -> None:
    batch.state.write_bytes(batch.state.read_bytes()[: batch.state.stat().st_size // 2])


def empty_state(batch: Batch) -> None:
    batch.state.write_bytes(b"")


def scramble_state(batch: Batch) -> None:
    batch.state.write_text('{"version": 3, "checkpoint": {"stack": 7, "latest": ["nonsense"]}}')


def lose_state(batch: Batch) -> None:
    batch.state.unlink()


def lose_settings(batch: Batch) -> None:
    batch.settings.unlink()


def corrupt_settings(batch: Batch) -> None:
    batch.settings.write_text("config: [\n")


def lose_vm(batch: Batch) -> None:
    batch.site.delete_vm(f"opensees-hpc-{batch.name}-0")


def forget_passphrase(batch: Batch) -> None:
    (batch.site.home / "passphrase").write_text("another one")


def lock_by_the_dead(batch: Batch) -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as ended:
        pass
    batch.lock(host=socket.gethostname(), pid=ended.pid)


def half_write_a_lock(batch: Batch) -> None:
    batch.lock(host="h", pid=1).write_text('{"pid": 12')


def lose_everything(batch: Batch) -> None:
    shutil.rmtree(batch.folder / "stacks" / PROJECT)
    shutil.rmtree(batch.settings.parent)


CORRUPTIONS: list[Callable[[Batch], None]] = [
    truncate_state,
    empty_state,
    scramble_state,
    lose_state,
    lose_settings,
    corrupt_settings,
    lose_vm,
    forget_passphrase,
    lock_by_the_dead,
    half_write_a_lock,
    lose_everything,
]


@pytest.mark.parametrize("corrupt", CORRUPTIONS, ids=lambda corrupt: str(corrupt.__name__))
def test_corrupt_local_state_does_not_keep_a_batch_alive(batch: Batch, corrupt: Callable[[Batch], None]) -> None:
    passphrase = (batch.site.home / "passphrase").read_bytes()
    corrupt(batch)
    try:
        assert batch.end().finish == ""
    finally:
        (batch.site.home / "passphrase").write_bytes(passphrase)
    batch.assert_nothing_is_left()


def test_without_a_pulumi_cli(batch: Batch, tmp_path: Path) -> None:
    without = batch.site.context(PATH="/usr/bin:/bin", OPENSEES_HPC_CACHE=str(tmp_path))
    without.cloud.open(needs_engine=False)
    ending = batch.end(without)
    assert "no Pulumi CLI" in ending.failure
    assert [str(removal.item.kind.value) for removal in ending.removals] == ["instance", "disk"]
    batch.assert_nothing_is_left()


def test_a_lock_from_another_computer_is_not_broken_but_reported(batch: Batch) -> None:
    lock = batch.lock(host="another-host", pid=1)
    ending = batch.end(hurry_after_s=2.0)
    assert batch.is_there() == []
    assert f"pulumi cancel --yes --stack {batch.name}" in ending.finish
    assert f"pulumi stack rm --force --yes {batch.name}" in ending.finish
    assert any("to finish: " in fact["message"] for fact in batch.site.events("warning"))
    lock.unlink()
    assert batch.end().finish == ""
    batch.assert_nothing_is_left()


def test_an_engine_that_hangs_is_ended_and_the_sweep_continues(batch: Batch) -> None:
    batch.site.arm(kind="slow_operation", match=f"delete .*opensees-hpc-{batch.name}-0", delay_s=3600)
    assert "there was no time to wait for it" in batch.end(hurry_after_s=8.0).failure
    batch.assert_nothing_is_left()


def test_in_a_hurry_the_engine_is_not_asked(batch: Batch) -> None:
    ending = batch.end(hurry_after_s=0.0)
    assert "no time to destroy the stack" in ending.failure
    assert [removal.is_gone for removal in ending.removals] == [True, True]
    batch.assert_nothing_is_left()


def engines() -> list[psutil.Process]:
    """The engines that this process has started."""
    return [child for child in psutil.Process().children() if child.name() == "pulumi"]


@pytest.mark.parametrize("verb", ["up", "destroy"])
def test_an_engine_that_is_killed_in_the_middle(batch: Batch, verb: str) -> None:
    operation = "insert" if verb == "up" else "delete"
    batch.site.arm(kind="slow_operation", match=f"{operation} .*opensees-hpc-{batch.name}-", delay_s=3600)
    more = spec(batch.context, batch.name)
    acts: dict[str, Callable[[], object]] = {
        "up": lambda: batch.context.cloud.stacks.up(
            StackSpec(project="analysis", name=batch.name, config={**more.config, f"{NS}:count": "2"}), ignore
        ),
        "destroy": lambda: batch.context.cloud.stacks.destroy("analysis", batch.name, ignore),
    }
    failures: list[HpcError] = []

    def act() -> None:
        try:
            acts[verb]()
        except HpcError as error:
            failures.append(error)

    thread = threading.Thread(target=act)
    thread.start()
    until(lambda: batch.site.ask("GET", "faults").json()["faults"] == [])
    for engine in engines():
        os.killpg(engine.pid, signal.SIGKILL)
    thread.join(60)
    assert not thread.is_alive() and len(failures) == 1
    batch.end()
    batch.assert_nothing_is_left()


def test_a_cloud_that_is_down_for_a_moment(batch: Batch) -> None:
    batch.site.arm(kind="http", match="/compute/v1/", status=503, times=6)
    batch.end()
    batch.assert_nothing_is_left()


def test_what_cannot_be_deleted_is_reported_with_the_command_that_finishes_the_work(batch: Batch) -> None:
    message = "Required 'compute.instances.delete' permission for 'x'"
    refusal = {"kind": "http", "match": f"DELETE .*opensees-hpc-{batch.name}-0", "times": None, "status": 403}
    batch.site.arm(**refusal, reason="forbidden", message=message)
    with pytest.raises(LeftoverError) as caught:
        batch.end()
    assert f"instance opensees-hpc-{batch.name}-0 in europe-west4-a" in caught.value.items
    assert caught.value.remedy == f"invoke cleanup --batch {batch.name} --yes"
    swept = {fact["what"]: fact for fact in batch.site.events("sweep")}
    assert message in swept[f"instance opensees-hpc-{batch.name}-0 in europe-west4-a"]["message"]
    batch.site.disarm()
    batch.end()
    batch.assert_nothing_is_left()


def test_what_cannot_be_read_is_not_taken_for_gone(batch: Batch) -> None:
    message = "Required 'compute.disks.list' permission for 'x'"
    refusal = {"kind": "http", "match": "GET .*/aggregated/disks", "times": None, "status": 403}
    batch.site.arm(**refusal, reason="forbidden", message=message)
    with pytest.raises(LeftoverError) as caught:
        batch.end()
    assert message in caught.value.items[0]
    batch.site.disarm()
    batch.end()
    batch.assert_nothing_is_left()


def test_a_bake_without_a_stack_is_swept_by_label(site: CommandSite, base: None) -> None:
    context = site.context()
    context.cloud.open()
    site.insert_vm("bake-x-builder", bake="bake-x", owner=context.settings.owner)
    ending = end_bake(context, "bake-x")
    assert [removal.item.kind for removal in ending.removals] == [Kind.INSTANCE]
    assert context.cloud.inventory.find(BILLED, names.labels_of_bake("bake-x")).items == ()


def test_no_warning_for_a_vm_that_vanishes_before_it_is_deleted(batch: Batch) -> None:
    name = f"{batch.name}-0"
    resource = f"projects/local-project/zones/europe-west4-a/instances/{name}"
    message = f"The resource '{resource}' was not found"
    batch.site.arm(kind="http", match=f"DELETE .*/instances/{name}", status=404, reason="notFound", message=message)
    batch.end()
    assert batch.site.events("warning") == []
    batch.assert_nothing_is_left()
