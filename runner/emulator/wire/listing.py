"""Lists in Google's form: filtered, ordered, a page at a time, flat or aggregated by zone and region."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Mapping, Sequence

from runner.emulator.state import Document
from runner.emulator.wire import api_errors
from runner.emulator.wire.filters import parse_filter
from runner.emulator.wire.wire import link, scope_of

MAX_RESULTS = 500

Entries = Sequence[tuple[str, Document]]


def page_of(entries: Entries, query: Mapping[str, str]) -> tuple[Entries, str]:
    """Return the entries of the requested page that pass the filter, and the token of the next page ('' at the end)."""
    keep = parse_filter(query.get("filter", ""))
    after = _read_token(query.get("pageToken", ""))
    limit = _read_limit(query.get("maxResults", ""))
    chosen = [(key, document) for key, document in _in_order(entries, query) if keep(document)]
    if after:
        chosen = chosen[next((at + 1 for at, (key, _) in enumerate(chosen) if key == after), len(chosen)) :]
    page = chosen[:limit]
    return page, _make_token(page[-1][0]) if len(chosen) > limit else ""


def list_document(kind: str, path: str, entries: Entries, query: Mapping[str, str]) -> Document:
    """Build the response to a ``list``; ``kind`` as in ``compute#instanceList``."""
    page, token = page_of(entries, query)
    answer: Document = {"kind": f"compute#{kind}List", "id": path, "selfLink": link(path)}
    if page:
        answer["items"] = [document for _, document in page]
    return {**answer, "nextPageToken": token} if token else answer


def aggregated_document(
    kind: str,
    collection: str,
    path: str,
    entries: Entries,
    scopes: Sequence[str],
    query: Mapping[str, str],
    *,
    unreachable: Collection[str] = (),
) -> Document:
    """Build the response to an ``aggregatedList``; empty ``scopes`` (``zones/z``, ``regions/r``, ``global``) carry a warning.

    ``unreachable`` scopes are reported as Google does it, and their contents are left out.
    """
    page, token = page_of([one for one in entries if _scope_of(one[0]) not in unreachable], query)
    items: dict[str, Document] = {scope: _empty_scope(scope) for scope in scopes}
    for key, document in page:
        scope = _scope_of(key)
        if "warning" in items.setdefault(scope, {}):
            items[scope] = {}
        items[scope].setdefault(collection, []).append(document)
    answer: Document = {"kind": f"compute#{kind}AggregatedList", "id": path, "items": items, "selfLink": link(path)}
    if unreachable:
        project = "/".join(path.split("/")[:2])
        answer["unreachables"] = [f"{project}/{scope}" for scope in unreachable]
    return {**answer, "nextPageToken": token} if token else answer


def _scope_of(key: str) -> str:
    return scope_of(key).split("/", 2)[2]


def _empty_scope(scope: str) -> Document:
    return {
        "warning": {
            "code": "NO_RESULTS_ON_PAGE",
            "message": f"There are no results for scope '{scope}' on this page.",
            "data": [{"key": "scope", "value": scope}],
        }
    }


def _in_order(entries: Entries, query: Mapping[str, str]) -> Entries:
    order = query.get("orderBy", "")
    if not order:
        return entries
    if order != "creationTimestamp desc":
        raise api_errors.invalid_field("orderBy", order, "Only 'creationTimestamp desc' is supported.")
    return sorted(entries, key=lambda entry: str(entry[1].get("creationTimestamp", "")), reverse=True)


def _read_limit(text: str) -> int:
    if not text:
        return MAX_RESULTS
    if not text.isdigit() or not 0 <= int(text) <= MAX_RESULTS:
        raise api_errors.invalid_field("maxResults", text, "Value must be in the range [0, 500].")
    return int(text) or MAX_RESULTS


def sized_page(
    entries: Entries, query: Mapping[str, str], *, default: int, most: int
) -> tuple[list[Document], Document]:
    """Return a page as the other APIs have it (``pageSize``): its documents, and ``nextPageToken`` if there are more."""
    text = query.get("pageSize", "")
    if text and (not text.isdigit() or int(text) > most):
        raise api_errors.invalid(f"Invalid page size {text}: it must be at most {most}.")
    limit, after = int(text or 0) or default, _read_token(query.get("pageToken", ""))
    rest = [entry for entry in entries if entry[0] > after] if after else list(entries)
    page = rest[:limit]
    more = {"nextPageToken": _make_token(page[-1][0])} if len(rest) > limit else {}
    return [document for _, document in page], more


def _make_token(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _read_token(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise api_errors.invalid_field("pageToken", token, "Invalid page token.") from error
