"""The cloud as its instances see it: metadata, tokens, guest attributes, users who may log in."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from runner.emulator.compute.lifecycle import PRIVATE
from runner.emulator.compute.projects import common_metadata
from runner.emulator.compute.resources import Parts
from runner.emulator.compute.serial_ports import append_serial
from runner.emulator.iam import ACCOUNTS
from runner.emulator.identity import posix_name, valid_keys
from runner.emulator.machines import LoginUser
from runner.emulator.state import Document
from runner.emulator.wire import api_errors, relative, tail

_MAX_GUEST_VALUE_BYTES = 32 * 1024


class GuestView:
    """Implements ``machines.interface.Cloud``. Set ``on_power_off`` to be notified when an instance powers itself off."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.on_power_off: Callable[[str], None] = lambda key: None

    def login_users(self) -> Sequence[LoginUser]:
        """Return the owner and all members with a role for OS Login, if they have valid keys."""
        users = []
        for email, keys in valid_keys(self._parts.store, self._parts.clock.now()).items():
            may_login, may_sudo = self._login_rights(email)
            if may_login:
                users.append(LoginUser(username=posix_name(self._parts.store, email), keys=keys, sudo=may_sudo))
        return users

    def _login_rights(self, email: str) -> tuple[bool, bool]:
        if email == self._parts.settings.user:
            return True, True
        member = f"{'serviceAccount' if email.endswith('.gserviceaccount.com') else 'user'}:{email}"
        project = f"projects/{self._parts.settings.project}"
        rights = [
            self._parts.access.member_has(member, f"compute.instances.{verb}", project)
            for verb in ("osLogin", "osAdminLogin")
        ]
        return any(rights), rights[1]

    def metadata(self, key: str) -> Mapping[str, object]:
        """Return the recursive tree, with an empty part for an instance that is gone."""
        instance = self._parts.store.get(key)
        settings = self._parts.settings
        project = {
            "projectId": settings.project,
            "numericProjectId": int(settings.project_number),
            "attributes": _attributes(common_metadata(self._parts).get("items") or []),
        }
        return {"instance": self._instance_tree(key, instance) if instance else {}, "project": project}

    def _instance_tree(self, key: str, instance: Document) -> Document:
        number = self._parts.settings.project_number
        zone = f"projects/{number}/zones/{key.split('/')[3]}"
        private = self._parts.store.get(PRIVATE + key) or {}
        return {
            "id": int(instance["id"]),
            "name": instance["name"],
            "hostname": f"{instance['name']}.{key.split('/')[3]}.c.{self._parts.settings.project}.internal",
            "zone": zone,
            "machineType": f"projects/{number}/machineTypes/{tail(instance['machineType'])}",
            "cpuPlatform": instance["cpuPlatform"],
            "image": self._image_of(instance),
            "description": instance.get("description", ""),
            "tags": instance["tags"].get("items") or [],
            "attributes": _attributes(instance["metadata"]["items"]),
            "preempted": "TRUE" if private.get("preempted") else "FALSE",
            "maintenanceEvent": "TERMINATE_ON_HOST_MAINTENANCE" if private.get("preempted") else "NONE",
            "scheduling": _scheduling_tree(instance["scheduling"]),
            "serviceAccounts": self._accounts_tree(instance),
            "networkInterfaces": [_nic_tree(nic) for nic in instance["networkInterfaces"]],
            "disks": [_disk_tree(disk) for disk in instance["disks"]],
        }

    def _image_of(self, instance: Document) -> str:
        disk = self._parts.store.get(relative(instance["disks"][0]["source"])) or {}
        return relative(disk.get("sourceImage", ""))

    def _accounts_tree(self, instance: Document) -> Document:
        accounts = {
            account["email"]: {"aliases": ["default"], "email": account["email"], "scopes": account["scopes"]}
            for account in instance.get("serviceAccounts", ())
        }
        return {**accounts, **({"default": next(iter(accounts.values()))} if accounts else {})}

    def access_token(self, key: str) -> Mapping[str, object]:
        """Issue a token for the instance's service account.

        Raises:
            NotFoundError: the instance has none, or its account was deleted.
        """
        accounts = (self._parts.store.get(key) or {}).get("serviceAccounts") or []
        if not accounts or self._parts.store.get(ACCOUNTS + accounts[0]["email"]) is None:
            raise api_errors.missing("The service account was not found.")
        return self._parts.access.issue_token(accounts[0]["email"])

    def set_guest_attribute(self, key: str, namespace: str, name: str, value: str) -> None:
        if self._parts.store.get(key) is None:
            return
        with self._parts.store.edit(PRIVATE + key) as private:
            private.setdefault("guest", {}).setdefault(namespace, {})[name] = value[:_MAX_GUEST_VALUE_BYTES]

    def delete_guest_attribute(self, key: str, namespace: str, name: str) -> None:
        if self._parts.store.get(key) is None:
            return
        with self._parts.store.edit(PRIVATE + key) as private:
            private.get("guest", {}).get(namespace, {}).pop(name, None)

    def guest_attributes(self, key: str) -> Mapping[str, Mapping[str, str]]:
        guest: Mapping[str, Mapping[str, str]] = (self._parts.store.get(PRIVATE + key) or {}).get("guest", {})
        return guest

    def append_serial(self, key: str, text: str) -> None:
        instance = self._parts.store.get(key)
        if instance is not None:
            append_serial(self._parts.settings.state, instance["id"], text)

    def guest_powered_off(self, key: str) -> None:
        self.on_power_off(key)


def _attributes(items: list[Document]) -> dict[str, str]:
    return {item["key"]: str(item.get("value", "")) for item in items}


def _scheduling_tree(scheduling: Document) -> Document:
    return {
        "automaticRestart": "TRUE" if scheduling["automaticRestart"] else "FALSE",
        "onHostMaintenance": scheduling["onHostMaintenance"],
        "preemptible": "TRUE" if scheduling["preemptible"] else "FALSE",
        "instanceTerminationAction": scheduling.get("instanceTerminationAction", ""),
    }


def _nic_tree(nic: Document) -> Document:
    return {
        "ip": nic["networkIP"],
        "network": re.sub(r"^.*?projects/", "projects/", nic["network"]),
        "accessConfigs": [
            {"externalIp": config.get("natIP", ""), "type": "ONE_TO_ONE_NAT"} for config in nic.get("accessConfigs", ())
        ],
    }


def _disk_tree(disk: Document) -> Document:
    return {
        "deviceName": disk["deviceName"],
        "index": disk["index"],
        "interface": disk["interface"],
        "mode": disk["mode"],
        "type": "PERSISTENT-BALANCED",
    }
