"""Changes of the embedded cloud by a test, without the knowledge of its clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests

from runner.emulator.control.endpoint import read_endpoint
from tests.e2e.site import Site
from tests.support.bucket import storage_client

if TYPE_CHECKING:
    from google.cloud.storage import Bucket

LIMIT_S = 60


class CloudControl:
    """The admin API and the objects of a site's running cloud."""

    def __init__(self, site: Site) -> None:
        endpoint = read_endpoint(site.home / "local" / "cloud")
        assert endpoint is not None
        self._endpoint = endpoint

    def preempt(self, instance: str, *, notice_s: float) -> None:
        """Preempt a VM; no error if it is already gone."""
        answer = self._ask("POST", "preempt", {"instance": instance, "notice_s": notice_s})
        assert answer.status_code in (200, 404), answer.text

    def arm(self, fault: dict[str, Any]) -> None:
        """Arm a fault; its kinds are in docs/faults.md."""
        answer = self._ask("POST", "faults", fault)
        assert answer.status_code == 200, answer.text

    def clear_faults(self) -> None:
        """Disarm all faults."""
        assert self._ask("DELETE", "faults").status_code == 200

    def bucket(self, name: str) -> Bucket:
        """Return a bucket of the storage client."""
        return storage_client(self._endpoint).bucket(name)

    def _ask(self, method: str, what: str, body: dict[str, Any] | None = None) -> requests.Response:
        endpoint = self._endpoint
        url = f"{endpoint.url}/_local/{what}"
        return requests.request(method, url, json=body, headers=endpoint.headers, timeout=LIMIT_S)
