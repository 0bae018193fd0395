"""Reserved addresses: created, listed by label, deleted, in regions and globally."""

from __future__ import annotations

from tests.emulator.conftest import CloudUnderTest

OURS = {"app": "opensees-hpc", "batch": "b1"}


def test_addresses_of_a_region_and_global_ones_are_listed_together(cloud: CloudUnderTest) -> None:
    cloud.done("POST", f"{cloud.region}/addresses", {"name": "one", "labels": OURS})
    cloud.done("POST", f"{cloud.project}/global/addresses", {"name": "two", "labels": OURS})
    cloud.done("POST", f"{cloud.project}/global/addresses", {"name": "foreign"})
    listed = cloud.get(f"{cloud.project}/aggregated/addresses", filter="labels.app=opensees-hpc")["items"]
    found = {item["name"]: (scope, item) for scope, part in listed.items() for item in part.get("addresses", [])}
    assert {name: scope for name, (scope, _) in found.items()} == {"one": "regions/europe-west4", "two": "global"}
    assert found["one"][1]["status"] == "RESERVED"
    assert found["one"][1]["address"] != found["two"][1]["address"]
    cloud.done("DELETE", f"{cloud.region}/addresses/one")
    cloud.done("DELETE", f"{cloud.project}/global/addresses/two")
    assert cloud.refused("GET", f"{cloud.region}/addresses/one")[0] == 404
    assert [one["name"] for one in cloud.get(f"{cloud.project}/global/addresses")["items"]] == ["foreign"]


def test_requests_that_google_rejects(cloud: CloudUnderTest) -> None:
    cloud.done("POST", f"{cloud.region}/addresses", {"name": "one"})
    assert cloud.refused("POST", f"{cloud.region}/addresses", {"name": "one"})[:2] == (409, "alreadyExists")
    assert cloud.refused("POST", f"{cloud.region}/addresses", {"name": "Bad"})[:2] == (400, "invalid")
    assert cloud.refused("POST", f"{cloud.region}/addresses", {"name": "x", "addressType": "ODD"})[0] == 400


def test_labels_are_changed_with_a_fingerprint(cloud: CloudUnderTest) -> None:
    cloud.done("POST", f"{cloud.region}/addresses", {"name": "one"})
    path = f"{cloud.region}/addresses/one"
    fingerprint = cloud.get(path)["labelFingerprint"]
    cloud.done("POST", f"{path}/setLabels", {"labels": OURS, "labelFingerprint": fingerprint})
    assert cloud.get(path)["labels"] == OURS
    body = {"labels": {}, "labelFingerprint": fingerprint}
    assert cloud.refused("POST", f"{path}/setLabels", body)[:2] == (412, "conditionNotMet")
