"""``invoke receipt``: what a batch or bake intended, created and left, shown or proven again by asking the cloud."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.context import Context
from runner.errors import DiskError, InputError
from runner.model.journal_state import JournalState
from runner.model.receipt import make_receipt
from runner.options.batches import Receipt
from runner.teardown import read_receipt, receipt_files, write_receipt


@dataclass(frozen=True, kw_only=True)
class ReceiptView:
    """A receipt as JSON values, where its page is, and the exit code: not 0 only if it was to be proven and is not."""

    values: Mapping[str, Any]
    page: Path
    exit_code: int


def execute(context: Context, options: Receipt) -> ReceiptView:
    """Return the receipt as it was written at the end; with ``verify`` a new one, from what the cloud says now.

    Raises:
        InputError: this computer has no journal of that name, or the settings are for another project.
        DiskError: nothing of the journal can be read.
    """
    name = options.batch
    journal = context.journals.read(name)
    if journal is None:
        known = ", ".join(context.journals.names()[-5:]) or "none yet"
        raise InputError(f"no journal of {name} on this computer", remedy=f"the latest: {known}")
    if journal.troubles and not journal.records:  # it would report nothing, as if nothing had been created
        remedy = f"`invoke cleanup --batch {name} --dry-run` asks the cloud itself"
        raise DiskError("; ".join(journal.troubles), remedy=remedy)
    stored = receipt_files(context, name)[0]
    if not options.verify:
        values = read_receipt(stored) or make_receipt(journal, made=context.now()).as_json()
        return ReceiptView(values=values, page=stored.with_suffix(".html"), exit_code=0)
    _check_project(context, journal)
    context.cloud.open(needs_engine=False)
    receipt = write_receipt(context, journal)
    return ReceiptView(values=receipt.as_json(), page=stored.with_suffix(".html"), exit_code=receipt.exit_code)


def _check_project(context: Context, journal: JournalState) -> None:
    project = journal.facts.get("project", context.settings.project)
    if project != context.settings.project:
        raise InputError(
            f"{journal.name} ran in project {project}; the settings say {context.settings.project}",
            remedy=f"set OPENSEES_HPC_PROJECT={project} for this command",
        )
