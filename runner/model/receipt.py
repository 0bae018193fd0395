"""The receipt of a batch or bake: what was intended, created and deleted, with the cloud's own answers, and what it cost at most. Pure.

The cost is a ceiling: list price on demand, for the longest time consistent with what is known. ``receipt_items`` has the items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runner.errors import CloudError, LeftoverError
from runner.model import catalog
from runner.model.journal_state import JobTrace, JournalState
from runner.model.receipt_items import INSTANCE, Answer, ItemState, ReceiptItem, make_items

FORMAT = 1
PRICE_NOTE = (
    f"list price on demand, {catalog.PRICE_REGION}, {catalog.PRICE_DATE}, with disk and address; "
    "spot VMs cost less, other regions up to a third more"
)
FREE_NOTE = "nothing: the embedded cloud runs on this computer"


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The receipt of a batch or bake. ``asked``: when the cloud was asked about it; None if it is from the journal alone."""

    journal: JournalState
    items: tuple[ReceiptItem, ...]
    is_free: bool
    made: datetime
    asked: datetime | None

    @property
    def left_over(self) -> tuple[str, ...]:
        """The resources that still exist but should not."""
        return tuple(str(item) for item in self.items if item.state is ItemState.STILL_THERE)

    @property
    def unknown(self) -> tuple[str, ...]:
        """The resources of which the cloud could not be asked."""
        return tuple(str(item) for item in self.items if item.state is ItemState.UNKNOWN)

    @property
    def vm_seconds(self) -> float:
        """How long the VMs existed, added up."""
        return sum(item.seconds for item in self.items if item.kind == INSTANCE)

    @property
    def usd_at_most(self) -> float:
        """What everything cost at most, as far as prices are known."""
        return sum(item.usd_at_most or 0.0 for item in self.items)

    @property
    def is_cost_known(self) -> bool:
        """Whether every price is known."""
        return all(item.usd_at_most is not None for item in self.items)

    @property
    def exit_code(self) -> int:
        """0 only if the cloud confirms that each resource is gone or was meant to stay; 8 if any still exists, 4 if that is not known."""
        if self.left_over:
            return LeftoverError.exit_code
        return CloudError.exit_code if self.unknown or self.asked is None else 0

    def as_json(self) -> dict[str, Any]:
        """JSON values; times in ISO 8601, UTC. ``docs/receipt.md`` describes them."""
        journal = self.journal
        return {
            "format": FORMAT,
            "name": journal.name,
            "kind": journal.kind,
            "target": journal.facts.get("target", ""),
            "project": journal.facts.get("project", ""),
            "owner": "" if journal.owner is None else str(journal.owner),
            "started": _iso(journal.started),
            "ended": _iso(journal.ended),
            "outcome": journal.outcome,
            "made": _iso(self.made),
            "asked": _iso(self.asked),
            "items": [_item_json(item) for item in self.items],
            "jobs": [_job_json(job) for job in journal.jobs],
            "vm_seconds": round(self.vm_seconds, 1),
            "usd_at_most": round(self.usd_at_most, 4),
            "is_cost_known": self.is_cost_known,
            "price": FREE_NOTE if self.is_free else PRICE_NOTE,
            "left_over": list(self.left_over),
            "unknown": list(self.unknown),
            "troubles": list(journal.troubles),
        }


def make_receipt(
    journal: JournalState, *, made: datetime, answers: Sequence[Answer] = (), asked: datetime | None = None
) -> Receipt:
    """Return the receipt of a journal. ``answers``: what the cloud answered at ``asked`` about each resource in the journal, and each with the label."""
    is_free = journal.facts.get("target") == "local"
    items = make_items(journal, answers, until=asked or made, is_free=is_free)
    return Receipt(journal=journal, items=items, is_free=is_free, made=made, asked=asked)


def _item_json(item: ReceiptItem) -> dict[str, Any]:
    usd = item.usd_at_most
    return {
        "kind": item.kind,
        "name": item.name,
        "zone": item.zone,
        "state": item.state.value,
        "intended": _iso(item.intended),
        "created": _iso(item.created),
        "gone": _iso(item.gone),
        "answer": item.answer,
        "machine_type": item.machine_type,
        "seconds": round(item.seconds, 1),
        "usd_per_hour": None if item.usd_per_hour is None else round(item.usd_per_hour, 4),
        "usd_at_most": None if usd is None else round(usd, 4),
    }


def _job_json(job: JobTrace) -> dict[str, Any]:
    states = [{"state": state, "at": _iso(at)} for state, at in job.states]
    return {"name": job.name, "state": job.state, "states": states, "facts": dict(job.facts)}


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="seconds")
