"""The steps of a batch, and waiting for one of them from outside: its journal is followed as it grows."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from runner.model.journal_record import Record, decode_records

LOOK_EVERY_S = 0.003


class Step(Enum):
    """The last record of the journal before a fault is injected; in the order of a batch.

    UP_RUNNING is between two records: the cloud makes a VM that was intended, and the journal does not say yet that it is there.
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
        """Whether a journal has come so far; ``jobs``: how many the batch has."""
        if self is Step.LAST_JOB_ENDED:
            return len({record.text("job") for record in records if _is_job(record, "succeeded")}) == jobs
        return any(self._is_told_by(record) for record in records)

    def _is_told_by(self, record: Record) -> bool:
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
    journal: Path, step: Step, *, jobs: int, goes_on: Callable[[], bool], makes_vm: Callable[[], bool] = lambda: False
) -> bool:
    """Wait until the record of a step is on the disk; False if ``goes_on`` became false before that.

    ``makes_vm``: whether the cloud is making a VM now, which is asked where no record says it.
    """
    while True:
        is_last_look = not goes_on()
        if step.is_reached(read_records(journal), jobs=jobs) and (step is not Step.UP_RUNNING or makes_vm()):
            return True
        if is_last_look:
            return False
        time.sleep(LOOK_EVERY_S)


def read_records(journal: Path) -> tuple[Record, ...]:
    """Return the whole records so far. A journal of a drill has a few kB, so it is simply read again."""
    try:
        content = journal.read_bytes()
    except FileNotFoundError:
        return ()
    return decode_records(content[: content.rfind(b"\n") + 1])[0]
