"""The steps of a batch, and waiting for one of them from outside, by following its journal."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from runner.model.journal_record import Record, decode_records

LOOK_EVERY_S = 0.003


class Step(Enum):
    """The last record of the journal before a fault is injected; in the order of a batch.

    UP_RUNNING is between two records: the cloud is creating an intended VM, and the journal has no record of its creation yet.
    """

    BEGIN = "begin"
    PLAN = "plan"
    INTEND_STACK = "intend-stack"
    INTEND_VM = "intend-vm"
    UP_RUNNING = "up-running"
    CREATED_VM = "created-vm"
    JOB_RUNNING = "job-running"
    JOB_ENDED = "job-ended"
    LAST_JOB_ENDED = "last-job-ended"
    GONE = "gone"
    END = "end"

    def is_reached(self, records: tuple[Record, ...], *, jobs: int) -> bool:
        """Return whether a journal has reached this step; ``jobs``: how many the batch has."""
        if self is Step.LAST_JOB_ENDED:
            return len({record.text("job") for record in records if _is_job(record, "succeeded")}) == jobs
        return any(self._is_recorded_by(record) for record in records)

    def _is_recorded_by(self, record: Record) -> bool:
        match self:
            case Step.INTEND_STACK | Step.INTEND_VM | Step.UP_RUNNING:
                kind = "stack" if self is Step.INTEND_STACK else "instance"
                return record.kind == "intend" and record.text("kind") == kind
            case Step.CREATED_VM:
                return record.kind == "created" and record.text("kind") == "instance"
            case Step.JOB_RUNNING:
                return _is_job(record, "running")
            case Step.JOB_ENDED:
                return _is_job(record, "succeeded")
            case _:
                return record.kind == str(self.value)


def _is_job(record: Record, state: str) -> bool:
    return record.kind == "job" and record.text("state") == state


def wait_for_step(
    journal: Path,
    step: Step,
    *,
    jobs: int,
    is_running: Callable[[], bool],
    creates_vm: Callable[[], bool] = lambda: False,
) -> bool:
    """Wait until the record of a step is on the disk; return False if ``is_running`` became false before that.

    ``creates_vm``: whether the cloud is creating a VM now; called for the step that has no record.
    """
    while True:
        is_last_look = not is_running()
        if step.is_reached(read_records(journal), jobs=jobs) and (step is not Step.UP_RUNNING or creates_vm()):
            return True
        if is_last_look:
            return False
        time.sleep(LOOK_EVERY_S)


def read_records(journal: Path) -> tuple[Record, ...]:
    """Return the complete records so far. A journal of a drill has a few kB, so the whole file is read each time."""
    try:
        content = journal.read_bytes()
    except FileNotFoundError:
        return ()
    return decode_records(content[: content.rfind(b"\n") + 1])[0]
