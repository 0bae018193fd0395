"""The settings of an embedded cloud, and the regions and zones that it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

REGIONS: Mapping[str, str] = MappingProxyType(
    {
        "europe-west1": "bcd",
        "europe-west3": "abc",
        "europe-west4": "abc",
        "us-central1": "abcf",
        "us-east1": "bcd",
    }
)

ENABLED_SERVICES = (
    "cloudresourcemanager.googleapis.com",
    "compute.googleapis.com",
    "iam.googleapis.com",
    "oslogin.googleapis.com",
    "serviceusage.googleapis.com",
    "storage.googleapis.com",
)


@dataclass(frozen=True, kw_only=True)
class CloudSettings:
    """One project of one owner. ``state`` is the folder for everything that must survive a restart."""

    state: Path
    project: str = "local-project"
    project_number: str = "123456789012"
    user: str = "you@example.com"
    region: str = "europe-west4"
    zone: str = "europe-west4-a"
    enabled_services: tuple[str, ...] = ENABLED_SERVICES

    @property
    def zones(self) -> tuple[str, ...]:
        return tuple(f"{region}-{letter}" for region, letters in REGIONS.items() for letter in letters)

    @property
    def default_account(self) -> str:
        """The email address of the project's default Compute service account."""
        return f"{self.project_number}-compute@developer.gserviceaccount.com"


def region_of(zone: str) -> str:
    """Return the region of a zone: ``europe-west4`` for ``europe-west4-a``."""
    return zone.rsplit("-", 1)[0]
