"""When the stack ``base`` is created and changed, and what each user's settings add to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import requests

from runner.base.stack import ensure_base
from runner.context import Cloud, Context
from runner.errors import DeclinedError, InputError
from runner.model import names
from runner.model.settings import IAP_RANGE, Settings
from tests.support.command_site import CommandSite
from tests.support.small_cloud import SmallCompute, small_context
from tests.support.stack_of_base import Person, StackOfBase, outputs_of_base

HOME, OFFICE = "198.51.100.7/32", "203.0.113.0/24"
GOOGLE = {"target": "google", "project": "my-project", "operator": "me@example.org", "ssh_source_ranges": [HOME]}
MINE = {"owner": "me", "ssh_ranges": [HOME], "operators": ["user:me@example.org"]}


def context_of(folder: Path, stack: StackOfBase, **settings: Any) -> Context:
    context = small_context(folder, SmallCompute())
    cloud = SimpleNamespace(stacks=stack, results=SimpleNamespace(exists=lambda: stack.now is not None))
    return replace(context, settings=Settings.model_validate(GOOGLE | settings), cloud=cast(Cloud, cloud))


def base_with(**settings: Any) -> StackOfBase:
    return StackOfBase(now=outputs_of_base(settings=settings))


def test_a_base_is_created_after_asking_and_then_left_alone(tmp_path: Path) -> None:
    stack, person = StackOfBase(), Person()
    context = context_of(tmp_path, stack)
    base = ensure_base(context.with_listener(person.listener))
    assert ensure_base(context.with_listener(person.listener)) == base
    assert ensure_base(context.with_listener(person.listener), base) == base
    assert stack.ups == [MINE]
    assert ["Create them?" in question for question in person.asked] == [True]


def test_declining_changes_nothing(tmp_path: Path) -> None:
    for stack in (StackOfBase(), base_with(**MINE | {"ssh_ranges": [OFFICE]})):
        with pytest.raises(DeclinedError):
            ensure_base(context_of(tmp_path, stack).with_listener(Person(answer=False).listener))
        assert stack.ups == []


@pytest.mark.parametrize("ranges", [[], [IAP_RANGE], ["35.235.241.7/32"]])
def test_a_base_with_unreachable_vms_is_not_created(tmp_path: Path, ranges: list[str]) -> None:
    stack, person = StackOfBase(), Person()
    with pytest.raises(InputError, match="no address may reach the VMs by SSH") as caught:
        ensure_base(context_of(tmp_path, stack, ssh_source_ranges=ranges).with_listener(person.listener))
    assert "--ssh-from" in caught.value.remedy
    assert (stack.ups, person.asked) == ([], [])


def test_a_base_that_others_keep_reachable_is_accepted(tmp_path: Path) -> None:
    stack = base_with(**MINE | {"ssh_ranges": [OFFICE]})
    ensure_base(context_of(tmp_path, stack, ssh_source_ranges=[]).with_listener(Person(answer=False).listener))
    assert stack.ups == []


def test_the_embedded_cloud_needs_no_ranges_and_asks_nothing(tmp_path: Path) -> None:
    stack, person = StackOfBase(), Person(answer=False)
    ensure_base(context_of(tmp_path, stack, target="local", ssh_source_ranges=[]).with_listener(person.listener))
    assert (stack.ups, person.asked) == ([{"owner": "me"}], [])


def test_a_new_address_is_admitted_beside_the_old_ones(tmp_path: Path) -> None:
    stack, person = base_with(**MINE | {"ssh_ranges": [OFFICE]}), Person()
    context = context_of(tmp_path, stack)
    ensure_base(context.with_listener(person.listener), stack.now)
    ensure_base(context.with_listener(person.listener), stack.now)
    assert stack.ups == [MINE | {"ssh_ranges": [OFFICE, HOME]}]
    assert person.asked == [f"Allow SSH from {HOME} to VMs in project my-project?"]


def test_an_address_within_an_admitted_range_changes_nothing(tmp_path: Path) -> None:
    stack = base_with(**MINE | {"ssh_ranges": [OFFICE]})
    ensure_base(
        context_of(tmp_path, stack, ssh_source_ranges=["203.0.113.9"]).with_listener(Person(answer=False).listener)
    )
    assert stack.ups == []


def test_a_second_operator_is_admitted_and_changes_nothing_else(tmp_path: Path) -> None:
    more = {"results_days": "9", "external_ips": "false"}
    stack = base_with(**MINE, **more)
    ensure_base(context_of(tmp_path, stack, operator="you@example.org").with_listener(Person().listener))
    assert stack.ups == [MINE | more | {"operators": ["user:me@example.org", "user:you@example.org"]}]


def test_members_of_a_group_are_not_added(tmp_path: Path) -> None:
    stack = base_with(**MINE | {"operators": ["group:all@example.org"]})
    ensure_base(context_of(tmp_path, stack).with_listener(Person(answer=False).listener))
    assert stack.ups == []


def test_a_default_tunnel_stays(tmp_path: Path) -> None:
    stack = base_with(owner="me", operators=["user:me@example.org"])
    ensure_base(context_of(tmp_path, stack).with_listener(Person().listener))
    assert stack.ups == [MINE | {"ssh_ranges": [IAP_RANGE, HOME]}]


def test_a_base_without_recorded_settings_is_updated_once(tmp_path: Path) -> None:
    stack, person = StackOfBase(now=outputs_of_base()), Person()
    for _ in range(2):
        ensure_base(context_of(tmp_path, stack).with_listener(person.listener), stack.now)
    assert stack.ups == [MINE]
    assert len(person.asked) == 1


def test_a_base_with_an_old_self_delete_condition_is_updated_once(tmp_path: Path) -> None:
    older = outputs_of_base(settings=MINE)
    del older["self_delete_condition"]
    stack, person = StackOfBase(now=older), Person()
    for _ in range(2):
        ensure_base(context_of(tmp_path, stack).with_listener(person.listener), stack.now)
    assert stack.ups == [MINE]
    assert ["older version" in question for question in person.asked] == [True]


def test_what_another_command_changed_meanwhile_is_not_changed_again(tmp_path: Path) -> None:
    stack = base_with(**MINE)
    old = {"region": "europe-west4", "settings": MINE | {"ssh_ranges": [OFFICE]}}
    assert ensure_base(context_of(tmp_path, stack).with_listener(Person(answer=False).listener), old) == stack.now


def test_another_region_is_refused(tmp_path: Path) -> None:
    stack, person = base_with(**MINE), Person()
    with pytest.raises(InputError, match=r"are in region europe-west4; the settings say us-central1") as caught:
        ensure_base(context_of(tmp_path, stack, region="us-central1").with_listener(person.listener), stack.now)
    assert "europe-west4" in caught.value.remedy
    assert (stack.ups, person.asked) == ([], [])


def test_the_engine_admits_a_new_address(site: CommandSite) -> None:
    first = site.context()
    first.cloud.open()
    base = ensure_base(first)
    assert base["settings"] == {"owner": "you"}
    moved = site.context(OPENSEES_HPC_SSH_SOURCE_RANGES=HOME)
    moved.cloud.open()
    assert ensure_base(moved, base)["settings"] == {"owner": "you", "ssh_ranges": [IAP_RANGE, HOME]}
    endpoint = site.start_cloud()
    link = f"{endpoint.url}/compute/v1/projects/{endpoint.project}/global/firewalls/{names.SSH_FIREWALL}"
    assert set(requests.get(link, headers=endpoint.headers, timeout=60).json()["sourceRanges"]) == {IAP_RANGE, HOME}
    assert ensure_base(first) == ensure_base(moved)


def test_the_role_has_the_id_of_the_settings_until_it_is_created(tmp_path: Path) -> None:
    other = {"self_delete_role_id": "other"}
    half_made = StackOfBase(now={"region": "europe-west4", "settings": MINE})
    for stack in (StackOfBase(), half_made):
        person = Person()
        context = context_of(tmp_path, stack, **other)
        base = ensure_base(context.with_listener(person.listener))
        assert stack.ups == [MINE | other]
        assert ["Create them?" in question for question in person.asked] == [True]
        assert ensure_base(context_of(tmp_path, stack).with_listener(Person(answer=False).listener)) == base
    whole = base_with(**MINE)
    ensure_base(context_of(tmp_path, whole, **other).with_listener(Person(answer=False).listener))
    assert whole.ups == []
