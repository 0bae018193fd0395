"""Images: families, deprecation, from a disk to an image to a disk."""

from __future__ import annotations

from tests.emulator.conftest import ROCKY, CloudUnderTest


def make_image(cloud: CloudUnderTest, name: str) -> None:
    body = {
        "name": name,
        "family": "opensees-hpc",
        "sourceDisk": "zones/europe-west4-a/disks/root",
        "labels": {"v": "1"},
    }
    assert "error" not in cloud.done("POST", f"{cloud.project}/global/images", body)


def test_an_image_has_the_files_of_its_disk(cloud: CloudUnderTest) -> None:
    cloud.done("POST", f"{cloud.zone}/disks", {"name": "root", "sourceImage": ROCKY})
    disk = cloud.get(f"{cloud.zone}/disks/root")
    (cloud.settings.state / "disks" / disk["id"] / "root/etc/baked").write_text("yes")
    make_image(cloud, "opensees-hpc-1")
    image = cloud.get(f"{cloud.project}/global/images/family/opensees-hpc")
    assert (image["name"], image["status"], image["diskSizeGb"]) == ("opensees-hpc-1", "READY", "20")
    disks = [{"boot": True, "initializeParams": {"sourceImage": "global/images/family/opensees-hpc"}}]
    cloud.insert_vm("vm", disks=disks)
    assert (next(iter(cloud.hypervisor.running.values())).root / "etc/baked").read_text() == "yes"


def test_family_is_its_newest_image_that_is_not_deprecated(cloud: CloudUnderTest) -> None:
    cloud.done("POST", f"{cloud.zone}/disks", {"name": "root", "sourceImage": ROCKY})
    family = f"{cloud.project}/global/images/family/opensees-hpc"
    assert cloud.refused("GET", family)[:2] == (404, "notFound")
    make_image(cloud, "opensees-hpc-1")
    make_image(cloud, "opensees-hpc-2")
    assert cloud.get(family)["name"] == "opensees-hpc-2"
    url = f"{cloud.project}/global/images/opensees-hpc-2/deprecate"
    cloud.done("POST", url, {"state": "DEPRECATED", "replacement": "global/images/opensees-hpc-1"})
    assert cloud.get(family)["name"] == "opensees-hpc-1"
    assert cloud.get(f"{cloud.project}/global/images/opensees-hpc-2")["deprecated"]["state"] == "DEPRECATED"
    old = {"name": "old", "sourceImage": "global/images/opensees-hpc-2"}
    assert "error" not in cloud.done("POST", f"{cloud.zone}/disks", old)
    cloud.done("POST", url, {"state": "OBSOLETE"})
    assert cloud.refused("POST", f"{cloud.zone}/disks", {**old, "name": "older"})[0] == 400


def test_public_images_exist_and_cannot_be_changed(cloud: CloudUnderTest) -> None:
    url = f"{cloud.url}/compute/v1/projects/debian-cloud/global/images"
    assert [image["family"] for image in cloud.get(url)["items"]] == ["debian-12"]
    assert cloud.refused("DELETE", f"{url}/debian-12-bookworm-v20260801")[:2] == (403, "forbidden")


def test_image_from_an_image_and_its_deletion(cloud: CloudUnderTest) -> None:
    body = {"name": "copy", "sourceImage": ROCKY}
    assert "error" not in cloud.done("POST", f"{cloud.project}/global/images", body)
    number = cloud.get(f"{cloud.project}/global/images/copy")["id"]
    assert (cloud.settings.state / "images" / number / "root/etc/os-release").exists()
    cloud.done("DELETE", f"{cloud.project}/global/images/copy")
    assert not (cloud.settings.state / "images" / number).exists()


def test_machine_types_zones_and_regions(cloud: CloudUnderTest) -> None:
    machine = cloud.get(f"{cloud.zone}/machineTypes/c2-standard-30")
    assert (machine["guestCpus"], machine["memoryMb"]) == (30, 122880)
    assert cloud.get(f"{cloud.zone}/machineTypes/n1-standard-1")["memoryMb"] == 3840
    big = cloud.get(f"{cloud.zone}/machineTypes", filter="guestCpus>=88 AND name:h3*")["items"]
    assert [machine["name"] for machine in big] == ["h3-standard-88"]
    region = f"https://www.googleapis.com/compute/v1/projects/{cloud.settings.project}/regions/europe-west4"
    zones = cloud.get(f"{cloud.project}/zones", filter=f"(region eq {region})")["items"]
    assert [zone["name"] for zone in zones] == ["europe-west4-a", "europe-west4-b", "europe-west4-c"]
    disk_types = cloud.get(f"{cloud.project}/aggregated/diskTypes", filter="name=pd-ssd")["items"]
    assert disk_types["zones/europe-west4-a"]["diskTypes"][0]["name"] == "pd-ssd"
