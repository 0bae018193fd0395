"""Which image a batch gets: the newest, unless it lacks what this version counts on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest

from runner.bake.image import ensure_image
from runner.context import Context
from runner.errors import BuildError, DeclinedError
from runner.google import GONE_ALREADY
from runner.google.compute import Image, Instance
from runner.inventory.inventory import Findings
from runner.model import names
from runner.model.events import Event, Listener
from runner.model.settings import Settings
from runner.stacks.contract import EngineLimit, OnProgress, StackSpec
from tests.support.small_cloud import LOGIN, SmallCompute, instance, small_context

GOOGLE = {
    "target": "google",
    "project": "a-project",
    "operator": "me@example.org",
    "ssh_source_ranges": ["198.51.100.7/32"],
}
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


class BuilderConnection:
    """A builder on which every script succeeds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def run_script(self, *_: str, stdin: bytes) -> Any:
        return SimpleNamespace(exit_code=0)

    def run(self, words: Sequence[str], *, on_output: Callable[[int, bytes], None] | None = None, **_: Any) -> Any:
        if on_output is not None:
            on_output(1, b'{"opensees": "3.7.1"}\n')
        return SimpleNamespace(exit_code=0, text="4\n")


class BakeCompute(SmallCompute):
    """Compute with a builder that is there when it is asked for, and nothing else."""

    def instance(self, zone: str, name: str) -> Instance | None:
        return instance(name)

    def images(self, family: str) -> list[Image]:
        return []

    def look_up(self, *_: str) -> None:
        return None

    def operations_on(self, *_: str) -> list[Any]:
        return []


@dataclass(kw_only=True)
class ImageCloud:
    """A cloud with images, and an engine that adds one."""

    folder: Path
    images: list[Image] = field(default_factory=list)
    is_local: bool = True
    labels_of_bake: Mapping[str, str] = field(default_factory=lambda: NOW)
    events: list[Event] = field(default_factory=list)

    def context(self) -> Context:
        compute: Any = BakeCompute()
        compute.newest_image = lambda family: self.images[-1] if self.images else None
        (self.folder / "packer").mkdir(exist_ok=True)
        context = small_context(
            self.folder,
            compute,
            logins=SimpleNamespace(import_key=lambda: LOGIN),
            connect=lambda instance, login, keys: BuilderConnection(),
            inventory=SimpleNamespace(find=lambda kinds, labels: Findings(items=()), remove=lambda item: GONE_ALREADY),
        )
        cast(Any, context.cloud).stacks = self
        return context if self.is_local else replace(context, settings=Settings.model_validate(GOOGLE))

    def outputs(self, project: str, name: str) -> None:
        return None

    def up(self, spec: StackSpec, on_progress: OnProgress) -> Mapping[str, object]:
        if f"{names.CONFIG_NAMESPACE}:image_name" in spec.config:
            self.images.append(_image("new", self.labels_of_bake))
        return {"disk_id": "disk"}

    def destroy(self, project: str, name: str, on_progress: OnProgress, *, limit: EngineLimit) -> None:
        return None

    def remove(self, project: str, name: str) -> None:
        return None

    def ensure(self, *, agrees: bool = False) -> str:
        listener = Listener(on_progress=self.events.append, on_confirm=lambda question: agrees)
        return ensure_image(self.context().with_listener(listener)).name

    def warnings(self) -> list[str]:
        return [event.as_json()["message"] for event in self.events if event.kind == "warning"]


@pytest.fixture
def cloud(tmp_path: Path) -> ImageCloud:
    return ImageCloud(folder=tmp_path)


def test_the_newest_image_is_used(cloud: ImageCloud) -> None:
    cloud.images = [_image("old", {}), _image("newest", NOW)]
    assert cloud.ensure() == "newest"
    cloud.images.append(_image("of-a-later-version", {names.IMAGE_FORMAT_LABEL: str(names.IMAGE_FORMAT + 1)}))
    assert cloud.ensure() == "of-a-later-version"


@pytest.mark.parametrize("labels", [{}, {names.IMAGE_FORMAT_LABEL: "1"}, {names.IMAGE_FORMAT_LABEL: "x"}])
def test_an_image_without_a_watchdog_is_replaced(cloud: ImageCloud, labels: Mapping[str, str]) -> None:
    cloud.images = [_image("old", labels)]
    assert cloud.ensure() == "new"
    (warning,) = cloud.warnings()
    assert warning.startswith("the image old was baked by an older version")


def test_on_google_a_bake_needs_confirmation(cloud: ImageCloud) -> None:
    cloud.is_local, cloud.images = False, [_image("old", {})]
    with pytest.raises(DeclinedError):
        cloud.ensure()
    assert cloud.ensure(agrees=True) == "new"


def test_an_image_other_than_the_baked_one_is_an_error(cloud: ImageCloud) -> None:
    cloud.labels_of_bake = {}
    with pytest.raises(BuildError):
        cloud.ensure()
