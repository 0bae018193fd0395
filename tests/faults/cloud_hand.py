"""A hand in the embedded cloud: what a test does to it behind the back of every client."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import requests

from tests.core.bucket import storage_client
from tests.e2e.site import Site

if TYPE_CHECKING:
    from google.cloud.storage import Bucket

LIMIT_S = 60


class CloudHand:
    """The admin API and the objects of a site's cloud, which runs."""

    def __init__(self, site: Site) -> None:
        self.url = json.loads((site.home / "local" / "cloud" / "endpoint.json").read_text())["url"]

    def preempt(self, instance: str, *, notice_s: float) -> None:
        """Take a VM away; nothing if it has gone by itself."""
        answer = requests.post(
            f"{self.url}/_local/preempt", json={"instance": instance, "notice_s": notice_s}, timeout=LIMIT_S
        )
        assert answer.status_code in (200, 404), answer.text

    def arm(self, fault: dict[str, Any]) -> None:
        """Arm a fault; docs/faults.md has their kinds."""
        answer = requests.post(f"{self.url}/_local/faults", json=fault, timeout=LIMIT_S)
        assert answer.status_code == 200, answer.text

    def clear_faults(self) -> None:
        """Disarm all faults."""
        assert requests.delete(f"{self.url}/_local/faults", timeout=LIMIT_S).status_code == 200

    def bucket(self, name: str) -> Bucket:
        """A bucket as any client has it."""
        return storage_client(self.url).bucket(name)
