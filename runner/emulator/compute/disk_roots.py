"""The folders behind disks and images. Threads do the copying, so that the event loop stays responsive."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from runner.emulator.compute.operation_records import Failure, gone
from runner.emulator.state import Document, Store
from runner.emulator.wire import relative
from runner.system.files import make_private_folder

#: Public images by project: their root folders are created when they are first used.
PUBLIC_IMAGES = {
    "cloud-hpc-image-public": ("hpc-rocky-linux-8", "hpc-rocky-linux-8-v20260801"),
    "debian-cloud": ("debian-12", "debian-12-bookworm-v20260801"),
    "rocky-linux-cloud": ("rocky-linux-8-optimized-gcp", "rocky-linux-8-optimized-gcp-v20260801"),
}
PUBLIC_FAMILIES = frozenset(family for family, _ in PUBLIC_IMAGES.values())


@dataclass(frozen=True, kw_only=True)
class RootTools:
    """The operations on root folders (implemented by ``machines.disks``)."""

    make_base: Callable[[Path, str], None]
    clone: Callable[[Path, Path], None]
    copy_image: Callable[[Path, Path], None]
    seal: Callable[[Path], None]
    remove: Callable[[Path], None]


class DiskRoots:
    """``<state>/disks/<id>/root`` and ``<state>/images/<id>/root``. Removing a root waits until its copying or creation is done."""

    def __init__(self, state: Path, store: Store, tools: RootTools) -> None:
        self._state = state
        self._store = store
        self._tools = tools
        self._image_locks: dict[str, asyncio.Lock] = {}
        self._users: Counter[Path] = Counter()
        self._left = asyncio.Condition()

    def of_disk(self, disk: Document) -> Path:
        return self._state / "disks" / str(disk["id"]) / "root"

    def of_image(self, image: Document) -> Path:
        return self._state / "images" / str(image["id"]) / "root"

    async def make_disk(self, key: str) -> Failure | None:
        """Create a disk as a copy of its image, or empty, and mark it READY. Replace an incomplete one of an earlier attempt."""
        disk = self._store.get(key)
        if disk is None:
            return gone(key)
        source_key = relative(disk.get("sourceImage", ""))
        image = self._store.get(source_key)
        if source_key and image is None:
            return gone(source_key)
        async with self._using(self.of_disk(disk)) as target:
            await asyncio.to_thread(self._tools.remove, target.parent)
            make_private_folder(target.parent)  # but not its contents, whose modes are as on a disk of Google's
            if image is None:
                target.mkdir()
            else:
                await self._copy(image, target, self._tools.clone)
        return self._declare_ready(key)

    async def make_image(self, key: str, source_key: str) -> Failure | None:
        """Create an image from a disk or from another image, and mark it READY."""
        image, source = self._store.get(key), self._store.get(source_key)
        if image is None or source is None:
            return gone(key if image is None else source_key)
        async with self._using(self.of_image(image)) as target:
            make_private_folder(target.parent)
            if "/disks/" in source_key:
                async with self._using(self.of_disk(source)) as root:
                    await asyncio.to_thread(self._tools.clone, root, target)
            else:
                await self._copy(source, target, self._tools.copy_image)
            await asyncio.to_thread(self._tools.seal, target)
        return self._declare_ready(key)

    def _declare_ready(self, key: str) -> Failure | None:
        if self._store.get(key) is None:  # deleted meanwhile
            return gone(key)
        with self._store.edit(key) as document:
            document["status"] = "READY"
        return None

    async def _copy(self, image: Document, target: Path, tool: Callable[[Path, Path], None]) -> None:
        async with self._using(self.of_image(image)) as source:
            await self._make_if_public(image)
            await asyncio.to_thread(tool, source, target)

    async def _make_if_public(self, image: Document) -> None:
        source = self.of_image(image)
        async with self._image_locks.setdefault(image["id"], asyncio.Lock()):
            if not source.exists() and image.get("family") in PUBLIC_FAMILIES:
                await asyncio.to_thread(self._make_public, source, image["family"])

    def _make_public(self, target: Path, os_name: str) -> None:
        making = target.with_name("making")
        self._tools.remove(making)
        make_private_folder(making.parent)
        self._tools.make_base(making, os_name)
        making.rename(target)
        self._tools.seal(target)

    async def remove_disk(self, disk: Document) -> None:
        await self._remove(self.of_disk(disk))

    async def remove_image(self, image: Document) -> None:
        await self._remove(self.of_image(image))

    @contextlib.asynccontextmanager
    async def _using(self, root: Path) -> AsyncIterator[Path]:
        """Delay the removal of ``root`` until the block is left."""
        self._users[root] += 1
        try:
            yield root
        finally:
            self._users[root] -= 1
            async with self._left:
                self._left.notify_all()

    async def _remove(self, root: Path) -> None:
        async with self._left:
            await self._left.wait_for(lambda: not self._users[root])
        await asyncio.to_thread(self._tools.remove, root.parent)
