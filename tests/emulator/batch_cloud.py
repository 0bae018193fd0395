"""A cloud as during a batch: a bucket, a VM with the rights of a batch's VMs, another VM, and another bucket."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from infra.components.identity import BUCKET_ROLES, SELF_DELETE_PERMISSIONS
from runner.emulator.state.settings import CloudSettings
from tests.emulator.conftest import LIMIT_S, CloudUnderTest, Json

EMAIL = "runner@local-project.iam.gserviceaccount.com"
MEMBER = f"serviceAccount:{EMAIL}"
IAM = "/iam/v1/projects/local-project"
OWN_VM = "projects/local-project/zones/europe-west4-a/instances/vm"
COPY = "/storage/v1/b/{source}/rewriteTo/b/{target}"


@dataclass(kw_only=True)
class BatchCloud:
    """A cloud with a bucket, a VM with the rights of a batch's VMs, and another VM."""

    cloud: CloudUnderTest
    vm: Json

    def send(self, method: str, path: str, headers: Json, **more: Any) -> requests.Response:
        session = requests.Session()
        session.trust_env = False
        with session:
            return session.request(method, self.cloud.url + path, headers=headers, timeout=LIMIT_S, **more)


def populate(cloud: CloudUnderTest) -> Json:
    """Create what ``base`` and ``analysis`` create, as far as rights go, and return the headers of the VM."""
    role = {"title": "x", "includedPermissions": list(SELF_DELETE_PERMISSIONS)}
    bindings = [{"role": given, "members": [MEMBER]} for given in BUCKET_ROLES]
    assert cloud.ask("POST", f"{IAM}/serviceAccounts", {"accountId": "runner"}).status_code == 200
    assert cloud.ask("POST", f"{IAM}/roles", {"roleId": "selfDelete", "role": role}).status_code == 200
    for bucket in ("results", "elsewhere"):
        assert cloud.ask("POST", "/storage/v1/b?project=local-project", {"name": bucket}).status_code == 200
    assert cloud.ask("PUT", "/storage/v1/b/results/iam", {"bindings": bindings}).status_code == 200
    for name in ("vm", "other"):
        cloud.insert_vm(name, serviceAccounts=[{"email": EMAIL, "scopes": ["cloud-platform"]}])
    own = {"bindings": [{"role": "projects/local-project/roles/selfDelete", "members": [MEMBER]}]}
    assert cloud.ask("POST", f"/compute/v1/{OWN_VM}/setIamPolicy", {"policy": own}).status_code == 200
    for bucket, name in (("results", "theirs"), ("results", "mine"), ("elsewhere", "secret")):
        cloud.session.post(f"{cloud.url}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}", data=b"kept")
    return {"Authorization": f"Bearer {cloud.hypervisor.view.access_token(OWN_VM)['access_token']}"}


@contextlib.contextmanager
def open_batch_cloud(state: Path) -> Iterator[BatchCloud]:
    """Start a cloud with this state folder, and stop it afterwards."""
    cloud = CloudUnderTest(CloudSettings(state=state)).start()
    try:
        yield BatchCloud(cloud=cloud, vm=populate(cloud))
    finally:
        cloud.stop()


def multipart(described: str) -> Json:
    body = f"--B\r\nContent-Type: application/json\r\n\r\n{described}\r\n--B\r\nContent-Type: text/plain\r\n\r\nbad\r\n--B--\r\n"
    return {"data": body.encode(), "headers": {"Content-Type": "multipart/related; boundary=B"}}
