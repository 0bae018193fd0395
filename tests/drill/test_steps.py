"""Steps of a journal, followed from outside."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runner.drill.steps import Step, wait_for_step
from runner.model.journal_record import Record, encode_record

AT = datetime(2026, 1, 1, tzinfo=UTC)
LIMIT_S = 60.0
STORY: list[tuple[Step, str, dict[str, Any]]] = [
    (Step.BEGIN, "begin", {}),
    (Step.PLAN, "plan", {}),
    (Step.INTEND_STACK, "intend", {"kind": "stack", "name": "b"}),
    (Step.INTEND_VM, "intend", {"kind": "instance", "name": "b-0"}),
    (Step.CREATED_VM, "created", {"kind": "instance", "name": "b-0"}),
    (Step.JOB_RUNNING, "job", {"job": "j-0", "state": "running"}),
    (Step.JOB_ENDED, "job", {"job": "j-0", "state": "succeeded"}),
    (Step.LAST_JOB_ENDED, "job", {"job": "j-1", "state": "succeeded"}),
    (Step.GONE, "gone", {"kind": "instance", "name": "b-0"}),
    (Step.END, "end", {"outcome": "completed"}),
]
LINES = [encode_record(Record(kind=kind, at=AT, facts=facts)) for _, kind, facts in STORY]


def test_the_story_has_every_step_in_order() -> None:
    assert [step for step, _, _ in STORY] == [step for step in Step if step is not Step.UP_RUNNING]


def test_an_up_runs_when_a_vm_is_intended_and_the_cloud_makes_one(tmp_path: Path) -> None:
    journal, made = tmp_path / "b.jsonl", [step for step, _, _ in STORY].index(Step.INTEND_VM) + 1
    for lines, makes_vm in ((made - 1, True), (made, False), (made, True)):
        journal.write_bytes(b"".join(LINES[:lines]))
        is_reached = wait_for_step(
            journal, Step.UP_RUNNING, jobs=2, is_running=lambda: False, creates_vm=partial(bool, makes_vm)
        )
        assert is_reached is (lines == made and makes_vm)


@pytest.mark.parametrize("index", range(len(STORY)), ids=lambda index: STORY[index][0].value)
def test_a_step_is_reached_with_its_record_and_not_before(tmp_path: Path, index: int) -> None:
    journal, step = tmp_path / "b.jsonl", STORY[index][0]
    journal.write_bytes(b"".join(LINES[:index]) + LINES[index][:-1])
    assert not wait_for_step(journal, step, jobs=2, is_running=lambda: False, creates_vm=lambda: False), (
        "the record is not whole"
    )
    journal.write_bytes(b"".join(LINES[: index + 1]))
    assert wait_for_step(journal, step, jobs=2, is_running=lambda: False, creates_vm=lambda: False)


def test_waiting_ends_with_the_record(tmp_path: Path) -> None:
    journal = tmp_path / "b.jsonl"
    answers: list[bool] = []
    waiting = threading.Thread(
        target=lambda: answers.append(
            wait_for_step(journal, Step.PLAN, jobs=2, is_running=lambda: True, creates_vm=lambda: False)
        ),
        daemon=True,
    )
    waiting.start()
    journal.write_bytes(LINES[0] + LINES[1])
    waiting.join(LIMIT_S)
    assert answers == [True]


def test_without_a_journal_the_end_of_the_client_ends_the_waiting(tmp_path: Path) -> None:
    assert not wait_for_step(
        tmp_path / "none.jsonl", Step.BEGIN, jobs=2, is_running=lambda: False, creates_vm=lambda: True
    )
