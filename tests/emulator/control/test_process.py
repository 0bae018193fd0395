"""The real process, with real processes of instances: start, stop, two at once, kill -9, memory."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from runner.emulator import control
from runner.emulator.control.cloud_log import log_file, read_tracebacks
from runner.emulator.control.endpoint import Endpoint, write_endpoint
from runner.errors import CloudError, UnreachableError
from tests.emulator.conftest import LIMIT_S, spot, until, vm_body

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


def test_a_request_that_is_answered_late_does_not_keep_the_cloud_from_ending(state: Path) -> None:
    """Its client sees the connection cut, and the log has no traceback: that would be a defect."""
    endpoint = control.start(state)
    fault = {"kind": "delay", "match": "GET /compute/", "delay_s": 600.0}
    url = f"{endpoint.url}/_local/faults"
    assert requests.post(url, json=fault, headers=endpoint.headers, timeout=LIMIT_S).status_code == 200
    ends: list[Exception] = []

    def ask() -> None:
        try:
            requests.get(f"{endpoint.url}/compute/v1/projects/x", headers=endpoint.headers, timeout=LIMIT_S)
        except requests.RequestException as error:
            ends.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    until(lambda: not requests.get(url, headers=endpoint.headers, timeout=LIMIT_S).json()["faults"])
    assert control.stop(state)
    asking.join(LIMIT_S)
    assert isinstance(ends[0], requests.ConnectionError)
    assert read_tracebacks(log_file(state)) == []


def test_a_cloud_that_was_killed_but_is_not_gone_yet_is_not_taken_for_one_that_runs(state: Path) -> None:
    """Its sockets close before its process is gone; a start in that moment returns a cloud that answers."""
    first = control.start(state)
    assert control.stop(state)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"]) as dying:
        started = psutil.Process(dying.pid).create_time()
        write_endpoint(state, {**dataclasses.asdict(first), "pid": dying.pid, "started": started})
        assert control.status(state) is not None
        second = control.start(state)
        dying.kill()  # so that a failure is told, and does not wait
    assert second.pid != dying.pid
    assert statuses(second) == {}


def test_a_killed_cloud_is_gone_when_kill_returns_and_the_next_one_has_its_state(state: Path) -> None:
    endpoint = control.start(state)
    insert(endpoint, "stays")
    process = psutil.Process(endpoint.pid)
    control.kill(state)
    assert not process.is_running()
    assert control.status(state) is None
    assert statuses(control.start(state)) == {"stays": "TERMINATED"}


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


def test_two_simultaneous_starts_get_the_same_cloud(state: Path) -> None:
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


OLD_CLOUD = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = sys.argv[1].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextmanager
def old_cloud(state: Path, *statuses: str) -> Iterator[subprocess.Popen[str]]:
    """Yield a stand-in for a cloud of a version without tokens, which has instances with these statuses."""
    told = json.dumps({"instances": [{"name": "vm", "status": status} for status in statuses]})
    command = [sys.executable, "-I", "-S", "-c", OLD_CLOUD, told]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        known = {"url": f"http://127.0.0.1:{process.stdout.readline().strip()}", "provider_port": 1, "ssh_port": 2}
        place = {"project": "local-project", "region": "europe-west4", "zone": "europe-west4-a", "user": "me"}
        state.mkdir()
        started = psutil.Process(process.pid).create_time()
        write_endpoint(state, {"pid": process.pid, "started": started, **known, **place})
        yield process
        process.kill()


def test_a_cloud_that_requires_no_token_is_replaced(state: Path) -> None:
    with old_cloud(state, "TERMINATED") as process:
        endpoint = control.start(state)
        assert process.wait(LIMIT_S) is not None
    assert statuses(endpoint) == {}


def test_such_a_cloud_with_running_instances_is_not_ended(state: Path) -> None:
    with old_cloud(state, "TERMINATED", "RUNNING") as process:
        with pytest.raises(CloudError, match="older version") as caught:
            control.start(state)
        assert "invoke local.stop" in caught.value.remedy
        assert process.poll() is None
        assert control.stop(state)


def test_failure_to_start_shows_the_log(state: Path) -> None:
    with pytest.raises(UnreachableError, match="invalid choice"):
        control.start(state, options=["--region", "mars"])


def test_reset_leaves_nothing(state: Path) -> None:
    endpoint = control.start(state)
    insert(endpoint, "vm")
    control.reset(state)
    assert not state.exists()
    assert not endpoint.is_alive()


def test_four_idle_vms_are_small_and_all_processes_end_with_a_kill(state: Path) -> None:
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
