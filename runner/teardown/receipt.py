"""The receipt of a batch or bake, written when it ends: what it intended, created and left, by asking the cloud."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from runner.context import Context, SessionContext
from runner.errors import DiskError, HpcError
from runner.google import Operation
from runner.inventory import COLLECTIONS, scope_of
from runner.model import names
from runner.model.leftover import SETTINGS_ONLY, VALIDATED, Item, Kind
from runner.model.receipt import Receipt, make_receipt
from runner.model.receipt_items import Answer, CloudAct, ItemState
from runner.model.receipt_page import render_page
from runner.model.session import BAKE, Resource, Session
from runner.model.session_record import parse_time
from runner.system.files import disk_error, write_private, write_result

ASKED_KINDS = (*COLLECTIONS, Kind.STACK)
AT_ONCE = 8


def close_session(context: SessionContext, outcome: str) -> Receipt:
    """Close a batch or bake, whatever its outcome: journal what the cloud says is gone, end the session if nothing is left
    and everything could be asked, write the receipt. What is left keeps the session open: the next command reports it.

    Raises:
        HpcError: the receipt cannot be written; the session has ended all the same.
    """
    state = context.session
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
def closed_session(context: SessionContext) -> Iterator[None]:
    """Close the session at the end of what is inside, however it ends. An error in that is a warning and hides no other error."""
    outcome = "completed"
    try:
        yield
    except BaseException as error:
        outcome = str(error) or type(error).__name__
        raise
    finally:
        try:
            close_session(context, outcome)
        except HpcError as trouble:
            context.warn(str(trouble))


def write_receipt(context: Context, session: Session) -> Receipt:
    """Ask the cloud about everything that the session knows and about its label, and write the receipt, here and beside the
    results. What the cloud could not be asked is in the receipt as unknown. Call it after the session has ended.

    Raises:
        HpcError: the files cannot be written.
    """
    asked = context.now()
    receipt = make_receipt(session, made=asked, asked=asked, answers=_ask(context, session))
    _write(context, receipt)
    return receipt


def _write(context: Context, receipt: Receipt) -> None:
    values = receipt.as_json()
    content = json.dumps(values, indent=2, default=str).encode() + b"\n"
    page = render_page(values).encode("utf-8", "backslashreplace")
    stored, *copies = receipt_files(context, receipt.session.name, receipt.session)
    for file, write in [(stored, write_private), *((copy, write_result) for copy in copies)]:
        with _mapped_errors(file):
            write(file, content)
            write(file.with_suffix(".html"), page)


def receipt_files(context: Context, name: str, session: Session | None = None) -> list[Path]:
    """Return the JSON files of a receipt; each has its page beside it. A batch's results may lie elsewhere than new ones would."""
    files = [context.home / context.settings.target / "receipts" / f"{name}.json"]
    if session is not None and session.kind != BAKE:
        folder = session.plan.get("results")
        results = Path(folder) if isinstance(folder, str) and folder else context.results_folder / name
        files.append(results / f"{names.RECEIPT}.json")
    return files


def _ask(context: Context, session: Session) -> list[Answer]:
    """Return an answer for each name that the session knows, and for each resource that bears its label."""
    try:
        found = context.cloud.estate.find(ASKED_KINDS, session.labels)
    except HpcError as error:
        return [_no_answer(item, error) for item in _names_once(session)]
    listed = {
        _item_key(item): item
        for item in found.items
        if session.name in (item.batch, item.bake) and item.state != SETTINGS_ONLY
    }
    unread = {item.kind.value for item in found.unread}
    known = _names_once(session)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(partial(_ask_one, context, listed=listed, unread=unread), known))
    strays = set(listed) - {_key(resource) for resource in known}
    return answers + [
        Answer(kind=kind, name=name, zone=zone, by_name=None, by_label=True, words=listed[kind, name, zone].state)
        for kind, name, zone in sorted(strays)
        if listed[kind, name, zone].state != VALIDATED
    ]


def _names_once(session: Session) -> list[Resource]:
    """Return one resource for each name of a kind that can be asked for."""
    kinds = {kind.value for kind in ASKED_KINDS}
    return list({_key(item): item for item in session.resources if item.kind in kinds}.values())


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
    return item.kind.value, item.name, item.place


def read_receipt(file: Path) -> Mapping[str, Any] | None:
    """Read a stored receipt; None if there is none, or it is corrupt: then it is made again from the journal."""
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
