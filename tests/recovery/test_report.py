"""Abandoned batches are reported at the start of a command; without one no cloud is asked."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from runner.context import Context
from runner.journal.owner import describe_this_process
from runner.model.events import Event, Listener
from runner.model.journal_state import JournalState
from runner.recovery.report import report_abandoned_batches
from tests.support.command_site import CommandSite

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT_S = 60


def leave(site: CommandSite, name: str, *, kind: Any = "run", zone: str = "", **facts: Any) -> None:
    """A journal whose client has gone; with a VM that it intended if a zone is given."""
    given = {"target": "local", "project": "local-project"} | facts
    with site.context().journals.begin(name, kind, **given) as state:
        if zone:
            state.intend("instance", f"{name}-0", zone, machine_type="c2-standard-4")


def rewrite_owner(site: CommandSite, name: str) -> None:
    """As if the folder had been copied to this computer from another one."""
    file = site.context().journals.folder / f"{name}.jsonl"
    file.write_text(file.read_text().replace(describe_this_process().machine_id, "another-computer"))


def read(context: Context, name: str) -> JournalState:
    journal = context.journals.read(name)
    assert journal is not None
    return journal


def test_an_abandoned_batch_is_reported_with_its_cost_and_how_to_continue(site: CommandSite) -> None:
    zone = site.insert_vm("lost-0", batch="lost")
    site.insert_vm("unrelated-0", batch="unrelated")
    leave(site, "lost", zone=zone)
    (abandoned,) = report_abandoned_batches(site.context())
    assert (abandoned.journal.name, abandoned.is_from_here, abandoned.usd_per_hour, abandoned.trouble) == (
        "lost",
        True,
        0.0,
        "",
    )
    (event,) = site.events("abandoned")
    (vm,) = event["instances"]
    assert (vm["name"], vm["zone"], vm["status"]) == ("lost-0", zone, "RUNNING")
    assert (vm["machine_type"], vm["expired"]) == ("c2-standard-4", "")
    assert event["offers"] == ["invoke cleanup --batch lost"], "nothing in the bucket says what the batch was"
    assert f"process {describe_this_process().pid}" in event["owner"]
    assert report_abandoned_batches(site.context(), besides=["lost"]) == []
    for name in ("lost-0", "unrelated-0"):
        site.delete_vm(name)
    (abandoned,) = report_abandoned_batches(site.context())
    assert abandoned.instances == []
    with site.context().journals.resume("lost") as state:
        state.end("cleaned up")
    assert report_abandoned_batches(site.context()) == []


def test_a_batch_with_a_living_client_is_not_reported(fresh_site: CommandSite) -> None:
    with fresh_site.context().journals.begin("alive", "run") as state:
        state.intend("instance", "alive-0", "europe-west4-a")
        assert report_abandoned_batches(fresh_site.context()) == []
    assert not fresh_site.is_cloud_running


def test_a_detached_batch_is_reported_as_such(site: CommandSite) -> None:
    leave(site, "alone", zone="europe-west4-a")
    with site.context().journals.resume("alone") as state:
        state.record("detached")
    (abandoned,) = report_abandoned_batches(site.context())
    assert abandoned.as_json()["is_detached"]
    with site.context().journals.resume("alone") as state:
        state.end("done")


def test_a_batch_abandoned_before_it_created_anything_is_just_ended(fresh_site: CommandSite) -> None:
    leave(fresh_site, "early")
    assert report_abandoned_batches(fresh_site.context()) == []
    assert read(fresh_site.context(), "early").has_ended
    assert not fresh_site.is_cloud_running


def test_without_an_open_journal_nothing_is_started(fresh_site: CommandSite) -> None:
    assert report_abandoned_batches(fresh_site.context()) == []
    assert not fresh_site.is_cloud_running
    assert not fresh_site.home.exists()


def test_many_ended_journals_are_not_read_whole(fresh_site: CommandSite) -> None:
    """The work for a journal that has ended does not grow with its length: nothing but its end is looked at."""
    journal = fresh_site.context().journals
    with journal.begin("b", "run") as state:
        state.end("done")
    path = journal.folder / "b.jsonl"
    path.write_bytes(b"\xff" * 100_000 + b"\n" + path.read_bytes().splitlines(keepends=True)[-1])
    assert report_abandoned_batches(fresh_site.context()) == []


def during_the_destroy(site: CommandSite, act: Callable[[], None]) -> Listener:
    """Act while a bake is cleaned up, and record the events."""

    def hear(event: Event) -> None:
        site.told.append(event)
        if event.kind == "phase" and (event.as_json()["phase"], event.as_json()["state"]) == ("destroy", "started"):
            act()

    return Listener(on_progress=hear)


def test_an_abandoned_bake_is_cleaned_up_at_once(site: CommandSite) -> None:
    name = "bake-20261122-110000"
    zone = site.insert_vm(f"{name}-builder", bake=name, owner="you")
    leave(site, name, kind="bake", zone=zone)
    owned: list[bool] = []
    listener = during_the_destroy(site, lambda: owned.append(read(site.context(), name).is_owner_alive))
    assert report_abandoned_batches(site.context().with_listener(listener)) == []
    assert owned == [True]
    assert [event["state"] for event in site.events("bake_cleanup")] == ["started", "done"]
    assert site.context().cloud.compute.instances({"bake": name}) == []
    assert read(site.context(), name).has_ended
    assert (site.home / "local" / "receipts" / f"{name}.html").exists()


def test_a_bake_that_cannot_be_cleaned_up_is_reported(site: CommandSite) -> None:
    name = "bake-20261122-120000"
    zone = site.insert_vm(f"{name}-builder", bake=name, owner="you")
    leave(site, name, kind="bake", zone=zone)
    site.arm(
        kind="http", match=f"DELETE .*/instances/{name}-builder", status=403, reason="forbidden", message="no", times=9
    )
    (abandoned,) = report_abandoned_batches(site.context())
    assert abandoned.offers == (f"invoke cleanup --bake {name}",)
    warnings = [event["message"] for event in site.events("warning")]
    assert any(f"still there: instance {name}-builder" in message for message in warnings), warnings
    assert not read(site.context(), name).has_ended
    site.disarm()
    assert report_abandoned_batches(site.context()) == []


def test_a_bake_that_another_command_cleans_up_is_left_to_it(site: CommandSite) -> None:
    leave(site, "bake-20261122-130000", kind="bake", zone="europe-west4-a")
    others: list[Any] = []
    listener = during_the_destroy(site, lambda: others.append(report_abandoned_batches(site.context())))
    assert report_abandoned_batches(site.context().with_listener(listener)) == []
    assert others == [[]]


def test_resources_of_another_computer_are_not_touched(site: CommandSite) -> None:
    leave(site, "bake-20261122-140000", kind="bake", zone="europe-west4-a")
    rewrite_owner(site, "bake-20261122-140000")
    (abandoned,) = report_abandoned_batches(site.context())
    assert not abandoned.is_from_here
    report_abandoned_batches(site.context(), besides=["bake-20261122-140000"])
    with site.context().journals.resume("bake-20261122-140000") as state:
        state.end("done")


@pytest.mark.parametrize("is_seen", [True, False])
def test_a_bake_is_cleaned_only_if_its_client_is_known_to_be_gone(site: CommandSite, is_seen: bool) -> None:
    """The state folder was copied, and the client that wrote it lives here, or may live in another container."""
    name = f"bake-20261122-15000{is_seen:d}"
    leave(site, name, kind="bake", zone="europe-west4-a")
    file = site.context().journals.folder / f"{name}.jsonl"
    first, *rest = map(json.loads, file.read_text().splitlines())
    with subprocess.Popen(["sleep", "600"]) as living:
        here = {"pid": living.pid, "process_started": psutil.Process(living.pid).create_time()}
        first["owner"] |= here if is_seen else {"pid": 2**22 + 1, "pid_namespace": "pid:[1]"}
        first["owner"]["lock"] = "of another folder"
        file.write_text("".join(json.dumps(line) + "\n" for line in (first, *rest)))
        found = report_abandoned_batches(site.context())
        living.kill()
    assert [abandoned.is_from_here for abandoned in found] == ([] if is_seen else [False])
    with site.context().journals.resume(name) as state:
        state.end("done")


def test_a_cloud_that_refuses_leaves_the_price_unknown(site: CommandSite) -> None:
    leave(site, "unpriced", zone="europe-west4-a")
    site.arm(kind="http", match="GET /compute/.*aggregated/instances", status=403, reason="forbidden", message="no")
    (abandoned,) = report_abandoned_batches(site.context())
    assert (abandoned.instances, abandoned.usd_per_hour) == (None, None)
    assert "forbidden" in abandoned.trouble
    with site.context().journals.resume("unpriced") as state:
        state.end("done")


def test_another_project_is_not_guessed_about(site: CommandSite) -> None:
    leave(site, "elsewhere", zone="europe-west4-a", project="another-project")
    (abandoned,) = report_abandoned_batches(site.context())
    assert (abandoned.instances, "another-project" in abandoned.trouble) == (None, True)
    with site.context().journals.resume("elsewhere") as state:
        state.end("done")


@pytest.mark.parametrize("name", ["asyncssh", "pulumi", "google.cloud.storage", "psutil", "runner.recovery.abandoned"])
def test_a_command_with_nothing_to_report_loads_nothing_heavy(name: str, tmp_path: Path) -> None:
    program = """
import sys
from runner import wiring
from runner.recovery.report import report_abandoned_batches
context = wiring.make_context({"OPENSEES_HPC_HOME": sys.argv[1]})
assert report_abandoned_batches(context) == []
assert sys.argv[2] not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path), name], cwd=ROOT, check=True, timeout=LIMIT_S)
