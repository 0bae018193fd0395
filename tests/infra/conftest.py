"""The real engine and the embedded cloud, for tests of the real programs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from infra.analysis.program import declare as declare_analysis
from infra.base.program import declare as declare_base
from infra.image.program import declare as declare_image
from runner.emulator import control
from runner.stacks.pulumi import EngineSite, PulumiStacks
from tests.infra.engine import ROOT, make_site, make_stacks

API = "/compute/v1/projects/local-project"
SCOPED = ("instances", "disks")
GLOBAL = ("networks", "firewalls", "images")


@dataclass(frozen=True, kw_only=True)
class CloudUnderTest:
    """An embedded cloud of the test's own, asked over its REST API."""

    url: str
    provider_port: int
    owner: Mapping[str, str]

    def ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """One request of the owner."""
        answer = httpx.request(method, f"{self.url}{path}", json=body, headers=self.owner, timeout=60)
        return dict(answer.raise_for_status().json())

    def get(self, path: str) -> dict[str, Any]:
        return self.ask("GET", path)

    def delete_instance(self, name: str, zone: str = "europe-west4-a") -> None:
        """Delete a VM without the stack's knowledge."""
        operation = self.ask("DELETE", f"{API}/zones/{zone}/instances/{name}")
        assert self.ask("POST", f"{API}/zones/{zone}/operations/{operation['name']}/wait")["status"] == "DONE"

    def project_policy(self) -> dict[str, Any]:
        """Return the project's IAM policy, with conditions."""
        wanted = {"options": {"requestedPolicyVersion": 3}}
        return self.ask("POST", "/cloudresourcemanager/v1/projects/local-project:getIamPolicy", wanted)

    def set_project_policy(self, policy: Mapping[str, Any]) -> None:
        """Replace the project's IAM policy."""
        fresh = {"policy": {**policy, "version": 3}}
        self.ask("POST", "/cloudresourcemanager/v1/projects/local-project:setIamPolicy", fresh)

    def arm(self, kind: str, **fault: Any) -> None:
        """Asks for a fault."""
        self.ask("POST", "/_local/faults", {"kind": kind, **fault})

    def disarm(self) -> None:
        """End all faults."""
        self.ask("DELETE", "/_local/faults")

    def names(self, *kinds: str) -> set[str]:
        """Return the names of everything there is, or of some kinds."""
        found: set[str] = set()
        for kind in kinds or (*SCOPED, *GLOBAL):
            found |= {item["name"] for item in self._items(kind)}
        return found

    def names_with_labels(self, labels: Mapping[str, str]) -> set[str]:
        """Return the instances that have these labels."""
        return {item["name"] for item in self._items("instances") if labels.items() <= item["labels"].items()}

    def _items(self, kind: str) -> list[dict[str, Any]]:
        if kind in GLOBAL:
            return list(self.get(f"{API}/global/{kind}").get("items", []))
        scopes = self.get(f"{API}/aggregated/{kind}").get("items", {}).values()
        return [item for scope in scopes for item in scope.get(kind, [])]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudUnderTest]:
    state = tmp_path_factory.mktemp("cloud")
    endpoint = control.start(state)
    try:
        yield CloudUnderTest(url=endpoint.url, provider_port=endpoint.provider_port, owner=endpoint.headers)
    finally:
        control.stop(state)


@pytest.fixture(scope="module")
def site(cloud: CloudUnderTest, tmp_path_factory: pytest.TempPathFactory) -> EngineSite:
    """Return an engine that is attached to the cloud, and a checkout of its own, in which ``pulumi`` can be used by hand."""
    folder = tmp_path_factory.mktemp("engine")
    for part in ("infra", "runner"):
        leave_out = shutil.ignore_patterns("__pycache__", "engine", "Pulumi.*.yaml")
        shutil.copytree(ROOT / part, folder / "checkout" / part, ignore=leave_out)
    more = {"PULUMI_DEBUG_PROVIDERS": f"gcp:{cloud.provider_port}"}
    return make_site(folder, infra=folder / "checkout" / "infra", more=more)


@pytest.fixture(scope="module")
def stacks(site: EngineSite) -> PulumiStacks:
    return make_stacks(site, {"base": declare_base, "image": declare_image, "analysis": declare_analysis})
