"""Memory of the embedded cloud with idle VMs, made and deleted through its Compute API."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import psutil

from runner.model import names
from runner.wiring import make_context
from runner.wiring.clouds import LocalCloud

WAIT_LIMIT_S = 120.0
LOOK_EVERY_S = 0.2
SETTLE_S = 3.0
SOURCE_IMAGE = "projects/debian-cloud/global/images/family/debian-12"
MACHINE_TYPE = "e2-standard-2"


def measure_memory(env: Mapping[str, str], *, vms: int) -> dict[str, Any]:
    """Memory in MB of the embedded cloud's process tree with no VM and with ``vms`` idle ones.

    RSS counts a page once for each process that shares it, PSS (Linux only) shares it out.
    """
    context = make_context(env)
    cloud = context.cloud
    if not isinstance(cloud, LocalCloud):
        raise SystemExit("memory is measured on the target local only")
    cloud.open()
    instances = _Instances(cloud, zone=cloud.endpoint.zone)
    instance_names = [f"idle-{index}" for index in range(vms)]
    without = _tree_memory(cloud.endpoint.pid)
    try:
        for name in instance_names:
            instances.insert(name)
        for name in instance_names:
            _wait_until(lambda name=name: instances.is_up(name), f"{name} to run")  # type: ignore[misc]
        time.sleep(SETTLE_S)
        with_vms = _tree_memory(cloud.endpoint.pid)
    finally:
        for name in instance_names:
            instances.delete(name)
        for name in instance_names:
            _wait_until(lambda name=name: instances.is_gone(name), f"{name} to go")  # type: ignore[misc]
    return {"vms": vms, "without_vms": without, "with_vms": with_vms}


class _Instances:
    """The few Compute calls that an idle VM needs."""

    def __init__(self, cloud: LocalCloud, *, zone: str) -> None:
        project = cloud.settings.project
        self._base = f"{cloud.endpoint.url}/compute/v1/projects/{project}/zones/{zone}"
        self._subnetwork = f"projects/{project}/regions/{zone.rsplit('-', 1)[0]}/subnetworks/{names.SUBNETWORK}"
        self._zone = zone
        self._session = cloud.new_session()

    def insert(self, name: str) -> None:
        body = {
            "name": name,
            "machineType": f"zones/{self._zone}/machineTypes/{MACHINE_TYPE}",
            "disks": [{"boot": True, "autoDelete": True, "initializeParams": {"sourceImage": SOURCE_IMAGE}}],
            "networkInterfaces": [{"subnetwork": self._subnetwork}],
            "metadata": {"items": [{"key": "enable-guest-attributes", "value": "TRUE"}]},
        }
        answer = self._session.post(f"{self._base}/instances", json=body, timeout=60)
        if not answer.ok:
            raise SystemExit(f"could not create {name}: {answer.text}")

    def is_up(self, name: str) -> bool:
        """Whether SSH is up: the guest has published its host keys."""
        path = f"{self._base}/instances/{name}/getGuestAttributes"
        return self._session.get(path, params={"queryPath": "hostkeys/"}, timeout=60).ok

    def delete(self, name: str) -> None:
        self._session.delete(f"{self._base}/instances/{name}", timeout=60)

    def is_gone(self, name: str) -> bool:
        return self._session.get(f"{self._base}/instances/{name}", timeout=60).status_code == HTTPStatus.NOT_FOUND


def _wait_until(holds: Callable[[], bool], what: str) -> None:
    give_up_at = time.monotonic() + WAIT_LIMIT_S
    while not holds():
        if time.monotonic() > give_up_at:
            raise SystemExit(f"waited {WAIT_LIMIT_S:.0f} s for {what}")
        time.sleep(LOOK_EVERY_S)


def _tree_memory(pid: int) -> dict[str, float]:
    """RSS and PSS in MB (1e6 bytes), and the number of processes, of a process and all below it."""
    root = psutil.Process(pid)
    rss, pss, count = 0, 0, 0
    for process in (root, *root.children(recursive=True)):
        try:
            memory = process.memory_full_info()
        except psutil.NoSuchProcess:
            continue
        rss, pss, count = rss + memory.rss, pss + getattr(memory, "pss", 0), count + 1
    return {"rss_mb": round(rss / 1e6, 1), "pss_mb": round(pss / 1e6, 1), "processes": count}
