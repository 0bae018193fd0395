"""The parts of the inventory in Cloud Storage: our buckets, and in the results bucket what each batch has there.

It uses the bare JSON API: the client library takes half a second to import, and a sweep only lists and deletes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from runner.errors import CloudError, ConflictError, NotFoundError
from runner.google import NOT_JSON, Api
from runner.model import names
from runner.model.lease import LeaseSight, lease_of_values, see_lease
from runner.model.leftover import BASE_PART, STATE_PART, Item, Kind

ATTACHABLE_FOR = timedelta(days=1)  # after the end of its lease, or its newest object: a client may still attach
DELETING_THREADS = 8
LEASE_TRIES = 5  # to delete it while its holder keeps renewing it


@dataclass(kw_only=True)
class _BatchObjects:
    """The objects with one prefix: how many, how big, when they were written."""

    objects: int = 0
    size_bytes: int = 0
    oldest: str = ""
    youngest: str = ""
    updated: dict[str, str] = field(default_factory=dict)

    def add(self, found: Mapping[str, Any]) -> None:
        self.objects += 1
        self.size_bytes += int(found.get("size", 0))
        name, updated = str(found["name"]), str(found.get("updated", ""))
        self.oldest = min(self.oldest or updated, updated)
        self.youngest = max(self.youngest, updated)
        self.updated[name] = max(self.updated.get(name, ""), updated)

    def __str__(self) -> str:
        return f"{self.objects} object{'s' * (self.objects != 1)}, {self.size_bytes:,} bytes"


class OurStorage:
    """Buckets with our label; of the results bucket also control objects and results, an item for each batch.

    ``api`` is at ``…/storage/v1``. Objects have no labels: their owner is the one in the batch's definition, else
    the bucket's; control objects expire a day after the batch's lease, because until then a client may attach.
    """

    kinds = (Kind.LEASE, Kind.CONTROL, Kind.RESULTS, Kind.BUCKET)

    def __init__(self, api: Api, project: str) -> None:
        self._api = api
        self._project = project
        self._bucket = names.bucket_name(project)

    def list_items(self, kind: Kind, labels: Mapping[str, str]) -> Sequence[Item]:
        """List the items of one kind; ``labels`` may name a batch. Leases are with the control objects."""
        if kind is Kind.LEASE:
            return []
        if kind is Kind.BUCKET:
            return [self._bucket_item(found) for found in self._list_buckets()]
        try:
            owner = self.owner_of_base()
            groups = self._group_by_batch(kind, labels.get("batch", ""))
            return [self._batch_item(kind, batch, objects, owner) for batch, objects in groups.items()]
        except NotFoundError:
            return []

    def owner_of_base(self) -> str:
        """Return the owner of the results bucket; '' if it does not exist, or has no such label."""
        try:
            found = self._api.get(f"b/{quote(self._bucket)}")
        except NotFoundError:
            return ""
        return str(found.get("labels", {}).get("owner", ""))

    def remove(self, item: Item) -> str:
        """Delete objects, except those written after the item was seen; or a bucket with its objects.

        A lease is deleted however new it is, as long as its holder is the one that was seen.
        """
        if item.kind is Kind.LEASE:
            return self._remove_lease(item)
        bucket = item.name if item.kind is Kind.BUCKET else self._bucket
        prefix = {Kind.CONTROL: names.control_prefix(item.batch), Kind.RESULTS: f"{item.batch}/"}.get(item.kind, "")
        try:
            count = self._delete_objects(bucket, prefix, until=item.until)
            if item.kind is Kind.BUCKET:
                self._api.delete(f"b/{quote(bucket)}")
        except NotFoundError:
            return "it was gone already"
        return f"{count} object{'s' * (count != 1)} deleted"

    def _remove_lease(self, item: Item) -> str:
        """Take the lease from its holder, who writes a new version with each renewal: delete it until it is gone.

        Raises:
            ConflictError: another client holds it by now, or its holder is unknown.
        """
        name = names.lease_object(item.batch)
        for tried in range(LEASE_TRIES):
            there = [found for found in self._list_objects(self._bucket, name) if found["name"] == name]
            if not there:
                return "it was taken from its holder" if tried else "it was gone already"
            values, _ = self._read(name)  # after the listing: a later version is not deleted unread
            if values and not _is_seen(values, item.lease):
                raise ConflictError("another client holds it by now")
            self._delete_all(self._bucket, there)
        raise ConflictError("it is renewed again and again")

    def _list_buckets(self) -> Iterator[Mapping[str, Any]]:
        for found in self._api.items("b", project=self._project):
            if found.get("labels", {}).get("app") == names.APP:
                yield found

    def _bucket_item(self, found: Mapping[str, Any]) -> Item:
        """Return the item; ``until`` is the current second: objects that are added later were not in it when it was seen."""
        name = str(found["name"])
        parts = {names.bucket_name(self._project): BASE_PART, names.state_bucket_name(self._project): STATE_PART}
        marks = {str(key): str(value) for key, value in found.get("labels", {}).items()}
        _, served = self._api.get_dated(f"b/{quote(name)}")
        return Item(
            kind=Kind.BUCKET,
            name=name,
            labels=marks | ({"part": parts[name]} if name in parts else {}),
            uid=str(found.get("timeCreated", "")),
            until=served.isoformat(),  # a ``Date`` of HTTP has whole seconds
        )

    def _group_by_batch(self, kind: Kind, batch: str) -> dict[str, _BatchObjects]:
        """Return the objects of each batch, or of one batch."""
        root = f"{names.CONTROL_PREFIX}/" if kind is Kind.CONTROL else ""
        groups: dict[str, _BatchObjects] = {}
        for found in self._list_objects(self._bucket, f"{root}{batch}/" if batch else root):
            name = str(found["name"]).removeprefix(root).split("/", 1)[0]
            if names.is_batch_name(name):
                groups.setdefault(name, _BatchObjects()).add(found)
        return groups

    def _batch_item(self, kind: Kind, batch: str, objects: _BatchObjects, owner: str) -> Item:
        definition, _ = self._read(names.control_prefix(batch) + names.DEFINITION)
        marks = {"app": names.APP, "batch": batch, "owner": names.label_value(str(definition.get("owner", owner)))}
        lease = self._see_lease(batch, objects) if kind is Kind.CONTROL else None
        if kind is Kind.CONTROL:
            marks["expires"] = names.expires_label(_last_time(objects, lease) + ATTACHABLE_FOR)
        return Item(
            kind=kind,
            name=batch,
            location=self._bucket,
            labels=marks,
            state=str(objects),
            lease=lease,
            since=objects.oldest,
            until=objects.youngest,
        )

    def _see_lease(self, batch: str, objects: _BatchObjects) -> LeaseSight | None:
        """Read the batch's lease; None if there is none, or it is corrupt."""
        name = names.lease_object(batch)
        if name not in objects.updated:
            return None
        values, served = self._read(name)
        try:
            return see_lease(lease_of_values(values), updated=_read_time(objects.updated[name]), served=served)
        except ValueError:
            return None

    def _read(self, name: str) -> tuple[dict[str, Any], datetime]:
        """Read a JSON object in the bucket, empty if it does not exist or is not JSON; and the time, by the server's clock."""
        try:
            return self._api.get_dated(f"b/{quote(self._bucket)}/o/{quote(name, safe='')}", alt="media")
        except CloudError as error:
            if isinstance(error, NotFoundError) or error.reason == NOT_JSON:
                return {}, datetime.now(UTC)
            raise

    def _list_objects(self, bucket: str, prefix: str) -> Iterator[Mapping[str, Any]]:
        wanted = {"prefix": prefix} if prefix else {}
        yield from self._api.items(f"b/{quote(bucket)}/o", versions="true", **wanted)

    def _delete_objects(self, bucket: str, prefix: str, *, until: str) -> int:
        """Delete all objects below a prefix that were written until then, including old versions; return how many there were.

        Raises:
            CloudError: the first error, after all others were tried.
        """
        seen = _read_time(until) if until else None
        found = list(self._list_objects(bucket, prefix))
        listed = [one for one in found if seen is None or _read_time(str(one["updated"])) <= seen]
        self._delete_all(bucket, listed)
        return len(listed)

    def _delete_all(self, bucket: str, listed: Sequence[Mapping[str, Any]]) -> None:
        with ThreadPoolExecutor(DELETING_THREADS) as pool:
            refusals = list(pool.map(lambda found: self._delete_object(bucket, found), listed))
        first = next((refusal for refusal in refusals if refusal is not None), None)
        if first is not None:
            raise first

    def _delete_object(self, bucket: str, found: Mapping[str, Any]) -> CloudError | None:
        path = f"b/{quote(bucket)}/o/{quote(str(found['name']), safe='')}"
        generation = {"generation": str(found["generation"])} if "generation" in found else {}
        try:
            self._api.delete(path, **generation)
        except NotFoundError:
            return None
        except CloudError as error:
            return error
        return None


def _is_seen(values: Mapping[str, Any], sight: LeaseSight | None) -> bool:
    """Return whether a lease in the bucket has the holder that was seen, or has none by now."""
    try:
        now = lease_of_values(values)
    except ValueError:
        return False
    return not now.holder or (sight is not None and sight.lease.is_same_watch(now))


def _last_time(objects: _BatchObjects, lease: LeaseSight | None) -> datetime:
    """Return the end of its lease; without one, the time of its newest object."""
    if lease is not None:
        return datetime.fromtimestamp(lease.lease.expires, UTC)
    return _read_time(objects.youngest)


def _read_time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
