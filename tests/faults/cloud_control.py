"""A hand in the embedded cloud: what a test does to it behind the back of every client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests

from runner.emulator.control.endpoint import read_endpoint
from tests.e2e.site import Site
from tests.support.bucket import storage_client

if TYPE_CHECKING:
    from google.cloud.storage import Bucket

LIMIT_S = 60


class CloudHand:
    """The admin API and the objects of a site's cloud, which runs."""

    def __init__(self, site: Site) -> None:
        endpoint = read_endpoint(site.home / "local" / "cloud")
        assert endpoint is not None
        self._endpoint = endpoint

    def preempt(self, instance: str, *, notice_s: float) -> None:
        """Take a VM away; nothing if it has gone by itself."""
        answer = self._ask("POST", "preempt", {"instance": instance, "notice_s": notice_s})
        assert answer.status_code in (200, 404), answer.text

    def arm(self, fault: dict[str, Any]) -> None:
        """Arm a fault; docs/faults.md has their kinds."""
        answer = self._ask("POST", "faults", fault)
        assert answer.status_code == 200, answer.text

    def clear_faults(self) -> None:
        """Disarm all faults."""
        assert self._ask("DELETE", "faults").status_code == 200

    def bucket(self, name: str) -> Bucket:
        """A bucket as any client has it."""
        return storage_client(self._endpoint).bucket(name)

    def _ask(self, method: str, what: str, body: dict[str, Any] | None = None) -> requests.Response:
        endpoint = self._endpoint
        url = f"{endpoint.url}/_local/{what}"
        return requests.request(method, url, json=body, headers=endpoint.headers, timeout=LIMIT_S)
