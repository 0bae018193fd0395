"""Steps of a scenario are carried out at their time or event, also after a restart; acts are done at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from runner.emulator.faults.registry import ACTS, KINDS
from runner.emulator.state.settings import CloudSettings
from tests.emulator.conftest import CloudUnderTest, until, vm_body

FAULTS_DOCUMENT = Path(__file__).parents[3] / "docs" / "faults.md"
ZONES_FAIL = {"kind": "http", "match": "/zones$"}


def play(cloud: CloudUnderTest, *steps: dict[str, Any]) -> None:
    answer = cloud.ask("POST", "/_local/scenario", {"scenario": list(steps)})
    assert answer.status_code == 200, answer.text


def zones_status(cloud: CloudUnderTest) -> int:
    return cloud.ask("GET", f"{cloud.project}/zones").status_code


def test_without_a_time_it_comes_at_once(cloud: CloudUnderTest) -> None:
    play(cloud, {"fault": ZONES_FAIL})
    assert [zones_status(cloud), zones_status(cloud)] == [503, 200]


def test_after_seconds_of_the_clouds_clock(cloud: CloudUnderTest) -> None:
    play(cloud, {"at": 600, "fault": ZONES_FAIL})
    assert zones_status(cloud) == 200
    assert len(cloud.get("/_local/scenario")["scenario"]) == 1
    cloud.advance(601)
    until(lambda: not cloud.get("/_local/scenario")["scenario"])
    assert zones_status(cloud) == 503


def test_a_fault_hits_the_request_that_triggers_it(cloud: CloudUnderTest) -> None:
    play(cloud, {"at": {"event": "request GET .*/zones$", "count": 3}, "fault": ZONES_FAIL})
    assert [zones_status(cloud) for _ in range(4)] == [200, 200, 503, 200]


def test_when_an_instance_runs_and_some_time_after_it(cloud: CloudUnderTest) -> None:
    fault = {"kind": "preempt", "match": "instances/vm$", "notice_s": 3}
    play(cloud, {"at": {"event": "instance .*/vm RUNNING", "after_s": 100}, "fault": fault})
    cloud.insert_vm("vm")
    assert cloud.status_of("vm") == "RUNNING"
    cloud.advance(101)
    until(lambda: cloud.status_of("vm") == "TERMINATED")
    assert [notice for _, notice in cloud.hypervisor.notices] == [3.0]


def test_when_an_answer_goes_out(cloud: CloudUnderTest) -> None:
    play(cloud, {"at": "answer 200 POST .*/instances$", "fault": {"kind": "quota", "form": "http", "times": None}})
    cloud.insert_vm("one")
    assert cloud.refused("POST", f"{cloud.zone}/instances", vm_body("two"))[1] == "quotaExceeded"


def test_when_an_operation_is_done(cloud: CloudUnderTest) -> None:
    play(cloud, {"at": "operation done insert .*instances/vm$", "fault": ZONES_FAIL})
    assert zones_status(cloud) == 200
    cloud.insert_vm("vm")
    assert zones_status(cloud) == 503


def test_steps_survive_a_restart(settings: CloudSettings) -> None:
    first = CloudUnderTest(settings).start()
    play(first, {"at": {"event": "request GET .*/zones$", "count": 2}, "fault": ZONES_FAIL})
    assert zones_status(first) == 200
    first.stop()
    second = CloudUnderTest(settings).start()
    try:
        assert [zones_status(second), zones_status(second)] == [503, 200]
    finally:
        second.stop()


def test_steps_are_forgotten_by_order_and_by_reset(cloud: CloudUnderTest) -> None:
    step = {"at": "never", "fault": ZONES_FAIL}
    play(cloud, step, step)
    assert cloud.ask("DELETE", "/_local/scenario").json() == {"removed": 2}
    play(cloud, step)
    assert cloud.ask("POST", "/_local/reset").status_code == 200
    assert cloud.get("/_local/scenario") == {"scenario": []}


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("x", "step 1: a step is a mapping"),
        ({"fault": {"kind": "odd"}}, "step 1: unknown kind of fault 'odd'"),
        ({"fault": {"kind": "http", "odd": 1}}, "has no field odd"),
        ({"when": 1, "fault": ZONES_FAIL}, "unknown when"),
        ({"at": "(", "fault": ZONES_FAIL}, "at is not a regular expression"),
        ({"at": {"event": "x", "odd": 1}, "fault": ZONES_FAIL}, "at: seconds, an event"),
        ({"at": {"event": "x", "count": "many"}, "fault": ZONES_FAIL}, "step 1: invalid literal"),
    ],
)
def test_a_wrong_step_is_reported_and_none_is_added(cloud: CloudUnderTest, step: Any, told: str) -> None:
    status, _, message = cloud.refused("POST", "/_local/scenario", {"scenario": [step]})
    assert status == 400
    assert told in message
    assert cloud.get("/_local/scenario") == {"scenario": []}


def test_the_clock_jumps_both_ways(cloud: CloudUnderTest) -> None:
    def now() -> float:
        return float(cloud.ask("POST", "/_local/clock", {"advance_s": 0}).json()["now"])

    begun = now()
    cloud.fault(kind="clock", jump_s=3600)
    assert 3600 <= now() - begun < 3700
    cloud.fault(kind="clock", jump_s=-7200)
    assert -3600 <= now() - begun < -3500


def test_a_limit_that_the_jump_has_passed_is_obeyed(cloud: CloudUnderTest) -> None:
    scheduling = {
        "provisioningModel": "SPOT",
        "preemptible": True,
        "automaticRestart": False,
        "instanceTerminationAction": "DELETE",
        "maxRunDuration": {"seconds": "600"},
    }
    cloud.insert_vm("vm", scheduling=scheduling)
    cloud.fault(kind="clock", jump_s=601)
    until(lambda: cloud.status_of("vm") == "")


def test_preempt_takes_running_spot_vms_only(cloud: CloudUnderTest) -> None:
    standard = {"provisioningModel": "STANDARD", "automaticRestart": False}
    cloud.insert_vm("vm-0")
    cloud.insert_vm("vm-1", scheduling=standard)
    cloud.fault(kind="preempt", match="instances/vm-", times=5, notice_s=0)
    until(lambda: cloud.status_of("vm-0") == "TERMINATED")
    assert cloud.status_of("vm-1") == "RUNNING"


def test_kill_ends_the_process(cloud: CloudUnderTest) -> None:
    asked: list[str] = []
    cloud.cloud.kill = lambda: asked.append("kill")
    play(cloud, {"at": "request GET .*/zones$", "fault": {"kind": "kill"}})
    assert asked == []
    zones_status(cloud)
    assert asked == ["kill"]


def test_an_http_fault_has_a_retry_after_header(cloud: CloudUnderTest) -> None:
    cloud.fault(kind="http", match="/zones", status=429, reason="rateLimitExceeded", retry_after_s=7)
    answer = cloud.ask("GET", f"{cloud.project}/zones")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")


def test_an_upload_is_cut_and_leaves_nothing(cloud: CloudUnderTest) -> None:
    cloud.ask("POST", "/storage/v1/b", {"name": "results"}, params={"project": "local-project"})
    cloud.fault(kind="drop_upload", match="/upload/", after_bytes=100_000)
    url = f"{cloud.url}/upload/storage/v1/b/results/o?uploadType=media&name=x"
    with pytest.raises(requests.ConnectionError):
        requests.post(url, data=iter([b"x" * 65536] * 16), headers=cloud.owner, timeout=60)
    assert cloud.refused("GET", "/storage/v1/b/results/o/x")[0] == 404
    assert cloud.session.post(url, data=b"whole").status_code == 200


def test_an_upload_is_cut_where_its_answer_was_to_be_cut_too(cloud: CloudUnderTest) -> None:
    cloud.ask("POST", "/storage/v1/b", {"name": "results"}, params={"project": "local-project"})
    cloud.fault(kind="drop", match="/upload/", after_bytes=10)
    cloud.fault(kind="drop_upload", match="/upload/", after_bytes=100_000)
    url = f"{cloud.url}/upload/storage/v1/b/results/o?uploadType=media&name=x"
    with pytest.raises(requests.ConnectionError):
        requests.post(url, data=iter([b"x" * 65536] * 16), headers=cloud.owner, timeout=60)
    assert cloud.refused("GET", "/storage/v1/b/results/o/x")[0] == 404


def test_a_vm_hangs_at_once_or_when_it_boots(cloud: CloudUnderTest) -> None:
    cloud.fault(kind="hang", match="instances/late$")
    cloud.insert_vm("early")
    cloud.fault(kind="hang", match="instances/early$")
    cloud.insert_vm("late")
    hung = [key.rsplit("/", 1)[1] for name, key in cloud.hypervisor.guest_faults if name == "hang"]
    assert hung == ["early", "late"]


def test_the_document_has_every_fault_and_its_example_is_valid(cloud: CloudUnderTest) -> None:
    document = FAULTS_DOCUMENT.read_text(encoding="utf-8")
    assert all(f"| `{kind}` |" in document for kind in {**KINDS, **ACTS})
    (example,) = re.findall(r"```yaml\n(.*?)```", document, re.DOTALL)
    play(cloud, *yaml.safe_load(example))
    assert len(cloud.get("/_local/scenario")["scenario"]) == 3
