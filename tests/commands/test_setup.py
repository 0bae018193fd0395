"""``invoke setup``: what becomes of a settings file that is there, and of a stack base that is there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runner.commands import setup
from runner.context import Cloud, Context
from runner.errors import DeclinedError, InputError
from runner.model.settings import IAP_RANGE, read_settings
from tests.support.small_cloud import SmallCompute, small_context
from tests.support.stack_of_base import Person, StackOfBase

FILE = Path("settings.yaml")
STATE = "gs://my-project-opensees-hpc-state"
OLD_ADDRESS, NEW_ADDRESS = "198.51.100.7/32", "203.0.113.9/32"
FIRST = {"project": "my-project", "operator": "me@example.org", "ssh_source_ranges": [OLD_ADDRESS]}
BEFORE = f"""# mine
target: google
project: my-project
operator: me@example.org
region: us-central1
zones: [us-central1-f]
ssh_source_ranges: [{OLD_ADDRESS}]
budget_usd: 5.00
"""


@dataclass(kw_only=True)
class SmallProject:
    """A project on Google Cloud: its bucket for states, and perhaps the stack base."""

    stack: StackOfBase = field(default_factory=StackOfBase)
    buckets_there: set[str] = field(default_factory=set)

    def context(self, folder: Path, text: str) -> Context:
        buckets = SimpleNamespace(
            exists=lambda name: name in self.buckets_there,
            make_state_bucket=lambda name, region: self.buckets_there.add(name),
        )
        cloud = SimpleNamespace(
            open=lambda: None,
            buckets=buckets,
            pulumi_environment=lambda: {"PULUMI_BACKEND_URL": STATE},
            stacks=self.stack,
            results=SimpleNamespace(exists=lambda: True),
        )
        context = small_context(folder, SmallCompute())
        return replace(context, settings=read_settings(text, FILE, {}), cloud=cast(Cloud, cloud))

    def set_up(self, folder: Path, person: Person, **typed: Any) -> str:
        file = folder / "settings.yaml"
        before = file.read_text() if file.exists() else ""
        text = setup.merge_settings(before, file, typed).text
        context = self.context(folder, text).with_listener(person.listener)
        return setup.execute(context, file=file, text=text)


def test_the_first_settings_are_what_was_typed() -> None:
    merged = setup.merge_settings("", FILE, FIRST | {"region": ""})
    settings = read_settings(merged.text, FILE, {})
    assert (settings.target, settings.project, settings.region) == ("google", "my-project", "europe-west4")
    assert merged.kept == ()


def test_what_was_not_typed_stays() -> None:
    typed = {"project": "", "operator": "", "region": "", "ssh_source_ranges": [NEW_ADDRESS]}
    merged = setup.merge_settings(BEFORE, FILE, typed)
    before, after = read_settings(BEFORE, FILE, {}), read_settings(merged.text, FILE, {})
    assert after == before.model_copy(update={"ssh_source_ranges": [NEW_ADDRESS]})
    assert merged.kept == ("project", "operator", "region", "zones", "budget_usd")


def test_settings_for_the_embedded_cloud_become_settings_for_google() -> None:
    merged = setup.merge_settings("target: local\nlease_s: 60\n", FILE, FIRST)
    settings = read_settings(merged.text, FILE, {})
    assert (settings.target, settings.lease_s, merged.kept) == ("google", 60, ("lease_s",))


@pytest.mark.parametrize(
    ("before", "typed", "words"),
    [
        ("", {"project": "my-project", "operator": ""}, "has no operator yet"),
        ("", {}, "has no project and no operator yet"),
        ("- a\n", FIRST, "settings are a mapping"),
        ("budjet: 5\n", FIRST, "unknown key 'budjet'"),
        (BEFORE, {"region": "europe-west1"}, "zone us-central1-f is not in region europe-west1"),
        (BEFORE, {"ssh_source_ranges": ["here"]}, "ssh_source_ranges"),
    ],
)
def test_settings_that_would_be_wrong_are_refused(before: str, typed: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        setup.merge_settings(before, FILE, typed)


def test_a_new_project_gets_its_bucket_and_its_file(tmp_path: Path) -> None:
    project, person = SmallProject(), Person()
    assert project.set_up(tmp_path, person, **FIRST) == STATE
    assert project.buckets_there == {"my-project-opensees-hpc-state"}
    assert read_settings((tmp_path / "settings.yaml").read_text(), FILE, {}).ssh_source_ranges == [OLD_ADDRESS]
    assert project.stack.ups == []


@pytest.mark.parametrize("ranges", [[], [IAP_RANGE]])
@pytest.mark.parametrize("has_state", [False, True])
def test_without_an_address_that_reaches_vms_nothing_is_created(
    tmp_path: Path, ranges: list[str], has_state: bool
) -> None:
    there = {"my-project-opensees-hpc-state"} if has_state else set()
    project, person = SmallProject(buckets_there=set(there)), Person()
    with pytest.raises(InputError, match="no address may reach the VMs"):
        project.set_up(tmp_path, person, **FIRST | {"ssh_source_ranges": ranges})
    assert (project.buckets_there, person.asked) == (there, [])
    assert not (tmp_path / "settings.yaml").exists()


def test_a_new_address_is_added_to_the_existing_base(tmp_path: Path) -> None:
    project, person = SmallProject(), Person()
    project.set_up(tmp_path, person, **FIRST)
    known = {"owner": "me", "ssh_ranges": [OLD_ADDRESS], "operators": ["user:me@example.org"]}
    project.stack.now = {"region": "europe-west4", "settings": known}
    project.set_up(tmp_path, person, ssh_source_ranges=[NEW_ADDRESS])
    assert project.stack.ups == [known | {"ssh_ranges": [OLD_ADDRESS, NEW_ADDRESS]}]


def test_declining_to_change_the_base_keeps_the_old_settings(tmp_path: Path) -> None:
    project = SmallProject()
    project.set_up(tmp_path, Person(), **FIRST)
    before = (tmp_path / "settings.yaml").read_text()
    project.stack.now = {"region": "europe-west4", "settings": {"owner": "me", "ssh_ranges": [OLD_ADDRESS]}}
    with pytest.raises(DeclinedError):
        project.set_up(tmp_path, Person(answer=False), ssh_source_ranges=[NEW_ADDRESS])
    with pytest.raises(InputError, match="region europe-west4"):
        project.set_up(tmp_path, Person(), region="us-central1")
    assert (tmp_path / "settings.yaml").read_text() == before
