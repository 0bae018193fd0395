"""Inputs are checked like in the stock plugin."""

from __future__ import annotations

from typing import Any

import pytest

from runner.emulator.provider.check import DEFAULTS, Naming, check_inputs
from runner.emulator.provider.registry import TYPES, find_function, find_type
from runner.emulator.provider.resource import ProviderError, ResourceType
from runner.emulator.provider.values import UNKNOWN, Properties

INSTANCE = TYPES["gcp:compute/instance:Instance"]
NETWORK = TYPES["gcp:compute/network:Network"]
FIREWALL = TYPES["gcp:compute/firewall:Firewall"]
VM: Properties = {
    "name": "vm",
    "machineType": "c2-standard-4",
    "bootDisk": {"initializeParams": {"image": "family/x"}},
    "networkInterfaces": [{}],
}


def check(
    kind: ResourceType, news: Properties, olds: Properties | None = None, **naming: Any
) -> tuple[Properties, list[str]]:
    return check_inputs(kind, olds or {}, news, Naming(logical_name="thing", **naming))


def problems_of(kind: ResourceType, news: Properties) -> list[str]:
    return check(kind, news)[1]


def test_defaults_are_filled_in_and_named_at_every_depth() -> None:
    inputs, problems = check(INSTANCE, VM | {"scheduling": {"preemptible": True}})
    assert problems == []
    assert inputs["bootDisk"]["autoDelete"] is True
    assert set(inputs["bootDisk"][DEFAULTS]) == {"autoDelete", "mode"}
    assert inputs["scheduling"]["automaticRestart"] is True
    assert "deletionProtection" in inputs[DEFAULTS]
    assert "name" not in inputs[DEFAULTS]


def test_an_unknown_key_is_rejected_with_the_nearest_one() -> None:
    (problem,) = problems_of(INSTANCE, VM | {"machinetype": "x"})
    assert "Invalid or unknown key" in problem
    assert "'thing.machinetype'" in problem
    assert "Did you mean 'machineType'?" in problem


def test_an_unknown_nested_key_is_rejected() -> None:
    (problem,) = problems_of(INSTANCE, VM | {"bootDisk": {"initializeParams": {"imge": "x"}}})
    assert "'thing.bootDisk.initializeParams.imge'" in problem
    assert "Did you mean 'image'?" in problem


def test_outputs_cannot_be_given() -> None:
    assert "Invalid or unknown key" in problems_of(NETWORK, {"selfLink": "x"})[0]


def test_all_missing_keys_are_reported() -> None:
    problems = problems_of(INSTANCE, {})
    assert {"machineType", "bootDisk", "networkInterfaces"} == {problem.split("'")[1] for problem in problems}


@pytest.mark.parametrize("name", ["Big", "under_score", "-dash", "end-", "a" * 64, "1st", "a.b"])
def test_bad_names_are_rejected(name: str) -> None:
    assert "doesn't match regexp" in problems_of(NETWORK, {"name": name})[0]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"mtu": "many"}, "expected a number"),
        ({"autoCreateSubnetworks": "perhaps"}, "expected a boolean"),
        ({"description": ["x"]}, "expected a string"),
        ({"networkFirewallPolicyEnforcementOrder": "LATER"}, "expected one of"),
    ],
)
def test_wrong_types_and_choices_are_rejected(given: Properties, expected: str) -> None:
    assert expected in problems_of(NETWORK, given)[0]


def test_text_that_means_a_number_or_boolean_is_taken() -> None:
    inputs, problems = check(NETWORK, {"mtu": "1460", "autoCreateSubnetworks": "false"})
    assert problems == []
    assert (inputs["mtu"], inputs["autoCreateSubnetworks"]) == (1460, False)


def test_conflicts_are_rejected() -> None:
    disk = {"source": "d", "initializeParams": {"image": "family/x"}}
    assert "conflicts with 'initializeParams'" in problems_of(INSTANCE, VM | {"bootDisk": disk})[0]


def test_unknown_values_are_not_judged() -> None:
    inputs, problems = check(INSTANCE, VM | {"name": UNKNOWN, "bootDisk": UNKNOWN, "networkInterfaces": UNKNOWN})
    assert problems == []
    assert inputs["name"] is UNKNOWN


def test_a_generated_name_is_kept() -> None:
    first, _ = check(NETWORK, {})
    assert first["name"].startswith("thing-")
    assert len(first["name"]) == len("thing-") + 7
    again, _ = check(NETWORK, {}, olds=first)
    assert again["name"] == first["name"]


def test_a_given_name_that_is_taken_away_makes_a_new_one() -> None:
    given, _ = check(NETWORK, {"name": "mine"})
    after, _ = check(NETWORK, {}, olds=given)
    assert after["name"].startswith("thing-")


def test_the_engine_may_propose_or_forbid_names() -> None:
    assert check(NETWORK, {}, proposed="proposed")[0]["name"] == "proposed"
    assert check(NETWORK, {}, seed=b"x")[0]["name"] == check(NETWORK, {}, seed=b"x")[0]["name"]


def test_firewalls_need_rules_and_sources() -> None:
    assert "'allows', 'denies'" in problems_of(FIREWALL, {"network": "n"})[0]
    rule = {"allows": [{"protocol": "tcp"}]}
    assert "source_ranges" in problems_of(FIREWALL, {"network": "n"} | rule)[0]


def test_members_are_spelt_with_their_kind() -> None:
    kind = TYPES["gcp:projects/iAMMember:IAMMember"]
    given = {"project": "p", "role": "roles/viewer", "member": "someone@example.com"}
    assert "invalid value for member" in problems_of(kind, given)[0]
    assert problems_of(kind, given | {"member": "user:someone@example.com"}) == []


def test_types_and_functions_that_are_not_there_are_named() -> None:
    with pytest.raises(ProviderError, match=r"no resource type 'gcp:sql/x:X'.*gcp:compute/instance:Instance"):
        find_type("gcp:sql/x:X")
    with pytest.raises(ProviderError, match=r"no function 'gcp:sql/get:get'.*getImage"):
        find_function("gcp:sql/get:get")
