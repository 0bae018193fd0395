"""The parts of the inventory in Compute Engine: labelled resources, and our network, whose parts cannot have labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runner.errors import NotFoundError, PermissionDeniedError
from runner.google import GONE_ALREADY, Api, Json, Operations, segment
from runner.model import names
from runner.model.leftover import BASE_PART, VALIDATED, Item, Kind

COLLECTIONS = {Kind.INSTANCE: "instances", Kind.DISK: "disks", Kind.ADDRESS: "addresses", Kind.IMAGE: "images"}
NETWORK_PARTS = {
    Kind.FIREWALL: ("firewalls", "global", names.SSH_FIREWALL),
    Kind.ROUTER: ("routers", "regions", names.NETWORK),
    Kind.SUBNETWORK: ("subnetworks", "regions", names.SUBNETWORK),
    Kind.NETWORK: ("networks", "global", names.NETWORK),
}
RECIPE_LABEL = "recipe"  # only an image that was created after its validation has it


class LabelledCompute:
    """Instances, disks, addresses and images by label. Resources without the label are not even listed."""

    kinds = tuple(COLLECTIONS)

    def __init__(self, api: Api, project: str) -> None:
        self._api = api
        self._project = f"projects/{segment(project)}"
        self._operations = Operations(api, project)

    def list_items(self, kind: Kind, labels: Mapping[str, str]) -> Sequence[Item]:
        """List the items of one kind that have all these labels."""
        collection, wanted = COLLECTIONS[kind], names.label_filter(labels)
        if kind is Kind.IMAGE:
            found = self._api.items(f"{self._project}/global/images", filter=wanted)
            return [_item(kind, "global", image, state=_image_state(image)) for image in found]
        pages = self._api.whole_pages(f"{self._project}/aggregated/{collection}", filter=wanted)
        return [
            _item(kind, scope, found, state=str(found.get("status", "")))
            for page in pages
            for scope, part in page.get("items", {}).items()
            for found in part.get(collection, [])
        ]

    def remove(self, item: Item) -> str:
        """Delete it and wait. If the user is not permitted to, but it does not exist, that is no error."""
        scope = scope_of(item.kind, item.location, is_regional=item.is_regional)
        path = f"{scope}/{COLLECTIONS[item.kind]}/{segment(item.name)}"
        try:
            return self._operations.delete(path)
        except PermissionDeniedError:
            if self._is_there(path):
                raise
            return GONE_ALREADY

    def _is_there(self, path: str) -> bool:
        """Return whether it exists; if that is not permitted either, assume that it does."""
        try:
            self._api.get(f"{self._project}/{path}")
        except NotFoundError:
            return False
        except PermissionDeniedError:
            return True
        return True


class OurNetwork:
    """Firewall, router, subnetwork, network: they have no labels, but our names, and belong to our network.

    ``owner_of_base`` returns the owner of the base, which is that of its bucket.
    """

    kinds = tuple(NETWORK_PARTS)

    def __init__(self, api: Api, project: str, region: str, owner_of_base: Callable[[], str]) -> None:
        self._api = api
        self._project = f"projects/{segment(project)}"
        self._region = region
        self._owner_of_base = owner_of_base
        self._operations = Operations(api, project)

    def list_items(self, kind: Kind, labels: Mapping[str, str]) -> Sequence[Item]:
        """List the part of this kind, if it exists."""
        try:
            found = self._api.get(f"{self._project}/{self._path(kind)}")
        except NotFoundError:
            return []
        if kind is not Kind.NETWORK and not str(found.get("network", "")).endswith(f"/networks/{names.NETWORK}"):
            return []
        marks = {"app": names.APP, "owner": self._owner_of_base(), "part": BASE_PART}
        location = "" if NETWORK_PARTS[kind][1] == "global" else self._region
        return [Item(kind=kind, name=str(found["name"]), location=location, labels=marks, uid=str(found.get("id", "")))]

    def remove(self, item: Item) -> str:
        """Delete it and wait."""
        return self._operations.delete(self._path(item.kind))

    def _path(self, kind: Kind) -> str:
        collection, scope, name = NETWORK_PARTS[kind]
        where = "global" if scope == "global" else f"regions/{segment(self._region)}"
        return f"{where}/{collection}/{name}"


def _item(kind: Kind, scope: str, found: Mapping[str, Any], *, state: str) -> Item:
    collection, _, location = scope.partition("/")
    return Item(
        kind=kind,
        name=str(found["name"]),
        location=location,
        is_regional=collection == "regions",
        labels={str(key): str(value) for key, value in found.get("labels", {}).items()},
        state=state,
        users=tuple(_user(link) for link in found.get("users", [])),
        size_gib=int(found.get("sizeGb", 0)),
        uid=str(found.get("id", "")),
    )


def _user(link: str) -> str:
    """Return zone and name of a VM, from its link ``…/zones/ZONE/instances/NAME``; other users in the same way."""
    parts = link.split("/")
    return "/".join((*parts[-3:-2], parts[-1]))


def _image_state(image: Json) -> str:
    is_validated = image.get("status") == "READY" and RECIPE_LABEL in image.get("labels", {})
    return VALIDATED if is_validated else f"{image.get('status', 'UNKNOWN')}, not validated"


def scope_of(kind: Kind, location: str, *, is_regional: bool = False) -> str:
    """Return the scope of a resource: ``zones/Z``, ``regions/R`` or ``global``. Of our kinds only addresses are always regional."""
    if not location:
        return "global"
    return f"{'regions' if is_regional or kind is Kind.ADDRESS else 'zones'}/{segment(location)}"
