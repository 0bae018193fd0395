"""Resolves references in request bodies (partial or full links) to existing resources, or fails with Google's errors."""

from __future__ import annotations

from runner.emulator.compute.machine_types import DISK_TYPES, MACHINE_TYPES
from runner.emulator.iam import ACCOUNTS
from runner.emulator.state import CloudSettings, Document, Store, region_of
from runner.emulator.wire import api_errors, relative, tail

GONE_STATES = ("OBSOLETE", "DELETED")
HIDDEN_STATES = ("DEPRECATED", *GONE_STATES)


class References:
    """Looks up the resources that a body names. Each method returns the canonical path ``projects/…``."""

    def __init__(self, store: Store, settings: CloudSettings) -> None:
        self._store = store
        self._settings = settings

    def canonical(self, reference: str) -> str:
        """Return a reference (``global/…``, ``zones/…``, ``projects/…`` or a URL) as ``projects/…``."""
        path = relative(reference)
        path = path if path.startswith("projects/") else f"projects/{self._settings.project}/{path.lstrip('/')}"
        return path.replace(f"projects/{self._settings.project_number}/", f"projects/{self._settings.project}/", 1)

    def machine_type(self, reference: str | None, zone: str) -> str:
        field = "resource.machineType"
        if not reference:
            raise api_errors.required(field)
        path = self.canonical(reference)
        if path != f"projects/{self._settings.project}/zones/{zone}/machineTypes/{tail(path)}":
            raise api_errors.invalid_field(field, reference, f"The machine type must be in the zone '{zone}'.")
        if tail(path) not in MACHINE_TYPES:
            raise api_errors.invalid_field(field, reference, "The referenced resource does not exist.")
        return path

    def disk_type(self, reference: str | None, zone: str, *, field: str) -> str:
        name = tail(reference or "pd-standard")
        path = f"projects/{self._settings.project}/zones/{zone}/diskTypes/{name}"
        if name not in DISK_TYPES or (reference and "/" in reference and self.canonical(reference) != path):
            raise api_errors.invalid_field(field, reference, "The referenced resource does not exist.")
        return path

    def image(self, reference: str, *, field: str) -> tuple[str, Document]:
        """Return the path and document of an image; a family stands for its newest image that is not deprecated."""
        path = self.canonical(reference)
        parts = path.split("/")
        if len(parts) == 6 and parts[4] == "family":
            return self.family_image(parts[1], parts[5])
        image = self._store.get(path) if "/global/images/" in path else None
        if image is None:
            raise api_errors.invalid_field(field, reference, "The referenced image resource cannot be found.")
        if (image.get("deprecated") or {}).get("state") in GONE_STATES:
            raise api_errors.invalid_field(field, reference, "The referenced image is obsolete or deleted.")
        if image["status"] != "READY":
            raise api_errors.not_ready(path)
        return path, image

    def family_image(self, project: str, family: str) -> tuple[str, Document]:
        wanted = [
            (image["creationTimestamp"], path)
            for path, image in self._store.items(f"projects/{project}/global/images/")
            if image.get("family") == family
            and image["status"] == "READY"
            and (image.get("deprecated") or {}).get("state") not in HIDDEN_STATES
        ]
        if not wanted:
            raise api_errors.not_found(f"projects/{project}/global/images/family/{family}")
        path = max(wanted)[1]
        return path, self._store.get(path) or {}

    def disk(self, reference: str, zone: str, *, field: str) -> tuple[str, Document]:
        path = self.canonical(reference)
        disk = self._store.get(path) if "/disks/" in path else None
        if disk is None:
            raise api_errors.not_found(path)
        if not path.startswith(f"projects/{self._settings.project}/zones/{zone}/"):
            raise api_errors.invalid_field(field, reference, f"The disk must be in the zone '{zone}'.")
        return path, disk

    def network(self, reference: str | None, *, field: str = "resource.network") -> str:
        path = self.canonical(reference or "global/networks/default")
        if "/global/networks/" not in path or self._store.get(path) is None:
            raise api_errors.invalid_field(field, reference, "The referenced network resource cannot be found.")
        return path

    def nic_networks(self, nic: Document, zone: str, *, field: str) -> tuple[str, str]:
        """Return the network and subnetwork of a network interface."""
        region = region_of(zone)
        if nic.get("subnetwork"):
            path = self.canonical(nic["subnetwork"])
            subnetwork = self._store.get(path) if "/subnetworks/" in path else None
            if subnetwork is None:
                why = "The referenced subnetwork resource cannot be found."
                raise api_errors.invalid_field(f"{field}.subnetwork", nic["subnetwork"], why)
            if path.split("/")[3] != region:
                raise api_errors.invalid_field(
                    f"{field}.subnetwork", nic["subnetwork"], "Subnetwork is in another region."
                )
            return relative(subnetwork["network"]), path
        network = self.network(nic.get("network"), field=f"{field}.network")
        if not (self._store.get(network) or {}).get("autoCreateSubnetworks"):
            raise api_errors.invalid_field(
                field, network, "Subnetwork should be specified for custom subnetmode network."
            )
        return network, f"projects/{self._settings.project}/regions/{region}/subnetworks/{tail(network)}"

    def service_account(self, email: str) -> str:
        """Return the email address of an account; ``default`` stands for the project's default Compute account."""
        email = self._settings.default_account if email == "default" else email
        if self._store.get(ACCOUNTS + email) is None:
            raise api_errors.missing(f"The resource '{email}' of type 'serviceAccount' was not found.")
        return email
