"""The table of faults in docs/faults.md, generated from the kinds of faults; a test keeps it current."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from runner.emulator.faults.registry import ACTS, KINDS, FaultKind

BEGIN = "<!-- table of faults: begin -->"
END = "<!-- table of faults: end -->"


def render_tables() -> str:
    """Render both tables as Markdown: faults that are armed, and acts that are done at once."""
    return "\n".join([*_table(KINDS), "", "Done once, at once:", "", *_table(ACTS)])


def put_tables(document: str) -> str:
    """Return the document with new tables between their marks."""
    head, _, rest = document.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{render_tables()}\n\n{END}{tail}"


def _table(kinds: Mapping[str, FaultKind]) -> Iterator[str]:
    yield "| kind | `match` is searched in | what happens | fields and their defaults |"
    yield "| --- | --- | --- | --- |"
    for name, kind in kinds.items():
        fields = ", ".join(f"`{key}: {json.dumps(value)}`" for key, value in kind.defaults.items())
        yield f"| `{name}` | {kind.searched_in or '-'} | {kind.effect} | {fields or '-'} |"
