"""Defects inside the embedded cloud are noticed: by the reader of its log, by `invoke local.status`, by tests and drills."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from runner.emulator import control
from runner.emulator.control.cloud_log import find_logs, log_file, read_tracebacks
from tests.conftest import CloudLogs
from tests.emulator.conftest import LIMIT_S, vm_body

ROOT = Path(__file__).resolve().parents[3]
LOG = """2026-11-27 10:00:00,123 INFO runner.emulator: starting
2026-11-27 10:00:01,123 ERROR runner.emulator.compute.operation_records: operation failed: insert x
Traceback (most recent call last):
  File "a.py", line 1, in f
ValueError: first

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
FileNotFoundError: second
2026-11-27 10:00:02,123 WARNING runner.emulator: words
ERROR:    Exception in ASGI application
Traceback (most recent call last):
KeyError: third
Exception in thread provider_1:
Traceback (most recent call last):
RuntimeError: fourth
"""


def test_each_record_with_a_traceback_is_one(tmp_path: Path, cloud_logs: CloudLogs) -> None:
    log = log_file(tmp_path / "home/local/cloud")
    assert read_tracebacks(log) == []
    log.parent.mkdir(parents=True)
    log.write_text(LOG)
    assert list(find_logs(tmp_path)) == [log]
    found = read_tracebacks(log)
    assert [text.splitlines()[-1].split(": ")[1] for text in found] == ["second", "third", "fourth"]
    assert found[0].startswith("2026-11-27 10:00:01,123 ERROR runner.emulator.compute.operation_records")
    with pytest.raises(AssertionError, match="fourth"):
        cloud_logs.check(tmp_path)


def test_a_defect_of_a_running_cloud_fails_the_test_and_is_reported_by_its_status(
    tmp_path: Path, cloud_logs: CloudLogs
) -> None:
    """Remove the folder of an image without the cloud's knowledge: no other way to cause a defect is known."""
    state = tmp_path / "local/cloud"
    endpoint = control.start(state)
    try:
        zone = f"{endpoint.url}/compute/v1/projects/{endpoint.project}/zones/{endpoint.zone}"

        def insert(name: str) -> str:
            owner = endpoint.headers
            record = requests.post(f"{zone}/instances", json=vm_body(name), headers=owner, timeout=LIMIT_S).json()
            wait = f"{zone}/operations/{record['name']}/wait"
            done = requests.post(wait, headers=owner, timeout=LIMIT_S).json()
            return str(done.get("error", {}).get("errors", [{}])[0].get("code", ""))

        assert (insert("vm"), read_tracebacks(log_file(state))) == ("", [])
        (made,) = (state / "images").iterdir()
        shutil.rmtree(made / "root")
        (made / "root").write_text("no folder")
        assert insert("other") == "INTERNAL_ERROR"
        environment = dict(os.environ) | {"OPENSEES_HPC_HOME": str(tmp_path), "OPENSEES_HPC_TARGET": "local"}
        told = status(environment, "--json")
        assert json.loads(told)["tracebacks"] == len(read_tracebacks(log_file(state))) == 1
        assert json.loads(told)["log"] == str(log_file(state))
        assert f"tracebacks in its log, each a bug in opensees-hpc: 1; its log: {log_file(state)}" in status(
            environment
        )
    finally:
        control.stop(state)
    with pytest.raises(AssertionError, match="NotADirectoryError"):
        cloud_logs.check(tmp_path)


def status(environment: dict[str, str], *options: str) -> str:
    """Return what `invoke local.status` prints."""
    command = [sys.executable, "-m", "invoke", "local.status", *options]
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout
