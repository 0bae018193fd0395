"""A user's computer in a test's own process: settings, a real embedded cloud, a listener that records events."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from runner import wiring
from runner.context import Context
from runner.emulator import control
from runner.emulator.control.endpoint import Endpoint
from runner.model.events import Event, Listener
from tests.emulator.conftest import LIMIT_S, vm_body


@dataclass(kw_only=True)
class CommandSite:
    """``context`` is the value that commands get; ``told`` has the events that they reported."""

    home: Path
    told: list[Event] = field(default_factory=list)

    def context(self, **environment: str) -> Context:
        """Return wiring's context for this state folder; this site records its events."""
        kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        given = kept | {"OPENSEES_HPC_HOME": str(self.home)} | environment
        return wiring.make_context(given, results_folder=self.home / "results", listener=self.listener)

    @property
    def listener(self) -> Listener:
        """A listener that records events."""
        return Listener(on_progress=self.told.append)

    def events(self, word: str) -> list[dict[str, Any]]:
        """Return the values of the events of one kind."""
        return [event.as_json() for event in self.told if event.kind == word]

    @property
    def cloud_folder(self) -> Path:
        """The folder in which wiring puts the embedded cloud."""
        return self.home / "local" / "cloud"

    @property
    def is_cloud_running(self) -> bool:
        """Whether it is running."""
        return control.status(self.cloud_folder) is not None

    def start_cloud(self) -> Endpoint:
        """Start it, or find the running one."""
        return control.start(self.cloud_folder)

    def insert_vm(self, name: str, **labels: str) -> str:
        """Create a VM with these labels and ours; return its zone."""
        endpoint = self.start_cloud()
        body = vm_body(name, zone=endpoint.zone, labels={"app": "opensees-hpc", **labels})
        answer = requests.post(
            f"{self._zone(endpoint)}/instances", json=body, headers=endpoint.headers, timeout=LIMIT_S
        )
        self._wait(endpoint, answer)
        return endpoint.zone

    def delete_vm(self, name: str) -> None:
        """Delete a VM without the knowledge of any client."""
        endpoint = self.start_cloud()
        url = f"{self._zone(endpoint)}/instances/{name}"
        self._wait(endpoint, requests.delete(url, headers=endpoint.headers, timeout=LIMIT_S))

    def arm(self, **fault: Any) -> None:
        """Arm a fault of the embedded cloud."""
        answer = self.ask("POST", "faults", json=fault)
        assert answer.status_code == 200, answer.text

    def disarm(self) -> None:
        """Disarm all faults."""
        self.ask("DELETE", "faults").raise_for_status()

    def ask(self, method: str, what: str, **more: Any) -> requests.Response:
        """Call the embedded cloud's admin API."""
        endpoint = self.start_cloud()
        url = f"{endpoint.url}/_local/{what}"
        return requests.request(method, url, headers=endpoint.headers, timeout=LIMIT_S, **more)

    def close(self) -> None:
        """End the embedded cloud."""
        control.stop(self.cloud_folder)

    def _zone(self, endpoint: Endpoint) -> str:
        return f"{endpoint.url}/compute/v1/projects/{endpoint.project}/zones/{endpoint.zone}"

    def _wait(self, endpoint: Endpoint, answer: requests.Response) -> None:
        assert answer.status_code == 200, answer.text
        path = f"{self._zone(endpoint)}/operations/{answer.json()['name']}/wait"
        done = requests.post(path, headers=endpoint.headers, timeout=LIMIT_S).json()
        assert (done["status"], done.get("error")) == ("DONE", None)
