"""The outputs that previews show, and the inputs that follow from a state."""

from __future__ import annotations

from runner.emulator.provider.check import DEFAULTS
from runner.emulator.provider.plan import inputs_from_state, plan_create, plan_update
from runner.emulator.provider.registry import TYPES
from runner.emulator.provider.resource import ATTRIBUTION_LABELS, Settings
from runner.emulator.provider.values import UNKNOWN

SETTINGS = Settings(project="p", region="r", zone="r-a", default_labels=ATTRIBUTION_LABELS)
DISK = TYPES["gcp:compute/disk:Disk"]
INSTANCE = TYPES["gcp:compute/instance:Instance"]
NICS = [{"subnetwork": "s", "accessConfigs": [{}]}]


def test_a_new_resource_is_unknown_where_the_cloud_fills_it() -> None:
    planned = plan_create(INSTANCE, {"name": "vm", "networkInterfaces": NICS, "labels": {"a": "b"}}, SETTINGS)
    assert planned["name"] == "vm"
    assert planned["selfLink"] is UNKNOWN
    assert planned["currentStatus"] is UNKNOWN
    assert planned["networkInterfaces"][0]["accessConfigs"][0]["natIp"] is UNKNOWN
    assert planned["networkInterfaces"][0]["subnetwork"] == "s"
    assert planned["effectiveLabels"] == {"a": "b"} | ATTRIBUTION_LABELS
    assert "description" not in planned


def test_labels_that_are_not_known_make_all_labels_unknown() -> None:
    planned = plan_create(DISK, {"name": "d", "labels": {"a": UNKNOWN}}, SETTINGS)
    assert planned["pulumiLabels"] is UNKNOWN
    assert planned["effectiveLabels"] is UNKNOWN


def test_an_update_keeps_what_the_cloud_filled() -> None:
    olds = {
        "name": "d",
        "selfLink": "link",
        "size": 40,
        "description": "old",
        "labels": {"a": "b"},
        "pulumiLabels": {"a": "b"},
        "effectiveLabels": {"a": "b", "foreign": "f"},
    }
    planned = plan_update(DISK, olds, {"name": "d", "labels": {"c": "d"}}, SETTINGS)
    assert planned["selfLink"] == "link"
    assert planned["size"] == 40
    assert "description" not in planned
    assert planned["effectiveLabels"] == {"c": "d", "foreign": "f"} | ATTRIBUTION_LABELS


def test_inputs_stay_as_written_where_the_state_agrees() -> None:
    state = {"name": "d", "size": 40, "type": "pd-ssd", "zone": "r-a", "image": ".../projects/p/global/images/x-1"}
    written = {
        "name": "d",
        "size": 50,
        "image": "projects/p/global/images/family/x",
        DEFAULTS: ["type"],
        "type": "pd-ssd",
    }
    inputs = inputs_from_state(DISK, state, written)
    assert inputs == written | {"size": 40}


def test_an_import_has_all_properties_that_can_be_set() -> None:
    state = {"id": "i", "name": "d", "size": 40, "users": [], "selfLink": "l", "labels": {"a": "b"}}
    assert inputs_from_state(DISK, state, {}) == {"name": "d", "size": 40, "labels": {"a": "b"}}
