"""Each change leads to the stock plugin's plan: no change, an update, or a replacement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from runner.emulator.provider.check import DEFAULTS, Naming, check_inputs
from runner.emulator.provider.diff import diff_resource, needs_delete_first
from runner.emulator.provider.registry import TYPES
from runner.emulator.provider.resource import ATTRIBUTION_LABELS, Settings
from runner.emulator.provider.values import UNKNOWN, Properties

ROOT = "https://www.googleapis.com/compute/v1/projects/p/"
SETTINGS = Settings(project="p", region="r", zone="r-a", default_labels=ATTRIBUTION_LABELS)
INSTANCE = TYPES["gcp:compute/instance:Instance"]
NEWS: Properties = {
    "name": "vm",
    "zone": "r-a",
    "machineType": "c2-standard-4",
    "bootDisk": {"initializeParams": {"image": "projects/p/global/images/family/hpc", "size": 40, "type": "pd-ssd"}},
    "networkInterfaces": [{"subnetwork": "projects/p/regions/r/subnetworks/s", "accessConfigs": [{}]}],
    "scheduling": {
        "preemptible": True,
        "provisioningModel": "SPOT",
        "automaticRestart": False,
        "instanceTerminationAction": "DELETE",
        "maxRunDuration": {"seconds": 7200},
    },
    "serviceAccount": {"email": "a@p", "scopes": ["cloud-platform"]},
    "metadata": {"enable-oslogin": "TRUE"},
    "labels": {"app": "x"},
    "tags": ["b", "a"],
}
OLDS: Properties = {
    "name": "vm",
    "zone": "r-a",
    "project": "p",
    "machineType": "c2-standard-4",
    "bootDisk": {
        "autoDelete": True,
        "mode": "READ_WRITE",
        "deviceName": "persistent-disk-0",
        "source": ROOT + "zones/r-a/disks/vm",
        "initializeParams": {"image": ROOT + "global/images/hpc-1", "size": 40, "type": "pd-ssd", "labels": {}},
    },
    "networkInterfaces": [
        {
            "name": "nic0",
            "network": ROOT + "global/networks/n",
            "subnetwork": ROOT + "regions/r/subnetworks/s",
            "networkIp": "10.0.0.2",
            "accessConfigs": [{"natIp": "203.0.113.9", "networkTier": "PREMIUM"}],
        }
    ],
    "scheduling": NEWS["scheduling"] | {"onHostMaintenance": "TERMINATE"},
    "serviceAccount": {"email": "a@p", "scopes": ["https://www.googleapis.com/auth/cloud-platform"]},
    "metadata": {"enable-oslogin": "TRUE"},
    "labels": {"app": "x"},
    "pulumiLabels": {"app": "x"} | ATTRIBUTION_LABELS,
    "effectiveLabels": {"app": "x", "other": "y"} | ATTRIBUTION_LABELS,
    "tags": ["a", "b"],
    "currentStatus": "TERMINATED",
    "deletionPolicy": "DELETE",
}


def changes_of(news: Properties, olds: Properties = OLDS, settings: Settings = SETTINGS) -> dict[str, bool]:
    inputs, problems = check_inputs(INSTANCE, {}, news, Naming(logical_name="vm"))
    assert problems == []
    return {change.path: change.replace for change in diff_resource(INSTANCE, olds, inputs, settings)}


def with_value(tree: Any, path: Sequence[str | int], value: Any) -> Any:
    head, *rest = path
    copy: Any = list(tree) if isinstance(tree, list) else dict(tree)
    copy[head] = with_value(copy[head], rest, value) if rest else value
    return copy


def test_nothing_changes_nothing_even_if_stopped() -> None:
    assert changes_of(NEWS) == {}


Case = tuple[list[str | int], Any, str]

UPDATES: list[Case] = [
    (["machineType"], "c2-standard-8", "machineType"),
    (["labels"], {"app": "y"}, "labels.app"),
    (["metadata"], {"enable-oslogin": "TRUE", "run": "2"}, "metadata.run"),
    (["tags"], ["a"], "tags"),
    (["bootDisk", "autoDelete"], False, "bootDisk.autoDelete"),
    (["serviceAccount", "email"], "b@p", "serviceAccount.email"),
    (["serviceAccount", "scopes"], ["storage-rw"], "serviceAccount.scopes"),
    (["scheduling", "instanceTerminationAction"], "STOP", "scheduling.instanceTerminationAction"),
    (["networkInterfaces", 0, "accessConfigs"], [], "networkInterfaces[0].accessConfigs[0]"),
    (
        ["networkInterfaces", 0, "subnetwork"],
        "projects/p/regions/r/subnetworks/t",
        "networkInterfaces[0].subnetwork",
    ),
]
REPLACEMENTS: list[Case] = [
    (["name"], "other", "name"),
    (["zone"], "r-b", "zone"),
    (
        ["bootDisk", "initializeParams", "image"],
        "projects/p/global/images/family/hpd",
        "bootDisk.initializeParams.image",
    ),
    (["bootDisk", "initializeParams", "size"], 50, "bootDisk.initializeParams.size"),
    (["scheduling", "provisioningModel"], "STANDARD", "scheduling.provisioningModel"),
    (["scheduling", "preemptible"], False, "scheduling.preemptible"),
    (["scheduling", "maxRunDuration", "seconds"], 60, "scheduling.maxRunDuration.seconds"),
    (["networkInterfaces"], [*NEWS["networkInterfaces"], {"network": "n"}], "networkInterfaces[1]"),
]


@pytest.mark.parametrize(("path", "value", "changed"), UPDATES, ids=[case[2] for case in UPDATES])
def test_updates(path: list[str | int], value: Any, changed: str) -> None:
    assert changes_of(with_value(NEWS, path, value)) == {changed: False}


@pytest.mark.parametrize(("path", "value", "changed"), REPLACEMENTS, ids=[case[2] for case in REPLACEMENTS])
def test_replacements(path: list[str | int], value: Any, changed: str) -> None:
    assert changes_of(with_value(NEWS, path, value)) == {changed: True}


def test_desired_status_is_held_against_what_was_found() -> None:
    assert changes_of(NEWS | {"desiredStatus": "RUNNING"}, OLDS | {"desiredStatus": "TERMINATED"}) == {
        "desiredStatus": False
    }


def test_startup_script_replaces() -> None:
    assert changes_of(NEWS | {"metadataStartupScript": "echo"}) == {"metadataStartupScript": True}


def test_a_dropped_block_that_the_cloud_fills_is_left_alone() -> None:
    assert changes_of({key: value for key, value in NEWS.items() if key != "scheduling"}) == {}


def test_a_dropped_map_is_emptied() -> None:
    assert changes_of({key: value for key, value in NEWS.items() if key != "metadata"}) == {"metadata": False}


def test_our_own_label_comes_back_others_are_left_alone() -> None:
    lost = OLDS | {"pulumiLabels": {"app": "x"}, "effectiveLabels": {"app": "x", "other": "y"}}
    assert changes_of(NEWS, lost) == {"pulumiLabels": False}


def test_another_default_project_replaces() -> None:
    moved = Settings(project="q", region="r", zone="r-a", default_labels=ATTRIBUTION_LABELS)
    assert changes_of(NEWS, settings=moved) == {"project": True}


def test_an_unknown_that_replaces_is_planned_as_replacement() -> None:
    news = NEWS | {"zone": UNKNOWN, "labels": {"app": UNKNOWN}}
    assert changes_of(news) == {"zone": True, "labels.app": False}


def test_keys_with_dots_are_quoted() -> None:
    assert changes_of(NEWS | {"metadata": {"enable-oslogin": "TRUE", "a.b": "c"}}) == {'metadata["a.b"]': False}


def test_the_old_one_goes_first_only_if_the_new_one_would_have_its_name() -> None:
    assert needs_delete_first(INSTANCE, OLDS, NEWS, NEWS)
    assert not needs_delete_first(INSTANCE, OLDS, NEWS, NEWS | {"name": "other"})
    assert not needs_delete_first(INSTANCE, OLDS, NEWS | {DEFAULTS: ["name"]}, NEWS)
