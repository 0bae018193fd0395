"""A batch's VM on an embedded cloud of the test's own: the image's prefix, its service account, real jobs over real SSH."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import requests

from infra.components.identity import SELF_DELETE_PERMISSIONS
from infra.components.lease_watch import LeaseWatch
from runner.emulator import control
from runner.google.compute import Compute, Instance
from runner.google.os_login import OsLogin
from runner.google.rest import Api, Endpoints
from runner.hardware import OpenSeesInterface, OpenSeesJob
from runner.model import names
from runner.model.lease import Lease, new_lease
from runner.results.store import ResultStore
from runner.wiring.owner_session import new_owner_session
from tests.packer.prefix import copy_prefix
from tests.support.bucket import storage_client

LIMIT_S = 90.0
WALL_S = 24 * 3600
PROJECT, ZONE = "local-project", "europe-west4-a"
BUCKET = names.bucket_name(PROJECT)
ACCOUNT = names.service_account_email(PROJECT)
MEMBER = f"serviceAccount:{ACCOUNT}"
IMAGE = "projects/cloud-hpc-image-public/global/images/family/hpc-rocky-linux-8"
TOLD = (("grace", 60), ("look", 0.3), ("push", 60))


def until(holds: Callable[[], Any], what: str) -> Any:
    """Poll until a condition is true; return its value."""
    give_up = time.monotonic() + LIMIT_S
    while time.monotonic() < give_up:
        if value := holds():
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited in vain: {what}")


@dataclass(kw_only=True)
class EmulatedCloud:
    """An embedded cloud with the resources of the stack ``base`` that VMs need."""

    state: Path
    endpoint: Any
    folder: Path
    prefix: Path
    interfaces: list[OpenSeesInterface] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.compute = Compute(Api(self.endpoints.compute, self.new_session), PROJECT)
        self.store = ResultStore(self.new_storage_client, BUCKET)

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints.below(self.endpoint.url)

    def new_session(self) -> requests.Session:
        return new_owner_session(self.endpoint)

    def new_storage_client(self) -> Any:
        return storage_client(self.endpoint)

    def ask(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        """Send a request to the cloud; return its JSON answer."""
        with self.new_session() as session:
            answer = session.request(method, f"{self.endpoint.url}{path}", json=body, params=query, timeout=LIMIT_S)
        assert answer.status_code < 300, (path, answer.status_code, answer.text)
        return answer.json() if answer.content else {}

    def done(self, method: str, path: str, body: Any = None) -> None:
        """Send a request that begins an operation, and wait for the operation."""
        operation = self.ask(method, path, body)
        wait = operation["selfLink"].replace("https://www.googleapis.com", "")
        assert "error" not in self.ask("POST", f"{wait}/wait")

    def make_base(self) -> None:
        """Create service account, role with its grant, and bucket."""
        self.ask("POST", f"/iam/v1/projects/{PROJECT}/serviceAccounts", {"accountId": names.SERVICE_ACCOUNT_ID})
        role = {"title": "delete itself", "includedPermissions": list(SELF_DELETE_PERMISSIONS), "stage": "GA"}
        wanted = {"roleId": names.SELF_DELETE_ROLE_ID, "role": role}
        self.ask("POST", f"/iam/v1/projects/{PROJECT}/roles", wanted)
        condition = {"title": names.SELF_DELETE_ROLE_TITLE, "expression": names.self_delete_condition()}
        binding = {"role": names.self_delete_role(PROJECT), "members": [MEMBER], "condition": condition}
        policy = {"bindings": [binding], "version": 3}
        self.ask("POST", f"/cloudresourcemanager/v1/projects/{PROJECT}:setIamPolicy", {"policy": policy})
        self.ask("POST", "/storage/v1/b", {"name": BUCKET}, project=PROJECT)
        roles = ("roles/storage.objectCreator", "roles/storage.objectViewer")
        self.ask(
            "PUT", f"/storage/v1/b/{BUCKET}/iam", {"bindings": [{"role": one, "members": [MEMBER]} for one in roles]}
        )

    def make_vm(self, batch: str, *, lease_s: int, may_delete_itself: bool = True, **told: float) -> EmulatedVm:
        """Return a VM of a batch as ``infra/analysis`` declares it, and a job interface to it. ``told``: seconds, as metadata.

        One that may not delete itself has a name that is not among those that the grant is for.
        """
        name = names.instance_name(batch, 0) if may_delete_itself else f"other-{batch}"
        compute = f"/compute/v1/projects/{PROJECT}/zones/{ZONE}"
        self.done("POST", f"{compute}/disks", {"name": name, "sourceImage": IMAGE, "sizeGb": "50"})
        disk = self.ask("GET", f"{compute}/disks/{name}")
        root = self.state / "disks" / disk["id"] / "root"
        until(lambda: (root / "usr/bin").is_dir(), "the disk has its files")
        copy_prefix(self.prefix, root / "opt/opensees-hpc")
        self.done("POST", f"{compute}/instances", _instance_body(name, batch, lease_s, dict(TOLD) | told))
        return EmulatedVm(cloud=self, batch=batch, name=name, root=root)

    def open_interface(self, instance: Instance, batch: str) -> OpenSeesInterface:
        """Return the job interface of a VM, closed with the cloud."""
        key = self.folder / "key"
        session = self.new_session
        api = Api(self.endpoints.oslogin, session)
        login = OsLogin(api, operator="you@example.com", project=PROJECT, key_file=key).import_key()
        keys = until(
            lambda: self.compute.guest_attributes(instance.zone, instance.name, "hostkeys"), "the VM has a host key"
        )
        interface = OpenSeesInterface(
            user=login.user,
            host=f"{instance.address}:{self.endpoint.ssh_port}",
            name=instance.name,
            key_filename=login.key_file,
            host_keys=keys,
            workspace_dir=f"{names.APP}/{batch}",
            boot_timeout_s=LIMIT_S,
        )
        self.interfaces.append(interface)
        return interface

    def names_of(self, prefix: str) -> list[str]:
        """Return the names of objects with this prefix, without the prefix."""
        listed = self.ask("GET", f"/storage/v1/b/{BUCKET}/o", prefix=prefix).get("items", [])
        return sorted(item["name"].removeprefix(prefix) for item in listed)

    def read_json(self, name: str) -> Any:
        """Return the content of a small object."""
        return self.ask("GET", f"/storage/v1/b/{BUCKET}/o/{quote(name, safe='')}", alt="media")

    def fault(self, **fault: Any) -> None:
        """Arm a fault."""
        self.ask("POST", "/_local/faults", fault)

    def no_faults(self) -> None:
        """Disarm all faults."""
        self.ask("DELETE", "/_local/faults")


@dataclass(kw_only=True)
class EmulatedVm:
    """One VM and its batch."""

    cloud: EmulatedCloud
    batch: str
    name: str
    root: Path

    def __post_init__(self) -> None:
        self.jobs = self.cloud.open_interface(self.instance(), self.batch)

    def instance(self) -> Instance:
        """Return the instance as the cloud has it now."""
        found = self.cloud.compute.instance(ZONE, self.name)
        assert found is not None
        return found

    def status(self) -> str:
        """Return Google's status, ``gone`` if the VM does not exist."""
        found = self.cloud.compute.instance(ZONE, self.name)
        return "gone" if found is None else found.status

    def log(self) -> str:
        """Return the output of the serial port."""
        return self.cloud.compute.serial_output(ZONE, self.name)

    def write_lease(self, lease_s: float, **changes: Any) -> Lease:
        """Renew the lease, as a client does."""
        lease = new_lease(self.batch, "somebody@here 1", datetime.now(UTC), lease_s)
        lease = Lease(**{**vars(lease), **changes})
        self.cloud.store.put_control(self.batch, names.LEASE, lease.as_json())
        return lease

    def submit(self, name: str, script: str, *, timeout_s: float = 600.0) -> None:
        """Submit the first attempt of a job that is a shell script and pushes its results when it ends."""
        folder = self.cloud.folder / "models" / self.batch / name
        folder.mkdir(parents=True)
        (folder / "main.sh").write_text(script)
        prefix = names.result_prefix(self.batch, name, 1)
        push = ("push-results", "--bucket", BUCKET, "--prefix", prefix, "--dir", ".")
        job = OpenSeesJob(
            id=names.attempt_folder(name, 1),
            folder=folder,
            files=("main.sh",),
            main="main.sh",
            np=1,
            command=("sh", "main.sh"),
            timeout_s=timeout_s,
            on_end=push,
        )
        self.jobs.submit_job(job)

    def results(self, job: str) -> list[str]:
        """Return the objects of a job's first attempt in the bucket."""
        return self.cloud.names_of(names.result_prefix(self.batch, job, 1))

    def has_committed(self, job: str) -> bool:
        """Return whether its results in the bucket are complete."""
        return names.COMMIT_MARKER in self.results(job)

    def manifest(self, job: str) -> Any:
        """Return the manifest of its first attempt."""
        return self.cloud.read_json(names.result_prefix(self.batch, job, 1) + names.MANIFEST)

    def watchdog(self) -> psutil.Process:
        """Return the process of ``watch-lease``."""
        prefix = str(self.root / "opt/opensees-hpc")
        found = (one for one in psutil.process_iter(["cmdline"]) if (one.info["cmdline"] or [""])[-1] == prefix)
        return next(one for one in found if "opensees_hpc.watch_lease" in one.info["cmdline"])

    def preempt(self) -> None:
        """Preempt the VM, by the method that Google's API has for tests."""
        path = f"/compute/v1/projects/{PROJECT}/zones/{ZONE}/instances/{self.name}/simulateMaintenanceEvent"
        self.cloud.ask("POST", path)


def _instance_body(name: str, batch: str, lease_s: int, told: Mapping[str, float]) -> dict[str, Any]:
    metadata = LeaseWatch(batch=batch, project=PROJECT, lease_s=lease_s).metadata()
    metadata |= {"enable-oslogin": "TRUE", "enable-guest-attributes": "TRUE"}
    metadata |= {f"{names.APP}-{key}-seconds": str(value) for key, value in told.items()}
    return {
        "name": name,
        "machineType": f"zones/{ZONE}/machineTypes/c2-standard-4",
        "labels": names.labels_of_batch(batch),
        "disks": [{"boot": True, "autoDelete": True, "source": f"projects/{PROJECT}/zones/{ZONE}/disks/{name}"}],
        "networkInterfaces": [{"network": "global/networks/default", "accessConfigs": [{"type": "ONE_TO_ONE_NAT"}]}],
        "scheduling": {
            "provisioningModel": "SPOT",
            "preemptible": True,
            "automaticRestart": False,
            "instanceTerminationAction": "DELETE",
            "maxRunDuration": {"seconds": str(WALL_S)},
        },
        "serviceAccounts": [{"email": ACCOUNT, "scopes": ["https://www.googleapis.com/auth/cloud-platform"]}],
        "metadata": {"items": [{"key": key, "value": value} for key, value in metadata.items()]},
    }


@contextmanager
def run_cloud(folder: Path, prefix: Path) -> Iterator[EmulatedCloud]:
    """Yield a cloud that ends with the block."""
    state = folder / "state"
    endpoint = control.start(state)
    cloud = EmulatedCloud(state=state, endpoint=endpoint, folder=folder, prefix=prefix)
    try:
        cloud.make_base()
        yield cloud
    finally:
        for interface in cloud.interfaces:
            interface.close()
        control.stop(state)
