"""A lease is taken from the client that was seen to hold it, and from no other. The bucket is a small fake of the JSON API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import unquote

import pytest

from runner.errors import CloudError, ConflictError, NotFoundError
from runner.google.rest import Api
from runner.inventory.storage import LEASE_TRIES, OurStorage
from runner.model import names
from runner.model.lease import Lease, new_lease, see_lease
from runner.model.leftover import Item, Kind

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
BOB, EVE = (new_lease("b1", name, NOW, 600, holder_id=name) for name in ("bob", "eve"))
LEASE = Item(
    kind=Kind.LEASE, name="b1", labels=names.labels_of_batch("b1"), lease=see_lease(BOB, updated=NOW, served=NOW)
)


class Bucket:
    """One object, the lease, in its newest version. ``before_delete``: what happens just before each delete."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.generation = 1
        self.before_delete: Callable[[], None] = lambda: None

    def write(self, lease: Lease) -> None:
        self.content, self.generation = lease.as_json(), self.generation + 1

    def renew(self) -> None:
        self.write(BOB.renew(NOW + timedelta(seconds=200), 600))

    def items(self, path: str, **params: str) -> Iterator[dict[str, Any]]:
        if self.content:
            yield {"name": "_control/b1/lease.json", "generation": str(self.generation)}

    def get_dated(self, path: str, **params: str) -> tuple[dict[str, Any], datetime]:
        assert unquote(path).endswith("/o/_control/b1/lease.json")
        if not self.content:
            raise NotFoundError("no such object")
        return json.loads(self.content), NOW

    def delete(self, path: str, **params: str) -> dict[str, Any]:
        self.before_delete()
        if params["generation"] != str(self.generation):
            raise NotFoundError("no such version")
        self.content = b""
        return {}


def take(bucket: Bucket) -> str:
    return OurStorage(cast(Api, bucket), "project").remove(LEASE)


def test_it_goes_however_young_it_is() -> None:
    bucket = Bucket(BOB.as_json())
    bucket.renew()
    assert take(bucket) == "it was taken from its holder"
    assert bucket.content == b""
    assert take(bucket) == "it was gone already"


def test_one_that_is_renewed_meanwhile_is_looked_for_again() -> None:
    bucket = Bucket(BOB.as_json())
    waiting = [bucket.renew, bucket.renew]
    bucket.before_delete = lambda: waiting.pop()() if waiting else None
    take(bucket)
    assert (bucket.content, bucket.generation) == (b"", 3)


def test_one_that_changes_hands_meanwhile_stays() -> None:
    bucket = Bucket(BOB.as_json())
    bucket.before_delete = lambda: bucket.write(EVE)
    with pytest.raises(ConflictError, match="another client holds it"):
        take(bucket)
    assert bucket.content == EVE.as_json()


def test_one_that_its_holder_gave_back_goes() -> None:
    bucket = Bucket(BOB.as_json())
    bucket.write(new_lease("b1", "", NOW, 0))
    take(bucket)
    assert bucket.content == b""


def test_one_of_a_later_version_is_nobodys_that_was_seen() -> None:
    with pytest.raises(ConflictError):
        take(Bucket(b'{"format": 9}'))


def test_it_is_not_tried_for_ever() -> None:
    bucket = Bucket(BOB.as_json())
    bucket.before_delete = bucket.renew
    with pytest.raises(CloudError, match="again and again"):
        take(bucket)
    assert bucket.generation == 1 + LEASE_TRIES
