"""The folders behind disks and images. Copying is done in threads, so that the loop goes on serving."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runner.emulator.store import Document, Store

#: Public images by project: their root folders are made when they are first used.
PUBLIC_IMAGES = {
    "cloud-hpc-image-public": ("hpc-rocky-linux-8", "hpc-rocky-linux-8-v20260801"),
    "debian-cloud": ("debian-12", "debian-12-bookworm-v20260801"),
    "rocky-linux-cloud": ("rocky-linux-8-optimized-gcp", "rocky-linux-8-optimized-gcp-v20260801"),
}
PUBLIC_FAMILIES = frozenset(family for family, _ in PUBLIC_IMAGES.values())


@dataclass(frozen=True, kw_only=True)
class RootTools:
    """What is done to root folders, by whoever knows how (``machines.disks``)."""

    make_base: Callable[[Path, str], None]
    clone: Callable[[Path, Path], None]
    seal: Callable[[Path], None]
    remove: Callable[[Path], None]


class DiskRoots:
    """``<state>/disks/<id>/root`` and ``<state>/images/<id>/root``."""

    def __init__(self, state: Path, store: Store, tools: RootTools) -> None:
        self._state = state
        self._store = store
        self._tools = tools
        self._image_locks: dict[str, asyncio.Lock] = {}

    def of_disk(self, disk: Document) -> Path:
        return self._state / "disks" / str(disk["id"]) / "root"

    def of_image(self, image: Document) -> Path:
        return self._state / "images" / str(image["id"]) / "root"

    async def make_disk(self, disk: Document, image: Document | None) -> None:
        """A disk as a copy of its image, or empty. A half-made one from an earlier try is replaced."""
        target = self.of_disk(disk)
        await asyncio.to_thread(self._tools.remove, target.parent)
        if image is None:
            target.mkdir(parents=True)
            return
        source = await self._image_root(image)
        target.parent.mkdir(parents=True)
        await asyncio.to_thread(self._tools.clone, source, target)

    async def _image_root(self, image: Document) -> Path:
        source = self.of_image(image)
        async with self._image_locks.setdefault(image["id"], asyncio.Lock()):
            if not source.exists() and image.get("family") in PUBLIC_FAMILIES:
                await asyncio.to_thread(self._make_public, source, image["family"])
        return source

    def _make_public(self, target: Path, os_name: str) -> None:
        making = target.with_name("making")
        self._tools.remove(making)
        making.parent.mkdir(parents=True, exist_ok=True)
        self._tools.make_base(making, os_name)
        making.rename(target)
        self._tools.seal(target)

    async def make_image(self, image: Document, disk: Document) -> None:
        target = self.of_image(image)
        target.parent.mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(self._tools.clone, self.of_disk(disk), target)
        await asyncio.to_thread(self._tools.seal, target)

    async def copy_image(self, image: Document, source: Document) -> None:
        root = await self._image_root(source)
        target = self.of_image(image)
        target.parent.mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(self._tools.clone, root, target)

    async def remove_disk(self, disk: Document) -> None:
        await asyncio.to_thread(self._tools.remove, self.of_disk(disk).parent)

    async def remove_image(self, image: Document) -> None:
        await asyncio.to_thread(self._tools.remove, self.of_image(image).parent)
