"""The output of serial port 1 of each instance: a growing file whose last mebibyte can be read."""

from __future__ import annotations

from pathlib import Path

from runner.system.files import open_private

SHOWN_BYTES = 1024 * 1024


def serial_file(state: Path, instance_id: str) -> Path:
    return state / "serial" / f"{instance_id}.log"


def append_serial(state: Path, instance_id: str, text: str) -> None:
    file = serial_file(state, instance_id)
    with open_private(file) as stream:
        stream.write(text.encode(errors="replace"))


def read_serial(state: Path, instance_id: str, start: int) -> tuple[str, int, int]:
    """Return the text from byte ``start`` on (from the end if negative), the byte where it really starts, and the next one."""
    try:
        content = serial_file(state, instance_id).read_bytes()
    except FileNotFoundError:
        content = b""
    if start < 0:
        start = max(0, len(content) + start)
    start = min(max(start, len(content) - SHOWN_BYTES), len(content))
    return content[start:].decode(errors="replace"), start, len(content)
