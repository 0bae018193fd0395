"""The folders behind disks and images, when one is deleted while it is copied or created."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from runner.emulator.compute.disk_roots import DiskRoots
from runner.emulator.compute.operation_records import gone
from runner.emulator.state.store import Document, Store
from tests.emulator.conftest import LIMIT_S, TOOLS, clone

DISK, IMAGE = "projects/p/zones/z/disks/d", "projects/p/global/images/i"


class SlowCopies:
    """``clone`` waits for ``go_on``, then copies."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.has_begun = threading.Event()

    def clone(self, source: Path, target: Path) -> None:
        self.has_begun.set()
        assert self.go_on.wait(LIMIT_S)
        clone(source, target)


class Place:
    """A disk and its image, both in the store; the image has a folder, the disk has none yet."""

    def __init__(self, state: Path) -> None:
        self.copies = SlowCopies()
        self.store = Store(state / "cloud.sqlite")
        self.store.put(IMAGE, {"id": "1", "status": "READY"})
        self.store.put(DISK, {"id": "2", "status": "CREATING", "sourceImage": IMAGE})
        self.roots = DiskRoots(state, self.store, replace(TOOLS, clone=self.copies.clone))
        self.image_root = self.roots.of_image(self.document(IMAGE))
        self.disk_root = self.roots.of_disk(self.document(DISK))
        self.image_root.mkdir(parents=True)
        (self.image_root / "file").write_text("content")

    def document(self, key: str) -> Document:
        found = self.store.get(key)
        assert found is not None
        return found

    async def delete_while_disk_is_made(self, key: str, remove: Callable[[Document], Awaitable[None]]) -> object:
        """Delete ``key`` while the disk is created; return the failure of the creation."""
        making = asyncio.create_task(self.roots.make_disk(DISK))
        await asyncio.to_thread(self.copies.has_begun.wait, LIMIT_S)
        document = self.document(key)
        self.store.delete(key)
        removing = asyncio.ensure_future(remove(document))
        await asyncio.sleep(0)
        self.copies.go_on.set()
        failure, _ = await asyncio.gather(making, removing)
        return failure


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_an_image_that_is_deleted_while_it_is_copied_is_removed_after_that(place: Place) -> None:
    assert asyncio.run(place.delete_while_disk_is_made(IMAGE, place.roots.remove_image)) is None
    assert (place.disk_root / "file").read_text() == "content"
    assert not place.image_root.exists()
    assert place.document(DISK)["status"] == "READY"


def test_a_disk_that_is_deleted_during_its_creation_does_not_reappear(place: Place) -> None:
    assert asyncio.run(place.delete_while_disk_is_made(DISK, place.roots.remove_disk)) == gone(DISK)
    assert not place.disk_root.exists()
    assert place.store.get(DISK) is None


@pytest.mark.parametrize("key", [IMAGE, DISK])
def test_a_resource_that_is_gone_before_the_work_begins_is_a_failure(place: Place, key: str) -> None:
    place.copies.go_on.set()
    place.store.delete(key)
    assert asyncio.run(place.roots.make_disk(DISK)) == gone(key)
    assert asyncio.run(place.roots.make_image(IMAGE, DISK)) == gone(key)
