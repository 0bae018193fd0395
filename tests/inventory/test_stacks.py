"""The stacks as part of the inventory, where their state is in a bucket and this computer has created only some of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from runner.errors import HpcError, MissingToolError, NotFoundError
from runner.inventory.inventory import CloudInventory
from runner.inventory.stacks import RememberedStacks
from runner.model import names
from runner.model.leftover import SETTINGS_ONLY, Kind
from runner.stacks.contract import ProjectName, Stacks
from runner.stacks.records import StackRecords

ALL = {"app": names.APP}


class FakeEngine:
    """The names of stacks by project, as the state in the bucket has them."""

    def __init__(self, **stacks: list[str]) -> None:
        self.stacks = stacks
        self.asked: list[str] = []

    def names(self, project: ProjectName) -> list[str]:
        self.asked.append(project)
        return self.stacks.get(project, [])

    def remove(self, project: ProjectName, name: str, *, force: bool = False) -> None:
        assert force
        self.stacks[project].remove(name)


def make_inventory(folder: Path, engine: Callable[[], object], backend_url: str = "gs://state") -> CloudInventory:
    (folder / "work" / "analysis").mkdir(parents=True)
    settings = "config:\n  opensees-hpc:owner: me\n  opensees-hpc:expires: 20261122-1100\n"
    (folder / "work" / "analysis" / "Pulumi.mine.yaml").write_text(settings)
    records = StackRecords(infra=folder / "infra", work=folder / "work", backend_url=backend_url)
    return CloudInventory([RememberedStacks(records, cast(Callable[[], Stacks], engine), "me")])


def test_stacks_of_other_computers_are_seen_and_forgotten(tmp_path: Path) -> None:
    engine = FakeEngine(analysis=["mine", "theirs"], image=["bake-1"], base=["base"])
    inventory = make_inventory(tmp_path, lambda: engine)
    found = inventory.find([Kind.STACK], ALL)
    assert {(item.name, item.purpose, item.owner) for item in found.items} == {
        ("mine", "mine", "me"),
        ("theirs", "theirs", ""),
        ("bake-1", "bake-1", ""),
        ("base", "", ""),
    }
    for item in found.items:
        assert inventory.remove(item) == "removed by the engine"
    assert inventory.find([Kind.STACK], ALL).items == ()


@pytest.mark.parametrize(
    ("labels", "asked"),
    [
        (names.labels_of_batch("b1"), ["analysis"]),
        (names.labels_of_bake("bake-1"), ["image"]),
        (ALL, ["analysis", "image", "base"]),
    ],
)
def test_only_the_projects_in_question_are_asked_for(tmp_path: Path, labels: dict[str, str], asked: list[str]) -> None:
    engine = FakeEngine()
    make_inventory(tmp_path, lambda: engine).find([Kind.STACK], labels)
    assert engine.asked == asked


@pytest.mark.parametrize("backend", ["a bucket", "a folder"])
def test_a_settings_file_is_not_taken_for_a_stack(tmp_path: Path, backend: str) -> None:
    """As a client leaves it that learned, before its engine started, that another client has the batch."""
    url = "gs://state" if backend == "a bucket" else f"file://{tmp_path}"
    engine = FakeEngine(analysis=["theirs"])
    inventory = make_inventory(tmp_path, lambda: engine, url)
    folder = tmp_path / ".pulumi" / "stacks" / names.PULUMI_PROJECTS["analysis"]
    folder.mkdir(parents=True)
    (folder / "theirs.json").write_text("{}")

    def states() -> dict[str, str]:
        return {item.name: item.state for item in inventory.find([Kind.STACK], names.labels_of_batch("mine")).items}

    assert states() == {"mine": SETTINGS_ONLY, "theirs": ""}
    engine.stacks["analysis"].append("mine")
    (folder / "mine.json.gz").write_bytes(b"")
    assert states() == {"mine": "", "theirs": ""}


def failing(error: HpcError) -> Callable[[], object]:
    def fail() -> object:
        raise error

    return fail


def test_an_engine_that_does_not_answer_is_not_a_clean_inventory(tmp_path: Path) -> None:
    found = make_inventory(tmp_path, failing(MissingToolError("there is no Pulumi CLI"))).find([Kind.STACK], ALL)
    assert tuple(map(str, found.unread)) == ("stack: there is no Pulumi CLI",)


def test_without_a_bucket_for_the_state_nobody_has_stacks(tmp_path: Path) -> None:
    found = make_inventory(tmp_path, failing(NotFoundError("no bucket"))).find([Kind.STACK], ALL)
    assert ([item.name for item in found.items], found.unread) == (["mine"], ())


def test_a_state_in_a_folder_needs_no_engine(tmp_path: Path) -> None:
    engine = failing(MissingToolError("there is no Pulumi CLI"))
    found = make_inventory(tmp_path, engine, f"file://{tmp_path}").find([Kind.STACK], ALL)
    assert ([item.name for item in found.items], found.unread) == (["mine"], ())
