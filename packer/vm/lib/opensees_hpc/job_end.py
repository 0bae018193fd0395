"""The end of a job as the job manager recorded it; the format is in ``runner/hardware/remote/common.sh``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from .shared_names import END_FILE

LOST = "lost"
_TIME = re.compile(r"(\d+)m([0-9.,]+)s")


def read_end(folder: Path) -> dict[str, Any] | None:
    """Return ``how`` (ended, cancelled, timeout, lost), ``exit_code`` (None if unknown), ``wall_s`` and ``core_s``; None if no end is recorded."""
    try:
        how, code, _, began, ended, *used = (folder / END_FILE).read_text().split()
        return {
            "how": how,
            "exit_code": None if code == "-" else int(code),
            "wall_s": round(max(0.0, float(ended) - float(began)), 3),
            "core_s": _add_times(used),
        }
    except (OSError, ValueError):
        return None


def _add_times(used: list[str]) -> float | None:
    """Return the sum of times as the shell's ``times`` prints them (1m2.345s)."""
    found = [_TIME.fullmatch(text) for text in used]
    seconds = [int(match[1]) * 60 + float(match[2].replace(",", ".")) for match in found if match]
    return round(sum(seconds), 3) if seconds and len(seconds) == len(used) else None
