"""Instances: the table, and the order of the steps of an update."""

from __future__ import annotations

from collections.abc import Iterator

from runner.emulator.provider import instance_parts as parts
from runner.emulator.provider.compute import ROOT, ComputeOperations, set_labels, wait_for, without_empty
from runner.emulator.provider.links import relative, same_image, same_link, same_name, tail
from runner.emulator.provider.resource import Cloud, Edit, ProviderError, ResourceType, UnfinishedError
from runner.emulator.provider.rest import Answer, ApiError
from runner.emulator.provider.schema import (
    all_fields,
    block,
    collection,
    flag,
    labels,
    listing,
    location,
    mapping,
    number,
    outputs,
    project,
    resource_name,
    text,
)
from runner.emulator.provider.values import Properties
from runner.system.backoff import growing_delays

STOP_REFUSED = (
    "Changing the machine_type, min_cpu_platform, service_account, enable_display, shielded_instance_config, "
    "scheduling.node_affinities or network_interface.[#d].(network/subnetwork/subnetwork_project) or "
    "advanced_machine_features on a started instance requires stopping it. To acknowledge this, please set "
    "allow_stopping_for_update = true in your config. You can also stop it by setting desired_status = "
    '"TERMINATED", but the instance will not be restarted after the update.'
)


# How the stock plugin waits for a status (observed in version 9.35): first poll, growing pauses, and the failures it tolerates.
FIRST_LOOK_S, SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 2.0, 10.0
MISSES = 20
STATUS_LIMIT_S = 20 * 60.0


class InstanceOperations(ComputeOperations):
    """compute.Instance."""

    collection, level, noun = "instances", "zone", "instance"
    labelled = True

    def problems(self, news: Properties) -> list[str]:
        disk = news["bootDisk"]
        if isinstance(disk, dict) and not disk.get("source") and not disk.get("initializeParams"):
            return ["bootDisk: one of 'initializeParams', 'source' must be specified"]
        nics = news["networkInterfaces"]
        if isinstance(nics, list) and not nics:
            return ["networkInterfaces: Attribute requires 1 item minimum, but config has only 0 declared."]
        return []

    def refuse_create(self, news: Properties) -> str:
        if news.get("desiredStatus") == "TERMINATED":
            return "When creating an instance, desired_status can only accept RUNNING value"
        return ""

    def body(self, cloud: Cloud, news: Properties) -> Answer:
        project, zone = cloud.location_of(news, "project"), cloud.location_of(news, "zone")
        region = zone.rsplit("-", 1)[0]
        boot = parts.boot_disk_body(cloud, project, zone, news["bootDisk"])
        more = [parts.attached_disk_body(project, zone, disk) for disk in news.get("attachedDisks", [])]
        account = news.get("serviceAccount")
        plain = ("name", "description", "hostname", "minCpuPlatform", "shieldedInstanceConfig")
        return without_empty(
            {key: news.get(key) for key in (*plain, "canIpForward", "deletionProtection", "advancedMachineFeatures")}
            | {
                "disks": [boot, *more],
                "labels": cloud.labels(news),
                "machineType": _machine_type(project, zone, news),
                "metadata": {"items": parts.metadata_items(news)},
                "networkInterfaces": [parts.interface_body(project, region, nic) for nic in news["networkInterfaces"]],
                "scheduling": parts.scheduling_body(news["scheduling"]) if news.get("scheduling") else None,
                "serviceAccounts": [parts.service_account_body(account)] if account else None,
                "tags": {"items": sorted(news["tags"])} if news.get("tags") else None,
                "displayDevice": {"enableDisplay": True} if news.get("enableDisplay") else None,
            }
        )

    def create(self, cloud: Cloud, news: Properties) -> str:
        id = super().create(cloud, news)
        if wanted := news.get("desiredStatus"):
            self._wait_for_status(cloud, id, wanted)
        return id

    def wait_created(self, cloud: Cloud, operation: Answer) -> None:
        wait_for(cloud, operation, "instance to create")

    def _wait_for_status(self, cloud: Cloud, id: str, wanted: str) -> None:
        """Poll until it has this status. A missing instance is tried 21 times, since a list may be out of date."""
        prefix, status, misses = f"Error waiting for instance to reach desired status {wanted}", "", 0
        for pause_s in _pauses():
            if cloud.cancelled.wait(pause_s * cloud.pace):
                raise UnfinishedError(id, f"{prefix}: context canceled")
            found = self.fetch(cloud, id)
            misses = 0 if found else misses + 1
            if misses > MISSES:
                raise ProviderError(f"{prefix}: couldn't find resource ({misses} retries)")
            if found and (status := found["status"]) == wanted:
                return
        why = f"timeout while waiting for state to become '{wanted}' (last state: '{status}', timeout: 20m0s)"
        raise UnfinishedError(id, f"{prefix}: {why}")

    def fetch(self, cloud: Cloud, id: str) -> Answer | None:
        return cloud.rest.find(ROOT + id, view="FULL")

    def state(self, cloud: Cloud, found: Answer, prior: Properties) -> Properties:
        boot = next((disk for disk in found.get("disks", []) if disk.get("boot")), None)
        more = [disk for disk in found.get("disks", []) if not disk.get("boot") and disk.get("type") != "SCRATCH"]
        plain = ("description", "hostname", "cpuPlatform", "minCpuPlatform", "canIpForward", "deletionProtection")
        status = found.get("status")
        return (
            {key: found.get(key) for key in (*plain, "creationTimestamp", "shieldedInstanceConfig")}
            | parts.metadata_state(found, prior)
            | {
                "instanceId": found.get("id"),
                "machineType": tail(found.get("machineType", "")),
                "currentStatus": status,
                "desiredStatus": status if prior.get("desiredStatus") else None,
                "allowStoppingForUpdate": prior.get("allowStoppingForUpdate"),
                "bootDisk": parts.boot_disk_state(cloud, boot, prior) if boot else prior.get("bootDisk"),
                "attachedDisks": [parts.attached_disk_state(disk) for disk in more],
                "networkInterfaces": [parts.interface_state(nic) for nic in found.get("networkInterfaces", [])],
                "scheduling": parts.scheduling_state(found.get("scheduling")),
                "serviceAccount": parts.service_account_state(found.get("serviceAccounts", [])),
                "tags": found["tags"].get("items", []) if "tags" in found else prior.get("tags"),
                "tagsFingerprint": found.get("tags", {}).get("fingerprint"),
                "enableDisplay": found.get("displayDevice", {}).get("enableDisplay"),
                "advancedMachineFeatures": found.get("advancedMachineFeatures"),
            }
        )

    def update(self, cloud: Cloud, id: str, edit: Edit) -> None:
        found = self.fetch(cloud, id)
        if found is None:
            raise ProviderError(f"Resource provider reported that the resource did not exist while updating {id}.")
        self._update_running(cloud, id, edit, found)
        stopped = self._stopped_updates(edit)
        if stopped:
            self._update_stopped(cloud, id, edit, found)
        elif edit.touches("desiredStatus"):
            self._set_status(cloud, id, edit.news.get("desiredStatus", ""))

    def _update_running(self, cloud: Cloud, id: str, edit: Edit, found: Answer) -> None:
        if edit.touches("metadata"):
            fingerprint = cloud.rest.get(ROOT + id)["metadata"].get("fingerprint")
            items = parts.metadata_items(edit.news)
            self.act(cloud, id, "setMetadata", {"fingerprint": fingerprint, "items": items})
        if edit.touches("tags"):
            tags = {"fingerprint": found.get("tags", {}).get("fingerprint"), "items": sorted(edit.news.get("tags", []))}
            self.act(cloud, id, "setTags", tags)
        set_labels(cloud, id, edit)
        if edit.touches("scheduling"):
            self.act(cloud, id, "setScheduling", parts.scheduling_body(edit.news.get("scheduling", {})))
        for at, nic in enumerate(edit.news["networkInterfaces"]):
            if edit.touches(f"networkInterfaces[{at}].accessConfigs"):
                self._replace_addresses(cloud, id, found["networkInterfaces"][at], nic)
        if edit.touches("bootDisk.autoDelete"):
            device = edit.olds["bootDisk"]["deviceName"]
            wanted = str(edit.news["bootDisk"]["autoDelete"]).lower()
            self.act(cloud, id, "setDiskAutoDelete", autoDelete=wanted, deviceName=device)
        if edit.touches("attachedDisks"):
            self._replace_disks(cloud, id, edit)
        if edit.touches("deletionProtection"):
            protected = str(edit.news.get("deletionProtection", False)).lower()
            self.act(cloud, id, "setDeletionProtection", deletionProtection=protected)

    def _replace_disks(self, cloud: Cloud, id: str, edit: Edit) -> None:
        project, zone = id.split("/")[1], id.split("/")[3]
        wanted = [parts.attached_disk_body(project, zone, disk) for disk in edit.news.get("attachedDisks", [])]
        there = {relative(disk["source"]): disk["deviceName"] for disk in edit.olds.get("attachedDisks", [])}
        for source, device in there.items():
            if not any(disk["source"] == source for disk in wanted):
                self.act(cloud, id, "detachDisk", deviceName=device)
        for disk in wanted:
            if disk["source"] not in there:
                self.act(cloud, id, "attachDisk", disk)

    def _replace_addresses(self, cloud: Cloud, id: str, found: Answer, wanted: Properties) -> None:
        nic = found["name"]
        for config in found.get("accessConfigs", []):
            self.act(cloud, id, "deleteAccessConfig", accessConfig=config["name"], networkInterface=nic)
        for config in wanted.get("accessConfigs", []):
            self.act(cloud, id, "addAccessConfig", parts.access_config_body(config), networkInterface=nic)

    def _stopped_updates(self, edit: Edit) -> list[str]:
        nics = range(len(edit.news["networkInterfaces"]))
        moves = [f"networkInterfaces[{at}].{key}" for at in nics for key in ("network", "subnetwork")]
        names = ["machineType", "serviceAccount", "shieldedInstanceConfig", "minCpuPlatform", "enableDisplay"]
        return [name for name in (*names, "advancedMachineFeatures", *moves) if edit.touches(name)]

    def _update_stopped(self, cloud: Cloud, id: str, edit: Edit, found: Answer) -> None:
        wanted, status = edit.news.get("desiredStatus", ""), found.get("status")
        if status == "RUNNING" and wanted != "TERMINATED" and not edit.news.get("allowStoppingForUpdate"):
            raise ProviderError(STOP_REFUSED)
        if status != "TERMINATED":
            self.act(cloud, id, "stop")
        self._change_stopped(cloud, id, edit)
        if (status == "RUNNING" and wanted != "TERMINATED") or (status == "TERMINATED" and wanted == "RUNNING"):
            self.act(cloud, id, "start")

    def _change_stopped(self, cloud: Cloud, id: str, edit: Edit) -> None:
        project, zone, news = id.split("/")[1], id.split("/")[3], edit.news
        if edit.touches("machineType"):
            self.act(cloud, id, "setMachineType", {"machineType": _machine_type(project, zone, news)})
        if edit.touches("serviceAccount"):
            account = news.get("serviceAccount")
            self.act(cloud, id, "setServiceAccount", parts.service_account_body(account) if account else {"email": ""})
        if edit.touches("minCpuPlatform"):
            self.act(cloud, id, "setMinCpuPlatform", {"minCpuPlatform": news.get("minCpuPlatform", "")})
        if edit.touches("shieldedInstanceConfig"):
            self._patch_part(cloud, id, "updateShieldedInstanceConfig", news["shieldedInstanceConfig"])
        if edit.touches("enableDisplay"):
            self._patch_part(cloud, id, "updateDisplayDevice", {"enableDisplay": bool(news.get("enableDisplay"))})
        for at, nic in enumerate(news["networkInterfaces"]):
            if edit.touches(f"networkInterfaces[{at}].network", f"networkInterfaces[{at}].subnetwork"):
                self._move_interface(cloud, id, at, parts.interface_body(project, zone.rsplit("-", 1)[0], nic))

    def _move_interface(self, cloud: Cloud, id: str, at: int, wanted: Answer) -> None:
        found = cloud.rest.get(ROOT + id)["networkInterfaces"][at]
        where: Answer = {key: wanted[key] for key in ("network", "subnetwork") if key in wanted}
        body: Answer = {"fingerprint": found.get("fingerprint"), **where}
        self._patch_part(cloud, id, "updateNetworkInterface", body, networkInterface=found["name"])

    def _patch_part(self, cloud: Cloud, id: str, verb: str, body: Answer, **query: str) -> None:
        wait_for(cloud, cloud.rest.patch(f"{ROOT}{id}/{verb}", body, **query), verb)

    def _set_status(self, cloud: Cloud, id: str, wanted: str) -> None:
        if wanted in ("RUNNING", "TERMINATED"):
            self.act(cloud, id, "start" if wanted == "RUNNING" else "stop")

    def delete(self, cloud: Cloud, id: str, state: Properties) -> None:
        if state.get("deletionProtection"):
            raise ProviderError(
                f"Cannot delete instance {tail(id)}: instance Deletion Protection is enabled. Set deletion_protection "
                'to false for this resource and run "terraform apply" before attempting to delete it.'
            )
        try:
            operation = cloud.rest.delete(ROOT + id)
        except ApiError as error:
            raise ProviderError(f"Error deleting instance: {error}") from error
        wait_for(cloud, operation, "instance to delete")


def _pauses() -> Iterator[float]:
    """Yield before each poll, until no time is left for another one."""
    yield FIRST_LOOK_S
    waited_s = FIRST_LOOK_S
    for pause_s in growing_delays(SHORTEST_PAUSE_S, LONGEST_PAUSE_S):
        if waited_s >= STATUS_LIMIT_S:
            return
        yield pause_s
        waited_s += pause_s


def _machine_type(project: str, zone: str, news: Properties) -> str:
    said = str(news["machineType"])
    return relative(said) if "/" in said else f"projects/{project}/zones/{zone}/machineTypes/{said}"


_BOOT_DISK = {
    "autoDelete": flag(default=True),
    "deviceName": text(computed=True, replace=True),
    "mode": text(default="READ_WRITE", replace=True, choices=("READ_WRITE", "READ_ONLY")),
    "source": text(computed=True, replace=True, same=same_link, conflicts=("initializeParams",)),
    "initializeParams": block(
        {
            "image": text(computed=True, replace=True, same=same_image),
            "size": number(computed=True, replace=True),
            "type": text(computed=True, replace=True, same=same_name),
            "labels": mapping(computed=True, replace=True),
        },
        computed=True,
        replace=True,
    ),
}
_INTERFACE = {
    "name": text(computed=True),
    "network": text(computed=True, same=same_link),
    "subnetwork": text(computed=True, same=same_link),
    "subnetworkProject": text(computed=True),
    "networkIp": text(computed=True, replace=True),
    "nicType": text(computed=True, replace=True),
    "stackType": text(computed=True),
    "accessConfigs": listing(block({"natIp": text(computed=True), "networkTier": text(computed=True)})),
}
_SCHEDULING = {
    "automaticRestart": flag(default=True),
    "preemptible": flag(default=False, replace=True),
    "provisioningModel": text(computed=True, replace=True, choices=("STANDARD", "SPOT", "FLEX_START")),
    "instanceTerminationAction": text(choices=("STOP", "DELETE")),
    "onHostMaintenance": text(computed=True, choices=("MIGRATE", "TERMINATE")),
    "maxRunDuration": block(
        {"seconds": number(required=True, replace=True), "nanos": number(replace=True)}, replace=True
    ),
    "skipGuestOsShutdown": flag(),
}
_SHIELDED = {
    "enableSecureBoot": flag(default=False),
    "enableVtpm": flag(default=True),
    "enableIntegrityMonitoring": flag(default=True),
}

INSTANCE = ResourceType(
    token="gcp:compute/instance:Instance",  # noqa: S106
    operations=InstanceOperations(),
    fields=all_fields(
        resource_name(),
        project(),
        location("zone", same_name),
        labels(),
        {
            "machineType": text(required=True, same=same_name),
            "bootDisk": block(_BOOT_DISK, required=True, replace=True),
            "attachedDisks": listing(
                block(
                    {
                        "source": text(required=True, same=same_link),
                        "deviceName": text(computed=True),
                        "mode": text(default="READ_WRITE"),
                    }
                )
            ),
            "networkInterfaces": listing(block(_INTERFACE), required=True, replace=True),
            "scheduling": block(_SCHEDULING, computed=True),
            "serviceAccount": block(
                {
                    "email": text(computed=True),
                    "scopes": collection(text(), required=True, same=parts.same_scopes),
                }
            ),
            "shieldedInstanceConfig": block(_SHIELDED, computed=True),
            "advancedMachineFeatures": block(
                {
                    "threadsPerCore": number(),
                    "visibleCoreCount": number(),
                    "enableNestedVirtualization": flag(),
                }
            ),
            "metadata": mapping(),
            "metadataStartupScript": text(replace=True),
            "tags": collection(text()),
            "description": text(replace=True),
            "hostname": text(replace=True),
            "minCpuPlatform": text(computed=True),
            "enableDisplay": flag(),
            "canIpForward": flag(default=False, replace=True),
            "deletionProtection": flag(default=False),
            "desiredStatus": text(choices=("RUNNING", "TERMINATED")),
            "allowStoppingForUpdate": flag(),
        },
        outputs(
            "selfLink",
            "instanceId",
            "currentStatus",
            "cpuPlatform",
            "labelFingerprint",
            "metadataFingerprint",
            "tagsFingerprint",
            "creationTimestamp",
        ),
    ),
)
