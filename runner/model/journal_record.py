"""One line of a journal: a fact with its time, as JSON. Pure; what a batch's records amount to is in ``journal_state``.

A journal is read by older and newer versions than the one that wrote it: a record of an unknown kind is kept as it
is. A line that is incomplete (power cut, full disk) is reported and skipped; nothing is ever inferred from a part of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

FORMAT = 1
RESERVED = frozenset({"record", "at"})


@dataclass(frozen=True, kw_only=True)
class Record:
    """``kind``: begin, owner, intend, created, gone, failed, job, plan, detached, end… or one that this version does not know."""

    kind: str
    at: datetime
    facts: Mapping[str, Any] = field(default_factory=dict)

    def text(self, key: str) -> str:
        """Return a fact as text; empty if it is not there or not a text."""
        value = self.facts.get(key, "")
        return value if isinstance(value, str) else ""


def encode_record(record: Record) -> bytes:
    """Return the record as one line of ASCII with its newline.

    Raises:
        ValueError: a fact has a name that is reserved in every record.
    """
    if taken := RESERVED & set(record.facts):
        raise ValueError(f"facts of a record cannot be called {', '.join(sorted(taken))}")
    at = record.at.astimezone(UTC).isoformat(timespec="microseconds")
    values = {"record": record.kind, "at": at, **record.facts}
    return json.dumps(values, default=str, separators=(",", ":")).encode("ascii") + b"\n"


def decode_records(content: bytes) -> tuple[tuple[Record, ...], tuple[str, ...]]:
    """Return the records of a journal, and a sentence for each line that cannot be read. Never raises."""
    records: list[Record] = []
    troubles: list[str] = []
    lines = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        record = _decode(line)
        if record is not None:
            records.append(record)
        elif line:
            is_last = not any(lines[number:])
            what = "was cut off while it was being written" if is_last else "cannot be read"
            troubles.append(f"line {number} {what}; it is skipped")
    return tuple(records), tuple(troubles)


def is_end(line: bytes) -> bool:
    """Return whether a journal with this last line has ended, without reading the rest of it."""
    record = _decode(line)
    return record is not None and record.kind == "end"


def _decode(line: bytes) -> Record | None:
    try:
        values = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    kind, at = values.pop("record", None), parse_time(values.pop("at", None))
    return Record(kind=kind, at=at, facts=values) if isinstance(kind, str) and at is not None else None


def parse_time(value: object) -> datetime | None:
    """Read an ISO time with its zone, in UTC; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
        return at.astimezone(UTC) if at.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
