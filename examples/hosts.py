"""Where an example runs: a host that exists already, or a VM of the embedded cloud created for it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.bake import ensure_image
from runner.errors import HpcError
from runner.google import Api, Operations
from runner.model.events import Listener
from runner.ssh import SshTarget
from runner.vms import wait_for_host_keys
from runner.wiring import make_context
from runner.wiring.clouds import LocalCloud

VM_NAME = "uq-portal-frame"


def say(text: str) -> None:
    """Report progress."""
    sys.stderr.write(f"{text}\n")


@dataclass(frozen=True, kw_only=True)
class ExampleHost:
    """Where the samples are computed."""

    user: str
    host: str
    port: int | None
    key: Path | None
    program: str
    host_keys: dict[str, str] = field(default_factory=dict)

    @property
    def ssh_options(self) -> dict[str, Any]:
        """How to connect; without a key file the agent is asked."""
        return {"key_filename": self.key} if self.key else {"use_ssh_agent": True}

    def target(self) -> SshTarget:
        """For a plain connection."""
        keys = tuple(f"{kind} {blob}" for kind, blob in self.host_keys.items())
        return SshTarget(host=self.host, port=self.port, user=self.user, host_keys=keys, **self.ssh_options)


@contextlib.contextmanager
def embedded_vm() -> Iterator[ExampleHost]:
    """Create a VM of the embedded cloud, from the image of ``invoke build`` (baked if there is none), and delete it at the end."""
    listener = Listener(on_log=lambda _name, line: say(line))
    context = make_context(instead_of_file="target: local\n", listener=listener)
    cloud, settings = context.cloud, context.settings
    if not isinstance(cloud, LocalCloud):
        raise HpcError("this example makes a VM in the embedded cloud only", remedy="give --host for any other machine")
    cloud.open()
    image = ensure_image(context)
    zone = settings.zones_to_try[0]
    api = Api(cloud.endpoints.compute, cloud.new_session)
    body = vm_body(zone, f"projects/{settings.project}/{image.self_path}", image.disk_gib)
    cloud.compute.delete_instance(zone, VM_NAME)
    try:
        operation = api.post(f"projects/{settings.project}/zones/{zone}/instances", body)
        Operations(api, settings.project).wait(operation)
        instance = cloud.compute.instance(zone, VM_NAME)
        if instance is None:
            raise HpcError(f"the VM {VM_NAME} was made, but the cloud does not list it")
        login = cloud.logins.import_key(lifetime_s=3600)
        keys = wait_for_host_keys(context, instance, lambda: True)
        yield ExampleHost(
            user=login.user,
            host=instance.address,
            port=cloud.ssh_port,
            key=login.key_file,
            program="opensees",
            host_keys=dict(keys),
        )
    finally:
        cloud.compute.delete_instance(zone, VM_NAME)


def vm_body(zone: str, image: str, disk_gib: int) -> dict[str, Any]:
    """Return the request to Compute Engine: a small spot VM that deletes itself after an hour."""
    disk = {"boot": True, "autoDelete": True, "initializeParams": {"sourceImage": image, "diskSizeGb": str(disk_gib)}}
    scheduling = {
        "provisioningModel": "SPOT",
        "preemptible": True,
        "automaticRestart": False,
        "instanceTerminationAction": "DELETE",
        "maxRunDuration": {"seconds": "3600"},
    }
    attributes = {"enable-guest-attributes": "TRUE", "enable-oslogin": "TRUE"}
    return {
        "name": VM_NAME,
        "machineType": f"zones/{zone}/machineTypes/c2-standard-4",
        "disks": [disk],
        "networkInterfaces": [{"network": "global/networks/default", "accessConfigs": [{"type": "ONE_TO_ONE_NAT"}]}],
        "scheduling": scheduling,
        "metadata": {"items": [{"key": key, "value": value} for key, value in attributes.items()]},
    }
