"""The results bucket: listing, interrupted copies that continue, control objects apart from results."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.errors import CloudError, ConflictError, DiskError, NotFoundError, UnreachableError
from runner.google.objects import Objects, StoredObject
from runner.model import names
from runner.results.manifest import CorruptResultsError
from runner.results.store import ResultStore
from tests.support.bucket import Batch, storage_client
from tests.support.cutting_proxy import cutting_proxy

MIB = 1 << 20


@contextmanager
def _objects_at(url: str, batch: Batch, *, retry_budget_s: float = 30.0) -> Iterator[Objects]:
    with storage_client(batch.site.endpoint, url) as client:
        yield Objects(lambda: client, batch.store.bucket, retry_budget_s=retry_budget_s)


def _stored(batch: Batch, name: str, content: bytes) -> StoredObject:
    batch.store.objects.write(f"{batch.name}/{name}", content)
    return next(iter(batch.store.objects.listed(f"{batch.name}/{name}")))


# ---------------------------------------------------------------- listing


def test_committed_sets_are_distinguished_from_others(batch: Batch) -> None:
    batch.push("a")
    batch.push("a", attempt=2, parts="am")
    batch.push("b", attempt=10)
    batch.push("b", attempt=10, push=2)
    found = batch.store.all_sets(batch.name)
    assert [(item.job, item.attempt, item.push, item.is_committed) for item in found] == [
        ("a", 1, 1, True),
        ("a", 2, 1, False),
        ("b", 10, 1, True),
        ("b", 10, 2, True),
    ]
    assert [item.prefix for item in found] == [
        names.result_prefix(batch.name, item.job, item.attempt, item.push) for item in found
    ]
    assert batch.store.result_sets(batch.name) == [item for item in found if item.is_committed]


def test_one_attempt_is_not_taken_for_another_that_begins_like_it(batch: Batch) -> None:
    for attempt in (1, 10, 11):
        batch.push("a", attempt=attempt)
    batch.push("a", attempt=1, push=2)
    found = batch.store.result_sets(batch.name, job="a", attempt=1)
    assert [(item.attempt, item.push) for item in found] == [(1, 1), (1, 2)]


@pytest.mark.parametrize(
    "name",
    [
        "COMMITTED",
        "a/COMMITTED",
        "a/attempt-0/COMMITTED",
        "a/attempt-01/COMMITTED",
        "a/attempt-x/COMMITTED",
        "a/attempt-1/deeper/COMMITTED",
        "..a/attempt-1/COMMITTED",
        "a b/attempt-1/COMMITTED",
        "a\n/attempt-1/COMMITTED",
        "a/attempt-1.push-1/COMMITTED",
        "a/attempt-\u0661/COMMITTED",
    ],
)
def test_hostile_names_are_no_sets(batch: Batch, name: str) -> None:
    batch.store.objects.write(f"{batch.name}/{name}", b"")
    assert batch.store.all_sets(batch.name) == []


def test_a_name_that_only_google_takes_is_no_set(batch: Batch) -> None:
    assert names.read_result_prefix(f"{batch.name}/../attempt-1") is None


def test_unfinished_pushes_are_discarded_and_nothing_else(batch: Batch) -> None:
    batch.push("a")
    batch.push("b", parts="a")
    batch.store.put_control(batch.name, "lease.json", b"{}")
    assert batch.store.discard_unfinished(batch.name) == [f"{batch.name}/b/attempt-1"]
    assert {name.split("/")[0] for name in batch.objects()} == {"a"}
    assert batch.store.list_control(batch.name) == ["lease.json"]


def test_deleting_what_is_gone_is_no_error(batch: Batch) -> None:
    batch.push("a")
    (found,) = batch.store.result_sets(batch.name)
    batch.store.delete(found)
    batch.store.delete(found)
    assert batch.objects() == []


def test_a_manifest_is_read_as_it_was_listed_or_not_at_all(batch: Batch) -> None:
    batch.push("a")
    (found,) = batch.store.result_sets(batch.name)
    batch.store.read_manifest(found)
    batch.put("a", names.MANIFEST, b"{}")
    with pytest.raises(NotFoundError):
        batch.store.read_manifest(found)
    (found,) = batch.store.result_sets(batch.name)
    with pytest.raises(CorruptResultsError):
        batch.store.read_manifest(found)


# ---------------------------------------------------------------- control objects


def test_control_objects_are_no_results(batch: Batch) -> None:
    batch.store.put_control(batch.name, "lease.json", b"{}")
    batch.store.put_control(batch.name, "inputs/a.tar.gz", b"x")
    assert batch.store.list_control(batch.name) == ["inputs/a.tar.gz", "lease.json"]
    assert batch.name in batch.store.controlled_batches()
    assert batch.name in batch.store.batches(), "a name that is taken"
    assert all(item.batch not in (batch.name, names.CONTROL_PREFIX) for item in batch.store.use())
    assert names.CONTROL_PREFIX not in batch.store.batches()
    batch.store.delete_control(batch.name)
    batch.store.delete_control(batch.name)
    assert batch.store.list_control(batch.name) == []
    assert batch.name not in batch.store.batches()


def test_control_objects_are_written_over_only_as_asked(batch: Batch) -> None:
    store = batch.store
    assert store.get_control(batch.name, "lease.json") is None
    first = store.put_control(batch.name, "lease.json", b"1", if_generation=0)
    assert store.put_control(batch.name, "lease.json", b"1", if_generation=0) == first, "a repeated request"
    with pytest.raises(ConflictError):
        store.put_control(batch.name, "lease.json", b"2", if_generation=0)
    second = store.put_control(batch.name, "lease.json", b"2", if_generation=first)
    with pytest.raises(ConflictError):
        store.put_control(batch.name, "lease.json", b"3", if_generation=first)
    found = store.get_control(batch.name, "lease.json")
    assert found is not None
    assert (found.content, found.generation) == (b"2", second)
    store.put_control(batch.name, "lease.json", b"4")
    assert getattr(store.get_control(batch.name, "lease.json"), "content", b"") == b"4"


def test_what_a_batch_uses_is_counted(batch: Batch) -> None:
    batch.push("a")
    (use,) = [item for item in batch.store.use() if item.batch == batch.name]
    assert use.objects == 3
    assert use.size_bytes == sum(item.size for item in batch.store.objects.listed(f"{batch.name}/"))


# ---------------------------------------------------------------- copies


def test_an_interrupted_copy_continues_where_it_was(batch: Batch, tmp_path: Path) -> None:
    content = os.urandom(6 * MIB)
    found = _stored(batch, "big", content)
    with (
        cutting_proxy(batch.site.endpoint.url, [3 * MIB, 0, MIB]) as proxy,
        _objects_at(proxy.url, batch) as objects,
    ):
        objects.copy_down(found, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    assert len(proxy.ranges) == 4
    begins = [int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0 for asked in proxy.ranges]
    assert begins == sorted(begins)
    assert begins[0] == 0 < begins[1] <= 3 * MIB
    assert begins[1] == begins[2] < begins[3] <= 4 * MIB


def test_a_copy_of_an_earlier_process_is_gone_on_with(batch: Batch, tmp_path: Path) -> None:
    content = os.urandom(1000)
    found = _stored(batch, "small", content)
    (tmp_path / "copy").write_bytes(content[:700])
    came: list[int] = []
    batch.store.objects.copy_down(found, tmp_path / "copy", on_bytes=came.append)
    assert (tmp_path / "copy").read_bytes() == content
    assert came == [300]


@pytest.mark.parametrize("there", [b"", b"x" * 1001])
def test_an_empty_object_and_a_file_that_is_too_long(batch: Batch, tmp_path: Path, there: bytes) -> None:
    (tmp_path / "copy").write_bytes(there)
    for name, content in (("none", b""), ("some", os.urandom(1000))):
        batch.store.objects.copy_down(_stored(batch, name, content), tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == content


def test_a_copy_of_another_generation_is_refused(batch: Batch, tmp_path: Path) -> None:
    found = _stored(batch, "x", b"old")
    _stored(batch, "x", b"new")
    with pytest.raises(NotFoundError):
        batch.store.objects.copy_down(found, tmp_path / "copy")


def test_a_copy_to_where_nothing_can_be_written(batch: Batch, tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="cannot write below"):
        batch.store.objects.copy_down(_stored(batch, "x", b"1"), tmp_path / "none" / "copy")


def test_a_budget_without_progress_is_spent(batch: Batch, tmp_path: Path) -> None:
    found = _stored(batch, "x", b"123")
    with (
        cutting_proxy(batch.site.endpoint.url, [0] * 1000) as proxy,
        _objects_at(proxy.url, batch, retry_budget_s=4.0) as objects,
        pytest.raises(UnreachableError),
    ):
        objects.copy_down(found, tmp_path / "copy")
    assert 2 <= len(proxy.ranges) < 100


# ---------------------------------------------------------------- a cloud that falters


@pytest.mark.parametrize("fault", [{"kind": "http", "status": 503}, {"kind": "http", "status": 429}, {"kind": "drop"}])
def test_what_passes_is_tried_again(batch: Batch, tmp_path: Path, fault: dict[str, object]) -> None:
    batch.push("a")
    batch.site.fault(**fault, match=r"GET /storage/v1/b/[^/]+/o\?", times=2)
    (found,) = batch.store.result_sets(batch.name)
    batch.site.fault(**fault, match="GET .*manifest", times=2)
    assert len(batch.store.read_manifest(found).files) == 3
    batch.site.fault(**fault, match="GET .*results.tar.zst", times=2)
    batch.store.copy_archive(found, tmp_path / "archive", on_bytes=lambda count: None)
    batch.site.fault(**fault, match="DELETE", times=2)
    batch.store.delete(found)
    assert batch.objects() == []


def test_what_does_not_pass_is_not_tried_again(batch: Batch) -> None:
    batch.site.fault(kind="http", status=403, reason="forbidden", message="no", match=r"GET /storage/v1/b/[^/]+/o\?")
    with pytest.raises(CloudError, match="no"):
        batch.store.all_sets(batch.name)
    assert batch.store.all_sets(batch.name) == []


def test_a_bucket_that_is_not_there(batch: Batch) -> None:
    with storage_client(batch.site.endpoint) as client:
        store = ResultStore(lambda: client, "no-such-bucket")
        assert not store.exists()
        for ask in (store.batches, store.use, lambda: store.all_sets("b")):
            with pytest.raises(NotFoundError):
                ask()
    assert batch.store.exists()
