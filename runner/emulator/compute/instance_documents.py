"""Builds an instance's documents from the body of an insert: checks them against existing resources, and stores nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runner.emulator.compute.disk_documents import make_disk_document
from runner.emulator.compute.machine_types import MACHINE_TYPES
from runner.emulator.compute.references import References
from runner.emulator.compute.scheduling import make_scheduling, run_limit_s
from runner.emulator.state import CloudSettings, Document, Store
from runner.emulator.wire import (
    api_errors,
    check_labels,
    check_metadata,
    check_name,
    compute_time,
    fresh_fingerprint,
    link,
    relative,
    tail,
    without_blanks,
)

_SHIELD = {"enableSecureBoot": False, "enableVtpm": True, "enableIntegrityMonitoring": True}
_DROPPED = (
    "params",
    "kind",
    "id",
    "selfLink",
    "creationTimestamp",
    "status",
    "zone",
    "labelFingerprint",
    "fingerprint",
)


@dataclass(frozen=True, kw_only=True)
class InstancePlan:
    """The documents that an insert will store: the instance, and disks by path: new ones, and attached ones with their users."""

    key: str
    instance: Document
    new_disks: Mapping[str, Document]
    attached_disks: Mapping[str, Document]
    address: str


@dataclass(frozen=True, kw_only=True)
class InstancePlanner:
    """Plans instances. ``free_address`` returns an address that no instance has."""

    store: Store
    settings: CloudSettings
    references: References
    now: Callable[[], float]
    free_address: Callable[[], str]

    def plan(self, body: Document, zone: str) -> InstancePlan:
        """Build the documents of a new instance.

        Raises:
            CloudError: the body is invalid; the error is Google's.
        """
        name = check_name(body.get("name"))
        key = f"projects/{self.settings.project}/zones/{zone}/instances/{name}"
        _check_parts(body)
        scheduling = make_scheduling(body.get("scheduling") or {})
        machine_type = self.references.machine_type(body.get("machineType"), zone)
        accounts = [self._account(account) for account in body.get("serviceAccounts") or ()]
        if self.store.get(key) is not None:
            raise api_errors.already_exists(key)
        attached, new_disks, old_disks = self._disks(key, body.get("disks") or [], zone)
        address = self.free_address()
        instance = without_blanks({key: value for key, value in body.items() if key not in _DROPPED})
        instance.update(self._identity(key, zone), **self._defaults(body))
        instance.update(
            machineType=link(machine_type),
            cpuPlatform=MACHINE_TYPES[tail(machine_type)].cpu_platform,
            scheduling=scheduling,
            disks=attached,
            networkInterfaces=self._nics(body.get("networkInterfaces") or [], zone, address),
            resourceStatus={"scheduling": self._end(scheduling), "upcomingMaintenance": None},
        )
        if accounts:
            instance["serviceAccounts"] = accounts
        return InstancePlan(key=key, instance=instance, new_disks=new_disks, attached_disks=old_disks, address=address)

    def _identity(self, key: str, zone: str) -> Document:
        return {
            "kind": "compute#instance",
            "id": self.store.next_id(),
            "selfLink": link(key),
            "creationTimestamp": compute_time(self.now()),
            "zone": link(f"projects/{self.settings.project}/zones/{zone}"),
            "status": "PROVISIONING",
            "fingerprint": fresh_fingerprint(),
            "labelFingerprint": fresh_fingerprint(),
            "startRestricted": False,
        }

    def _defaults(self, body: Document) -> Document:
        items = (body.get("metadata") or {}).get("items") or []
        tags = (body.get("tags") or {}).get("items") or []
        return {
            "canIpForward": bool(body.get("canIpForward")),
            "deletionProtection": bool(body.get("deletionProtection")),
            "metadata": {"kind": "compute#metadata", "fingerprint": fresh_fingerprint(), "items": items},
            "tags": {"fingerprint": fresh_fingerprint(), **({"items": tags} if tags else {})},
            "shieldedInstanceConfig": {**_SHIELD, **(without_blanks(body.get("shieldedInstanceConfig")) or {})},
            "shieldedInstanceIntegrityPolicy": {"updateAutoLearnPolicy": True},
        }

    def _end(self, scheduling: Document) -> Document:
        limit_s = run_limit_s(scheduling)
        return {} if limit_s is None else {"terminationTimestamp": compute_time(self.now() + limit_s)}

    def _account(self, account: Document) -> Document:
        return {
            "email": self.references.service_account(account.get("email") or "default"),
            "scopes": account.get("scopes") or [],
        }

    def _disks(
        self, key: str, wanted: list[Document], zone: str
    ) -> tuple[list[Document], dict[str, Document], dict[str, Document]]:
        """Return the instance's ``disks``, the documents of new disks, and the changed documents of existing disks."""
        attached: list[Document] = []
        new: dict[str, Document] = {}
        old: dict[str, Document] = {}
        for index, disk in enumerate(wanted):
            field = f"resource.disks[{index}]"
            if disk.get("source"):
                path, document = self._old_disk(key, disk, zone, field)
                old[path] = document
            else:
                path, document = self._new_disk(key, disk, zone, index)
                new[path] = document
            attached.append(_attachment(disk, document, index))
        return attached, new, old

    def _old_disk(self, key: str, wanted: Document, zone: str, field: str) -> tuple[str, Document]:
        path, document = self.references.disk(wanted["source"], zone, field=f"{field}.source")
        if document.get("users") and wanted.get("mode") != "READ_ONLY":
            raise api_errors.in_use("disk", path, relative(document["users"][0]))
        if document["status"] != "READY":
            raise api_errors.not_ready(path)
        return path, {**document, "users": [*document.get("users", ()), link(key)]}

    def _new_disk(self, key: str, wanted: Document, zone: str, index: int) -> tuple[str, Document]:
        sent = wanted.get("initializeParams") or {}
        name = sent.get("diskName") or (tail(key) if wanted.get("boot") else f"{tail(key)}-{index}")
        body = {
            "name": name,
            "sizeGb": sent.get("diskSizeGb") or wanted.get("diskSizeGb"),
            "type": sent.get("diskType"),
            "sourceImage": sent.get("sourceImage"),
            "labels": sent.get("labels"),
            "description": sent.get("description"),
        }
        field = f"resource.disks[{index}].initializeParams"
        document = make_disk_document(body, zone, self.store, self.references, now=self.now(), field=field)
        document["users"] = [link(key)]
        return relative(document["selfLink"]), document

    def _nics(self, wanted: list[Document], zone: str, address: str) -> list[Document]:
        return [self._nic(nic, zone, address, index) for index, nic in enumerate(wanted)]

    def _nic(self, wanted: Document, zone: str, address: str, index: int) -> Document:
        network, subnetwork = self.references.nic_networks(wanted, zone, field=f"resource.networkInterfaces[{index}]")
        nic: Document = {
            "kind": "compute#networkInterface",
            "name": f"nic{index}",
            "network": link(network),
            "subnetwork": link(subnetwork),
            "networkIP": address,
            "stackType": wanted.get("stackType") or "IPV4_ONLY",
            "fingerprint": fresh_fingerprint(),
        }
        if wanted.get("accessConfigs"):
            nic["accessConfigs"] = [_access_config(config, address) for config in wanted["accessConfigs"]]
        return nic


def give_external_addresses(instance: Document) -> None:
    """Give a starting instance an ephemeral external address for each access configuration: in this cloud its internal one."""
    for nic in instance["networkInterfaces"]:
        for config in nic.get("accessConfigs", ()):
            config["natIP"] = nic["networkIP"]


def take_external_addresses(instance: Document) -> None:
    """Remove the ephemeral external addresses of an instance that has stopped."""
    for nic in instance["networkInterfaces"]:
        for config in nic.get("accessConfigs", ()):
            config.pop("natIP", None)


def _access_config(wanted: Document, address: str) -> Document:
    return {
        "kind": "compute#accessConfig",
        "type": "ONE_TO_ONE_NAT",
        "name": wanted.get("name") or "external-nat",
        "natIP": address,
        "networkTier": wanted.get("networkTier") or "PREMIUM",
    }


def _attachment(wanted: Document, disk: Document, index: int) -> Document:
    return {
        "kind": "compute#attachedDisk",
        "type": "PERSISTENT",
        "mode": wanted.get("mode") or "READ_WRITE",
        "source": disk["selfLink"],
        "deviceName": wanted.get("deviceName") or f"persistent-disk-{index}",
        "index": index,
        "boot": bool(wanted.get("boot")),
        "autoDelete": bool(wanted.get("autoDelete")),
        "interface": "SCSI",
        "diskSizeGb": disk["sizeGb"],
        "architecture": "X86_64",
    }


def _check_parts(body: Document) -> None:
    check_labels(body.get("labels"))
    check_metadata((body.get("metadata") or {}).get("items"))
    for index, tag in enumerate((body.get("tags") or {}).get("items") or ()):
        check_name(tag, field=f"resource.tags.items[{index}]")
    boot_disks = [disk for disk in body.get("disks") or () if disk.get("boot")]
    if len(boot_disks) != 1:
        raise api_errors.invalid_field("resource.disks", len(boot_disks), "Boot disk must be specified, and only one.")
    boot = boot_disks[0]
    if not boot.get("source") and not (boot.get("initializeParams") or {}).get("sourceImage"):
        raise api_errors.invalid_field("resource.disks[0]", "", "A boot disk needs a source or a source image.")
    if not body.get("networkInterfaces"):
        raise api_errors.invalid_field("resource.networkInterfaces", "", "At least one network interface is required.")
    if len(body.get("serviceAccounts") or ()) > 1:
        raise api_errors.invalid_field("resource.serviceAccounts", "", "At most one service account is allowed.")
