"""The receipt of a batch or bake, written when it ends: what it intended, created and left, by asking the cloud."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from runner.context import Context, JournalContext
from runner.errors import DiskError, HpcError
from runner.google import Operation
from runner.inventory import COLLECTIONS, scope_of
from runner.model import names
from runner.model.journal_record import parse_time
from runner.model.journal_state import BAKE, JournalState, Resource
from runner.model.leftover import SETTINGS_ONLY, VALIDATED, Item, Kind
from runner.model.receipt import Receipt, make_receipt
from runner.model.receipt_items import Answer, CloudAct, ItemState
from runner.model.receipt_page import render_page
from runner.system.files import disk_error, write_private, write_result

ASKED_KINDS = (*COLLECTIONS, Kind.STACK)
AT_ONCE = 8


def close_journal(context: JournalContext, outcome: str) -> Receipt:
    """Close a batch or bake, whatever its outcome: journal what the cloud says is gone, end the journal if nothing is left
    and everything could be checked, write the receipt. If something is left, the journal stays open: the next command reports it.

    Raises:
        HpcError: the receipt cannot be written; the journal has ended nevertheless.
    """
    state = context.journal
    answers, asked = _ask(context, state.read()), context.now()
    seen = make_receipt(state.read(), made=asked, asked=asked, answers=answers)
    for item in seen.items:
        if item.state in (ItemState.GONE, ItemState.NEVER_CREATED):
            fact = "gone" if item.state is ItemState.GONE else "failed"
            state.record(fact, kind=item.kind, name=item.name, zone=item.zone, answers=item.answers)
    if seen.exit_code == 0:
        state.end(outcome)
    receipt = make_receipt(state.read(), made=asked, asked=asked, answers=answers)
    _write(context, receipt)
    return receipt


@contextlib.contextmanager
def closed_journal(context: JournalContext) -> Iterator[None]:
    """Close the journal at the end of the block, however it ends. An error in that is a warning and hides no other error."""
    outcome = "completed"
    try:
        yield
    except BaseException as error:
        outcome = str(error) or type(error).__name__
        raise
    finally:
        try:
            close_journal(context, outcome)
        except HpcError as trouble:
            context.warn(str(trouble))


def write_receipt(context: Context, journal: JournalState) -> Receipt:
    """Ask the cloud about everything that the journal knows and about its label, and write the receipt, here and beside the
    results. What could not be asked is in the receipt as unknown. Call it after the journal has ended.

    Raises:
        HpcError: the files cannot be written.
    """
    asked = context.now()
    receipt = make_receipt(journal, made=asked, asked=asked, answers=_ask(context, journal))
    _write(context, receipt)
    return receipt


def _write(context: Context, receipt: Receipt) -> None:
    values = receipt.as_json()
    content = json.dumps(values, indent=2, default=str).encode() + b"\n"
    page = render_page(values).encode("utf-8", "backslashreplace")
    stored, *copies = receipt_files(context, receipt.journal.name, receipt.journal)
    for file, write in [(stored, write_private), *((copy, write_result) for copy in copies)]:
        with _mapped_errors(file):
            write(file, content)
            write(file.with_suffix(".html"), page)


def receipt_files(context: Context, name: str, journal: JournalState | None = None) -> list[Path]:
    """Return the JSON files of a receipt; each has its page beside it. A batch's results may be elsewhere than new ones would be."""
    files = [context.state_folder / context.settings.target / "receipts" / f"{name}.json"]
    if journal is not None and journal.kind != BAKE:
        folder = journal.plan.get("results")
        results = Path(folder) if isinstance(folder, str) and folder else context.results_folder / name
        files.append(results / f"{names.RECEIPT}.json")
    return files


def _ask(context: Context, journal: JournalState) -> list[Answer]:
    """Return an answer for each name that the journal knows, and for each resource that has its label."""
    try:
        found = context.cloud.inventory.find(ASKED_KINDS, journal.labels)
    except HpcError as error:
        return [_no_answer(item, error) for item in _names_once(journal)]
    listed = {
        _item_key(item): item
        for item in found.items
        if journal.name in (item.batch, item.bake) and item.state != SETTINGS_ONLY
    }
    unread = {item.kind.value for item in found.unread}
    known = _names_once(journal)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(partial(_ask_one, context, listed=listed, unread=unread), known))
    strays = set(listed) - {_key(resource) for resource in known}
    return answers + [
        Answer(kind=kind, name=name, zone=zone, by_name=None, by_label=True, words=listed[kind, name, zone].state)
        for kind, name, zone in sorted(strays)
        if listed[kind, name, zone].state != VALIDATED
    ]


def _names_once(journal: JournalState) -> list[Resource]:
    """Return one resource for each name of a kind that can be asked for."""
    kinds = {kind.value for kind in ASKED_KINDS}
    return list({_key(item): item for item in journal.resources if item.kind in kinds}.values())


def _ask_one(context: Context, resource: Resource, *, listed: Mapping[Any, Item], unread: set[str]) -> Answer:
    kind = Kind(resource.kind)
    by_label = _key(resource) in listed or (None if resource.kind in unread else False)
    if kind is Kind.STACK:
        words = "its state is there" if by_label else "no such stack"
        return _answer(resource, by_name=by_label, by_label=by_label, words=words)
    compute = context.cloud.compute
    try:
        found = compute.look_up(scope_of(kind, resource.zone), COLLECTIONS[kind], resource.name)
        acts = compute.operations_on(resource.zone, resource.name) if kind is Kind.INSTANCE and resource.zone else None
    except HpcError as error:
        return _no_answer(resource, error, by_label=by_label)
    words = "404 notFound" if found is None else str(found.get("status", "found"))
    return _answer(
        resource,
        by_name=found is not None,
        by_label=by_label,
        words=words,
        acts=None if acts is None else tuple(act for one in acts if (act := _act(one)) is not None),
    )


def _answer(resource: Resource, **facts: Any) -> Answer:
    return Answer(kind=resource.kind, name=resource.name, zone=resource.zone, **facts)


def _no_answer(resource: Resource, error: HpcError, by_label: bool | None = None) -> Answer:
    return _answer(resource, by_name=None, by_label=by_label, words=f"could not be asked: {error}")


def _act(operation: Operation) -> CloudAct | None:
    started = parse_time(operation.started)
    if started is None:
        return None
    ended = parse_time(operation.ended)
    return CloudAct(name=operation.name, kind=operation.kind, started=started, ended=ended, error=operation.error)


def _key(resource: Resource) -> tuple[str, str, str]:
    return resource.kind, resource.name, resource.zone


def _item_key(item: Item) -> tuple[str, str, str]:
    return item.kind.value, item.name, item.location


def read_receipt(file: Path) -> Mapping[str, Any] | None:
    """Read a stored receipt; None if there is none, or it is corrupt: then it is rebuilt from the journal."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


@contextlib.contextmanager
def _mapped_errors(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        trouble = disk_error(error, file)
        raise DiskError(
            f"the receipt cannot be written: {file}: {error.strerror or error}", remedy=trouble.remedy
        ) from error
