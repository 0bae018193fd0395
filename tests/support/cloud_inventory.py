"""An embedded cloud in which a test creates the resources that it needs, and ``cleanup`` on it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import requests

from runner.commands import cleanup
from runner.commands.cleanup import CleanupSummary
from runner.model import names
from runner.model.events import Listener
from runner.model.lease import new_lease
from runner.options.batches import Cleanup
from tests.emulator.conftest import ROCKY
from tests.support.command_site import CommandSite

PROJECT = "local-project"
LIMIT_S = 60.0
ME, BOB = {"app": "opensees-hpc", "owner": "you"}, {"app": "opensees-hpc", "owner": "bob"}
BUCKET = names.bucket_name(PROJECT)
POLICY = f"/cloudresourcemanager/v1/projects/{PROJECT}"


def at(hours: float) -> str:
    return names.expires_label(datetime.now(UTC) + timedelta(hours=hours))


@dataclass(kw_only=True)
class Inventory:
    """An embedded cloud in which a test creates the resources that it needs."""

    site: CommandSite

    @property
    def url(self) -> str:
        return self.site.start_cloud().url

    @property
    def owner(self) -> dict[str, str]:
        """The headers of the cloud's owner."""
        return self.site.start_cloud().headers

    @property
    def compute(self) -> str:
        return f"/compute/v1/projects/{PROJECT}"

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        answer = requests.request(method, f"{self.url}{path}", json=body, headers=self.owner, timeout=LIMIT_S, **more)
        assert answer.status_code < 300, answer.text
        values = answer.json() if answer.content else {}
        if values.get("kind") == "compute#operation" and values["status"] != "DONE":
            return self.ask("POST", values["selfLink"].replace("https://www.googleapis.com", "") + "/wait")
        assert values.get("error") is None, values
        return values

    def vm(self, name: str, labels: dict[str, str], **more: str) -> None:
        self.site.insert_vm(name, **{**labels, **more})

    def unlabelled_vm(self, name: str) -> None:
        self.site.insert_vm(name, app="something-else", batch="b1", owner="you", expires=at(-1))

    def disk(self, name: str, labels: dict[str, str], **more: str) -> None:
        body = {"name": name, "sizeGb": "10", "labels": {**labels, **more}}
        self.ask("POST", f"{self.compute}/zones/europe-west4-a/disks", body)

    def address(self, name: str, labels: dict[str, str], *, is_global: bool = False, **more: str) -> None:
        place = "global" if is_global else "regions/europe-west4"
        self.ask("POST", f"{self.compute}/{place}/addresses", {"name": name, "labels": {**labels, **more}})

    def image(self, name: str, labels: dict[str, str], **more: str) -> None:
        disk = f"source-{name}"
        body = {"name": disk, "sizeGb": "50", "sourceImage": ROCKY}
        self.ask("POST", f"{self.compute}/zones/europe-west4-a/disks", body)
        source = f"projects/{PROJECT}/zones/europe-west4-a/disks/{disk}"
        image = {"name": name, "family": "opensees-hpc", "sourceDisk": source, "labels": {**labels, **more}}
        self.ask("POST", f"{self.compute}/global/images", image)
        self.ask("DELETE", f"{self.compute}/zones/europe-west4-a/disks/{disk}")

    def bucket(self, name: str, labels: dict[str, str]) -> None:
        self.ask("POST", f"/storage/v1/b?project={PROJECT}", {"name": name, "labels": labels})

    def put(self, name: str, content: bytes = b"x") -> None:
        url = f"{self.url}/upload/storage/v1/b/{BUCKET}/o?uploadType=media"
        answer = requests.post(url, params={"name": name}, data=content, headers=self.owner, timeout=LIMIT_S)
        assert answer.status_code == 200

    def lease(self, batch: str, ended_s_ago: float, **changes: Any) -> None:
        """Write the lease of a batch, which expired this long ago."""
        ended = datetime.now(UTC) - timedelta(seconds=ended_s_ago)
        lease = replace(new_lease(batch, "you@there 7", ended - timedelta(seconds=600), 600), **changes)
        self.put(names.lease_object(batch), lease.as_json())

    def switch_off(self, name: str) -> None:
        """Power a VM off."""
        self.ask("POST", f"{self.compute}/zones/europe-west4-a/instances/{name}/stop")

    def objects(self) -> list[str]:
        return [item["name"] for item in self.ask("GET", f"/storage/v1/b/{BUCKET}/o").get("items", [])]

    def base(self) -> None:
        """Create the parts of the base, as the stack does."""
        network = f"projects/{PROJECT}/global/networks/{names.NETWORK}"
        self.bucket(BUCKET, ME)
        self.ask("POST", f"{self.compute}/global/networks", {"name": names.NETWORK, "autoCreateSubnetworks": False})
        rule = {"name": names.SSH_FIREWALL, "network": network, "allowed": [{"IPProtocol": "tcp", "ports": ["22"]}]}
        self.ask("POST", f"{self.compute}/global/firewalls", rule)
        subnet = {"name": names.SUBNETWORK, "network": network, "ipCidrRange": "10.80.0.0/20"}
        self.ask("POST", f"{self.compute}/regions/europe-west4/subnetworks", subnet)
        router = {"name": names.NETWORK, "network": network}
        self.ask("POST", f"{self.compute}/regions/europe-west4/routers", router)
        self.ask("POST", f"/iam/v1/projects/{PROJECT}/serviceAccounts", {"accountId": names.SERVICE_ACCOUNT_ID})
        role = {"roleId": names.SELF_DELETE_ROLE_ID, "role": {"includedPermissions": ["compute.instances.delete"]}}
        self.ask("POST", f"/iam/v1/projects/{PROJECT}/roles", role)
        self.bind(names.self_delete_role(PROJECT), names.SELF_DELETE_ROLE_TITLE)

    def policy(self) -> dict[str, Any]:
        """Return the project's IAM policy, with conditions."""
        wanted = {"options": {"requestedPolicyVersion": 3}}
        return dict(self.ask("POST", f"{POLICY}:getIamPolicy", wanted))

    def bind(self, role: str, title: str) -> None:
        """Add a grant with a condition to the project's policy."""
        condition = {"title": title, "expression": names.self_delete_condition()}
        member = f"serviceAccount:{names.service_account_email(PROJECT)}"
        policy = self.policy()
        bindings = [*policy.get("bindings", []), {"role": role, "members": [member], "condition": condition}]
        self.ask("POST", f"{POLICY}:setIamPolicy", {"policy": policy | {"bindings": bindings, "version": 3}})

    def clean(self, listener: Listener | None = None, **request: Any) -> CleanupSummary:
        given = Cleanup(**{"yes": True, **request})
        context = self.site.context()
        return cleanup.execute(context if listener is None else context.with_listener(listener), given)

    def dump(self) -> list[tuple[str, str]]:
        """Return all documents of the cloud, and the names of all objects."""
        return [*self.dump_without_bucket(), *((name, "object") for name in self.objects())]

    def dump_without_bucket(self) -> list[tuple[str, str]]:
        """Return the same for a cloud without results bucket."""
        database = sqlite3.connect(f"file:{self.site.cloud_folder / 'cloud.sqlite'}?mode=ro", uri=True)
        try:
            return database.execute("SELECT key, doc FROM docs ORDER BY key").fetchall()
        finally:
            database.close()


def gone(summary: CleanupSummary) -> set[str]:
    assert all(removal.is_gone for removal in summary.report.removals)
    return {str(removal.item) for removal in summary.report.removals}
