"""A receipt as one HTML page that is self-contained: it loads no script, style sheet or font. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1d1d1f; }
h1 { font-size: 1.5rem; margin-bottom: 0.2rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: 0.3rem 0.6rem; vertical-align: top; }
th { border-bottom: 2px solid #999; } td { border-bottom: 1px solid #ddd; overflow-wrap: anywhere; }
.number { text-align: right; white-space: nowrap; } .bad { color: #b00020; font-weight: bold; } .good { color: #1b6e3a; }
@media (prefers-color-scheme: dark) { body { background: #1d1d1f; color: #eee; } td { border-color: #444; } }
"""
BAD_STATES = frozenset({"still there", "unknown", "failed", "lost", "timed out"})
NUMBERS = frozenset({"seconds", "USD at most", "attempt"})


def render_page(values: Mapping[str, Any]) -> str:
    """Return the page of a receipt, from its JSON values."""
    kind = "bake" if values["kind"] == "bake" else "batch"
    title = f"Receipt of {kind} {values['name']}"
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        _summary(values),
        "<h2>What was intended, created and gone</h2>",
        _table(
            ("resource", "state", "intended", "created", "gone", "the cloud's answer", "seconds", "USD at most"),
            (_item_row(item) for item in values["items"]),
        ),
    ]
    if values["jobs"]:
        parts += [
            "<h2>Jobs</h2>",
            _table(("job", "state", "attempt", "instance", "times"), map(_job_row, values["jobs"])),
        ]
    if values["troubles"]:
        parts += ["<h2>About the journal</h2>", *(f"<p>{escape(trouble)}</p>" for trouble in values["troubles"])]
    return "\n".join([*parts, "</body></html>"]) + "\n"


def _summary(values: Mapping[str, Any]) -> str:
    asked = f"asked at {values['asked']}" if values["asked"] else "not asked; this is from the journal alone"
    cost = f"{values['usd_at_most']:.2f} USD at most" if values["usd_at_most"] else "0 USD"
    more = "" if values["is_cost_known"] else ", plus resources without a known price"
    lines = [
        f"{values['target']} {values['project']}, started by {values['owner']}",
        f"started {values['started']}, ended {values['ended'] or 'not yet'}{_after(': ', values['outcome'])}",
        f"VM time {values['vm_seconds']:.0f} s; {cost}{more} ({values['price']})",
        f"the cloud was {asked}",
    ]
    shown = "<br>\n".join(escape(line) for line in lines)
    return f"<p>{shown}</p>\n{_verdict(values)}"


def _verdict(values: Mapping[str, Any]) -> str:
    left, unknown = values["left_over"], values["unknown"]
    if left:
        return f'<p class="bad">Still there: {escape("; ".join(left))}</p>'
    if unknown or not values["asked"]:
        return f'<p class="bad">Not proven gone: {escape("; ".join(unknown) or "the cloud was not asked")}</p>'
    return '<p class="good">Nothing is left.</p>'


def _item_row(item: Mapping[str, Any]) -> Sequence[str]:
    what = f"{item['kind']} {item['name']}{_after(' in ', item['zone'])}{_after(', ', item['machine_type'])}"
    usd = item["usd_at_most"]
    times = [item[key] or "" for key in ("intended", "created", "gone")]
    return [what, item["state"], *times, item["answer"], f"{item['seconds']:.0f}", "?" if usd is None else f"{usd:.4f}"]


def _job_row(job: Mapping[str, Any]) -> Sequence[str]:
    facts = job["facts"]
    times = ", ".join(f"{state['state']} {state['at']}" for state in job["states"])
    return [job["name"], job["state"], str(facts.get("attempt", "")), str(facts.get("instance", "")), times]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    heads = "".join(f"<th{_number(column)}>{escape(column)}</th>" for column in head)
    body = "\n".join("<tr>" + "".join(map(_cell, head, row)) + "</tr>" for row in rows)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table>"


def _cell(column: str, text: str) -> str:
    is_bad = column == "state" and text in BAD_STATES
    return f"<td{' class=bad' if is_bad else _number(column)}>{escape(text)}</td>"


def _number(column: str) -> str:
    return " class=number" if column in NUMBERS else ""


def _after(before: str, text: str) -> str:
    return f"{before}{text}" if text else ""
