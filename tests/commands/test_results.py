"""``invoke results``: lists by batch what is in the bucket, and downloads one batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.commands.results import execute, list_lines, list_sets
from runner.errors import InputError
from runner.model import names
from tests.support.bucket import FILES, Batch

ROOT = Path(__file__).resolve().parents[2]


def test_sets_are_listed_by_batch(batch: Batch) -> None:
    batch.push("a")
    batch.push("a", attempt=2)
    batch.push("b", parts="a")
    batch.store.put_control(batch.name, "lease.json", b"{}")
    values = list_sets(batch.context)
    (mine,) = [item for item in values["batches"] if item["name"] == batch.name]
    assert [(item["job"], item["attempt"], item["committed"]) for item in mine["sets"]] == [
        ("a", 1, True),
        ("a", 2, True),
        ("b", 1, False),
    ]
    assert all(item["name"] != names.CONTROL_PREFIX for item in values["batches"])
    assert any("2 result sets, 1 not complete" in line for line in list_lines(values))


def test_an_empty_bucket_is_reported_as_empty() -> None:
    assert list_lines({"bucket": "b", "batches": []}) == ["no results in the bucket b"]


def test_a_batch_is_downloaded_and_repeating_it_is_no_error(batch: Batch) -> None:
    batch.push("a")
    for _ in range(2):
        summary = execute(batch.context, batch=batch.name)
        assert (summary.exit_code, [results["job"] for results in summary.as_json()["downloaded"]]) == (0, ["a"])
    assert batch.at_home() == {"a": dict(FILES)}
    assert batch.objects() == []


def test_a_batch_that_is_not_over_keeps_its_copies(batch: Batch) -> None:
    batch.push("a")
    batch.store.put_control(batch.name, "lease.json", b"{}")
    for _ in range(2):
        assert execute(batch.context, batch=batch.name).exit_code == 0
    assert batch.at_home() == {"a": dict(FILES)}
    assert len(batch.objects()) == 3


def test_incomplete_and_corrupt_results_are_reported(batch: Batch) -> None:
    batch.push("a", parts="a")
    batch.push("b")
    batch.put("b", names.MANIFEST, b"{}")
    summary = execute(batch.context, batch=batch.name)
    assert summary.exit_code == 1
    assert [line.split(":")[0] for line in summary.lines] == [
        f"CORRUPT, kept in the bucket as {batch.name}/b/attempt-1/",
        "push not complete",
        f"batch {batch.name}",
    ]
    assert len(batch.objects()) == 4


@pytest.mark.parametrize("name", ["no-such-batch", "../x", "Up", ""])
def test_an_unknown_batch_is_reported(batch: Batch, name: str) -> None:
    with pytest.raises(InputError):
        execute(batch.context, batch=name)
    assert not batch.context.results_folder.exists()


def test_as_users_type_it(batch: Batch) -> None:
    batch.push("a")
    words = ("results", "--batch", batch.name, "--json", "--results", str(batch.context.results_folder))
    environment = {**os.environ, "OPENSEES_HPC_HOME": str(batch.site.home), "OPENSEES_HPC_TARGET": "local"}
    command = [sys.executable, "-m", "invoke", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["results", "summary"], (done.stdout, done.stderr)
    assert (done.returncode, events[-1]["exit_code"]) == (0, 0)
    assert batch.at_home() == {"a": dict(FILES)}
