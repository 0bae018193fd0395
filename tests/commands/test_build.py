"""Which image a batch gets: the newest, unless it lacks what this version counts on."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runner.commands.build import archive_folder, ensure_image
from runner.context import Cloud, Context
from runner.errors import BuildError, DeclinedError
from runner.google.compute import Image
from runner.model import names
from runner.model.events import Event, Listener
from runner.model.settings import Settings
from tests.support.small_cloud import SmallCompute, small_context

NOW: Mapping[str, str] = {names.IMAGE_FORMAT_LABEL: str(names.IMAGE_FORMAT)}


def _image(name: str, labels: Mapping[str, str]) -> Image:
    return Image(
        name=name,
        family=names.IMAGE_FAMILY,
        status="READY",
        created="",
        size_gib=1.0,
        disk_gib=10,
        labels=labels,
        deprecated=False,
    )


@dataclass(kw_only=True)
class Desk:
    """A cloud with images, and a bake that adds one."""

    folder: Path
    images: list[Image] = field(default_factory=list)
    is_local: bool = True
    labels_of_bake: Mapping[str, str] = field(default_factory=lambda: NOW)
    events: list[Event] = field(default_factory=list)

    def context(self) -> Context:
        settings = (
            Settings() if self.is_local else Settings(target="google", project="a-project", operator="me@example.org")
        )
        compute = SimpleNamespace(newest_image=lambda family: self.images[-1] if self.images else None)
        cloud = cast(Cloud, SimpleNamespace(compute=compute))
        return replace(small_context(self.folder, SmallCompute()), settings=settings, cloud=cloud)

    def ensure(self, *, agrees: bool = False) -> str:
        listener = Listener(on_progress=self.events.append, on_confirm=lambda question: agrees)
        return ensure_image(self.context().with_listener(listener), make=self.bake).name

    def bake(self, *_: Any, **__: Any) -> None:
        self.images.append(_image("new", self.labels_of_bake))

    def warnings(self) -> list[str]:
        return [event.facts["message"] for event in self.events if event.event == "warning"]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(folder=tmp_path)


def test_newest_image_is_taken(desk: Desk) -> None:
    desk.images = [_image("old", {}), _image("newest", NOW)]
    assert desk.ensure() == "newest"
    desk.images.append(_image("of-a-later-version", {names.IMAGE_FORMAT_LABEL: str(names.IMAGE_FORMAT + 1)}))
    assert desk.ensure() == "of-a-later-version"


@pytest.mark.parametrize("labels", [{}, {names.IMAGE_FORMAT_LABEL: "1"}, {names.IMAGE_FORMAT_LABEL: "x"}])
def test_image_without_a_watchdog_is_baked_anew(desk: Desk, labels: Mapping[str, str]) -> None:
    desk.images = [_image("old", labels)]
    assert desk.ensure() == "new"
    (warning,) = desk.warnings()
    assert warning.startswith("the image old was baked by an older version")


def test_on_google_a_bake_is_asked_for(desk: Desk) -> None:
    desk.is_local, desk.images = False, [_image("old", {})]
    with pytest.raises(DeclinedError):
        desk.ensure()
    assert desk.ensure(agrees=True) == "new"


def test_image_that_is_not_what_was_baked_is_an_error(desk: Desk) -> None:
    desk.labels_of_bake = {}
    with pytest.raises(BuildError):
        desk.ensure()


def test_scripts_that_cannot_be_read_are_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"cannot be read: .*gone: No such file") as caught:
        archive_folder(tmp_path / "gone")
    assert "clone the repository again" in caught.value.remedy


def test_scripts_go_to_the_builder_readable_for_everybody(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    for path, mode in (("files/script", 0o700), ("files/data", 0o600), ("files", 0o700)):
        (tmp_path / path).touch()
        (tmp_path / path).chmod(mode)
    with tarfile.open(fileobj=io.BytesIO(archive_folder(tmp_path))) as tar:
        modes = {member.name: member.mode for member in tar}
    assert modes == {".": 0o755, "./files": 0o755, "./files/script": 0o755, "./files/data": 0o644}
