"""What the object store does not keep: changes of objects' metadata, which raise the metageneration, and soft-deleted objects.

The object store would give a changed object a new generation, so changes are merged into its description of that very generation.
Of soft-deleted objects only the metadata is kept, and none of objects that were overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from runner.emulator.state import Document, Store
from runner.emulator.storage.buckets import BUCKETS, CHANGED, DELETED, merge_patch
from runner.emulator.wire import api_errors, sized_page, zulu_time

CHANGEABLE = (
    *("cacheControl", "contentDisposition", "contentEncoding", "contentLanguage", "contentType", "customTime"),
    *("eventBasedHold", "metadata", "temporaryHold"),
)
_MOST_RESULTS = 1000


class ObjectMetadata:
    """``now``: the cloud's clock, seconds since 1970."""

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now

    # ------------------------------------------------------------------ changes

    def has_changes(self, bucket: str) -> bool:
        """Return whether any object's metadata in this bucket was changed."""
        return bool(self._store.items(f"{CHANGED}{bucket}/"))

    def show(self, document: Mapping[str, Any]) -> Document:
        """Return an object as the object store has it, with later changes of its metadata."""
        changes = self._store.get(_key(CHANGED, document)) or {}
        return {key: value for key, value in {**document, **changes}.items() if value is not None}

    def change(self, document: Mapping[str, Any], body: Document, *, is_whole: bool) -> Document:
        """Change the given fields, or (``is_whole``) all; return the changed object."""
        shown = self.show(document)
        kept = {} if is_whole else {key: shown[key] for key in CHANGEABLE if key in shown}
        wanted = merge_patch(kept, {key: body[key] for key in CHANGEABLE if key in body})
        changes: Document = {key: wanted.get(key) for key in CHANGEABLE}
        changes["metageneration"] = str(int(shown.get("metageneration", "1")) + 1)
        changes["updated"] = zulu_time(self._now())
        self._store.put(_key(CHANGED, document), changes)
        return self.show(document)

    # ------------------------------------------------------------------ soft deletion

    def keeps_deleted(self, bucket: str) -> bool:
        """Return whether objects that are deleted from this bucket can still be listed for a while."""
        return self._retention_s(bucket) > 0

    def _retention_s(self, bucket: str) -> int:
        policy = (self._store.get(BUCKETS + bucket) or {}).get("softDeletePolicy", {})
        return int(policy.get("retentionDurationSeconds", 0))

    def delete(self, document: Mapping[str, Any]) -> None:
        """Record that an object was deleted."""
        now = self._now()
        times = {
            "softDeleteTime": zulu_time(now),
            "hardDeleteTime": zulu_time(now + self._retention_s(str(document["bucket"]))),
        }
        self._store.put(_key(DELETED, document), {**self.show(document), **times})
        self._store.delete(_key(CHANGED, document))

    def list_deleted(self, bucket: str, query: Mapping[str, str]) -> Document:
        """Return the answer to a list with ``softDeleted=true``."""
        if query.get("versions") == "true":
            raise api_errors.invalid("softDeleted and versions cannot both be true.")
        found = self._store.items(f"{DELETED}{bucket}/{query.get('prefix', '')}")
        now = zulu_time(self._now())
        for key, document in found:
            if document["hardDeleteTime"] <= now:
                self._store.delete(key)
        alive = [(key, document) for key, document in found if document["hardDeleteTime"] > now]
        sized = {**query, "pageSize": query.get("maxResults", "")}
        page, more = sized_page(alive, sized, default=_MOST_RESULTS, most=_MOST_RESULTS)
        return {"kind": "storage#objects", **({"items": page} if page else {}), **more}

    def find_deleted(self, bucket: str, name: str, query: Mapping[str, str]) -> Document:
        """Return the answer to a get with ``softDeleted=true`` and a ``generation``.

        Raises:
            CloudError: 400 without a generation; 404 if no such object was deleted.
        """
        if not query.get("generation"):
            raise api_errors.required("generation")
        found = self._store.get(f"{DELETED}{bucket}/{name}#{query['generation']}")
        if found is None or found["hardDeleteTime"] <= zulu_time(self._now()):
            raise api_errors.missing(f"No such object: {bucket}/{name}")
        return found


def _key(prefix: str, document: Mapping[str, Any]) -> str:
    return f"{prefix}{document['bucket']}/{document['name']}#{document['generation']}"
