"""The real process: start, stop, two at once, kill -9, memory; with real machines."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from runner.emulator import control
from runner.emulator.endpoint import Endpoint, write_endpoint
from runner.errors import UnreachableError

from .conftest import LIMIT_S, spot, until, vm_body

MOST_RSS_BYTES = 250 * 1024 * 1024


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "cloud"
    yield folder
    control.stop(folder)


def insert(endpoint: Endpoint, name: str, **changes: Any) -> None:
    zone = f"{endpoint.url}/compute/v1/projects/{endpoint.project}/zones/{endpoint.zone}"
    answer = requests.post(
        f"{zone}/instances", json=vm_body(name, **changes), headers=endpoint.headers, timeout=LIMIT_S
    )
    assert answer.status_code == 200, answer.text
    wait = requests.post(
        f"{zone}/operations/{answer.json()['name']}/wait", headers=endpoint.headers, timeout=LIMIT_S
    ).json()
    assert (wait["status"], wait.get("error")) == ("DONE", None)


def statuses(endpoint: Endpoint) -> dict[str, str]:
    answer = requests.get(f"{endpoint.url}/_local/status", headers=endpoint.headers, timeout=LIMIT_S).json()
    return {instance["name"]: instance["status"] for instance in answer["instances"]}


def test_start_stop_start_again(state: Path) -> None:
    assert control.status(state) is None
    first = control.start(state)
    assert control.start(state) == first == control.status(state)
    assert requests.get(f"{first.url}/_local/status", headers=first.headers, timeout=LIMIT_S).json()["pid"] == first.pid
    assert control.stop(state)
    assert control.status(state) is None
    assert not control.stop(state)
    second = control.start(state)
    assert (second.pid != first.pid, second.ssh_port) == (True, first.ssh_port)


def test_two_that_start_at_once_get_the_same(state: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(control.start, [state] * 4))
    assert len({endpoint.pid for endpoint in found}) == 1


def test_options_and_stop_through_the_admin_api(state: Path) -> None:
    endpoint = control.start(state, options=["--project", "mine", "--region", "us-east1", "--user", "me@x.org"])
    assert (endpoint.project, endpoint.zone, endpoint.user) == ("mine", "us-east1-b", "me@x.org")
    requests.post(f"{endpoint.url}/_local/stop", headers=endpoint.headers, timeout=LIMIT_S)
    until(lambda: not endpoint.is_alive())
    assert control.status(state) is None


def test_number_of_another_process_is_not_taken_for_ours(state: Path) -> None:
    endpoint = control.start(state)
    control.stop(state)
    write_endpoint(state, {**vars(endpoint), "pid": psutil.Process().pid})
    assert control.status(state) is None
    assert not control.stop(state)


def test_failure_to_start_shows_the_log(state: Path) -> None:
    with pytest.raises(UnreachableError, match="invalid choice"):
        control.start(state, options=["--region", "mars"])


def test_reset_leaves_nothing(state: Path) -> None:
    endpoint = control.start(state)
    insert(endpoint, "vm")
    control.reset(state)
    assert not state.exists()
    assert not endpoint.is_alive()


def test_four_idle_machines_are_small_and_all_processes_end_with_a_kill(state: Path) -> None:
    endpoint = control.start(state)
    for number in range(4):
        insert(endpoint, f"vm-{number}", scheduling=spot(instanceTerminationAction="DELETE") if number else spot())
    process = psutil.Process(endpoint.pid)
    family = [process, *process.children(recursive=True)]
    assert sum(member.memory_info().rss for member in family) < MOST_RSS_BYTES
    assert len(family) >= 6
    process.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=LIMIT_S)
    assert alive == []
    again = control.start(state)
    assert statuses(again) == {"vm-0": "TERMINATED"}
