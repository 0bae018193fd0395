"""Converts the parts of an instance from inputs to the body of a request, and from an answer to outputs."""

from __future__ import annotations

from runner.emulator.provider.compute import ROOT, without_empty
from runner.emulator.provider.compute_disk import disk_link, disk_type_link, resolve_image
from runner.emulator.provider.links import relative, tail
from runner.emulator.provider.resource import Cloud
from runner.emulator.provider.rest import Answer
from runner.emulator.provider.values import Properties, Secret

_SCOPE_ROOT = "https://www.googleapis.com/auth/"
_SCOPE_ALIASES = {
    "bigquery": "bigquery",
    "cloud-platform": "cloud-platform",
    "compute-ro": "compute.readonly",
    "compute-rw": "compute",
    "logging-write": "logging.write",
    "monitoring": "monitoring",
    "monitoring-ro": "monitoring.read",
    "monitoring-write": "monitoring.write",
    "pubsub": "pubsub",
    "service-control": "servicecontrol",
    "service-management": "service.management.readonly",
    "storage-full": "devstorage.full_control",
    "storage-ro": "devstorage.read_only",
    "storage-rw": "devstorage.read_write",
    "trace": "trace.append",
    "userinfo-email": "userinfo.email",
}
STARTUP_SCRIPT = "startup-script"


def full_scopes(scopes: list[str]) -> list[str]:
    """Return scopes as sorted links, with short names expanded."""
    return sorted(_SCOPE_ROOT + _SCOPE_ALIASES[scope] if scope in _SCOPE_ALIASES else scope for scope in scopes)


def same_scopes(old: list[str], new: list[str]) -> bool:
    """Return whether two lists give the same rights."""
    return full_scopes(old) == full_scopes(new)


def metadata_items(news: Properties) -> list[Answer]:
    """Return the metadata with the startup script in it, sorted by key."""
    script = news.get("metadataStartupScript")
    metadata = {**news.get("metadata", {}), **({STARTUP_SCRIPT: script} if script else {})}
    return [{"key": key, "value": value} for key, value in sorted(metadata.items())]


def boot_disk_body(cloud: Cloud, project: str, zone: str, given: Properties) -> Answer:
    """Return the boot disk of an insert."""
    made = given.get("initializeParams")
    body = {
        "autoDelete": given.get("autoDelete") or None,
        "boot": True,
        "deviceName": given.get("deviceName"),
        "mode": given.get("mode"),
        "source": disk_link(project, zone, given["source"]) if given.get("source") else None,
    }
    if made:
        body["initializeParams"] = without_empty(
            {
                "diskSizeGb": str(made["size"]) if made.get("size") else None,
                "diskType": disk_type_link(project, zone, made["type"]) if made.get("type") else None,
                "sourceImage": resolve_image(cloud, project, made["image"]) if made.get("image") else None,
                "labels": made.get("labels"),
            }
        )
    return without_empty(body)


def attached_disk_body(project: str, zone: str, given: Properties) -> Answer:
    """Return an additional disk of an insert."""
    plain = {"deviceName": given.get("deviceName"), "mode": given.get("mode")}
    return without_empty(plain | {"source": disk_link(project, zone, given["source"])})


def interface_body(project: str, region: str, given: Properties) -> Answer:
    """Return a network interface of an insert."""
    home = given.get("subnetworkProject") or project
    network, subnetwork = given.get("network"), given.get("subnetwork")
    if network and "/" not in network:
        network = f"projects/{project}/global/networks/{network}"
    if subnetwork and "/" not in subnetwork:
        subnetwork = f"projects/{home}/regions/{region}/subnetworks/{subnetwork}"
    return without_empty(
        {
            "network": relative(network) if network else None,
            "subnetwork": relative(subnetwork) if subnetwork else None,
            "networkIP": given.get("networkIp"),
            "nicType": given.get("nicType"),
            "stackType": given.get("stackType"),
            "accessConfigs": [access_config_body(config) for config in given.get("accessConfigs", [])],
        }
    )


def access_config_body(given: Properties) -> Answer:
    """Return an external address."""
    plain = {"natIP": given.get("natIp"), "networkTier": given.get("networkTier")}
    return without_empty({"type": "ONE_TO_ONE_NAT"} | plain)


def scheduling_body(given: Properties) -> Answer:
    """Return ``scheduling`` for an insert or for ``setScheduling``."""
    plain = {key: value for key, value in given.items() if value not in ("", None)}
    return {"skipGuestOsShutdown": False, **plain}


def service_account_body(given: Properties) -> Answer:
    """Return a service account of an insert."""
    return without_empty({"email": given.get("email") or "default", "scopes": full_scopes(given["scopes"])})


def boot_disk_state(cloud: Cloud, found: Answer, prior: Properties) -> Properties:
    """Return the boot disk as outputs; its source is read from the disk itself.

    The stock plugin marks its encryption key as a secret even if it has none.
    """
    disk = cloud.rest.find(ROOT + relative(found["source"]))
    made = prior.get("bootDisk", {}).get("initializeParams")
    if disk is not None:
        made = {
            "image": disk.get("sourceImage"),
            "size": int(disk["sizeGb"]) if disk.get("sizeGb") else None,
            "type": tail(disk["type"]) if disk.get("type") else None,
            "labels": disk.get("labels", {}),
        }
    plain = {key: found.get(key) for key in ("autoDelete", "deviceName", "mode", "source")}
    return plain | {"initializeParams": made, "diskEncryptionKeyRaw": Secret(value="")}


def attached_disk_state(found: Answer) -> Properties:
    """Return an additional disk as outputs."""
    return {key: found.get(key) for key in ("source", "deviceName", "mode")}


def interface_state(found: Answer) -> Properties:
    """Return a network interface as outputs."""
    subnetwork = found.get("subnetwork") or ""
    configs = found.get("accessConfigs", [])
    return {
        "name": found.get("name"),
        "network": found.get("network"),
        "subnetwork": subnetwork or None,
        "subnetworkProject": relative(subnetwork).split("/")[1] if "projects/" in subnetwork else None,
        "networkIp": found.get("networkIP"),
        "nicType": found.get("nicType"),
        "stackType": found.get("stackType"),
        "accessConfigs": [
            {"natIp": config.get("natIP"), "networkTier": config.get("networkTier")} for config in configs
        ],
    }


def scheduling_state(found: Answer | None) -> Properties | None:
    """Return ``scheduling`` as outputs."""
    if found is None:
        return None
    plain = (
        "automaticRestart",
        "preemptible",
        "provisioningModel",
        "instanceTerminationAction",
        "onHostMaintenance",
        "skipGuestOsShutdown",
    )
    limit = found.get("maxRunDuration")
    seconds = int(limit["seconds"]) if limit and limit.get("seconds") is not None else None
    outputs = {key: found.get(key) for key in plain}
    return outputs | {"maxRunDuration": {"seconds": seconds, "nanos": limit.get("nanos")} if limit else None}


def service_account_state(found: list[Answer]) -> Properties | None:
    """Return the service account as outputs."""
    return {"email": found[0].get("email"), "scopes": found[0].get("scopes", [])} if found else None


def metadata_state(found: Answer, prior: Properties) -> Properties:
    """Return the metadata as outputs; the startup script stays under the program's name for it."""
    metadata = {item["key"]: item.get("value", "") for item in found["metadata"].get("items", [])}
    outputs: Properties = {"metadataFingerprint": found["metadata"].get("fingerprint")}
    if prior.get("metadataStartupScript"):
        outputs["metadataStartupScript"] = metadata.pop(STARTUP_SCRIPT, None)
    return outputs | {"metadata": metadata}
