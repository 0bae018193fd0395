"""Images: families, deprecation, and the sources of images."""

from __future__ import annotations

from runner.emulator.compute.disk_roots import PUBLIC_IMAGES, DiskRoots
from runner.emulator.compute.resources import GLOBAL, Collection, Parts
from runner.emulator.http import Call, Rule
from runner.emulator.state import Document, Store
from runner.emulator.wire import (
    api_errors,
    check_choice,
    check_labels,
    check_name,
    fresh_fingerprint,
    link,
    relative,
    request_fields,
)

PUBLIC_IMAGE_SIZE_GB = 20
_PATCH_FIELDS = {"family": str, "description": str, "labelFingerprint": str}
STATES = ("ACTIVE", "DEPRECATED", "OBSOLETE", "DELETED")


class Images(Collection):
    """``global/images``."""

    def __init__(self, parts: Parts, roots: DiskRoots) -> None:
        super().__init__(parts, "images", "image", GLOBAL)
        self._roots = roots

    def rules(self) -> list[Rule]:
        one, family = self.one, self.base + "/family/{family}"
        return [
            self.rule("GET", family, "getFromFamily", self.get_from_family),
            *self.read_rules(),
            self.rule("POST", self.base, "create", self.insert, request_fields.IMAGE),
            self.rule("DELETE", one, "delete", self.delete),
            self.label_rule(),
            self.rule("POST", f"{one}/deprecate", "deprecate", self.deprecate, request_fields.DEPRECATION),
            self.rule("PATCH", one, "update", self.patch, _PATCH_FIELDS),
        ]

    def get_from_family(self, call: Call) -> Document:
        return self.parts.references.family_image(call.project, call.params["family"])[1]

    def insert(self, call: Call) -> Document:
        self._check(call)
        key, image = self.new_document(call, call.body)
        source_key, source = self._source(call)
        self._complete(image, source_key, source)
        self.parts.store.put(key, image)
        return self.begin(
            "insert",
            key,
            call,
            work=lambda: self._roots.make_image(key, source_key),
            undo=lambda: self.forget(key),
        )

    def _check(self, call: Call) -> None:
        if call.project != self.parts.settings.project:
            raise api_errors.permission_denied("compute.images.create", call.resource)
        check_name(call.body.get("name"))
        if call.body.get("family"):
            check_name(call.body["family"], field="resource.family")
        check_labels(call.body.get("labels"))
        if bool(call.body.get("sourceDisk")) == bool(call.body.get("sourceImage")):
            raise api_errors.invalid("An image needs exactly one source: sourceDisk or sourceImage.")

    def _source(self, call: Call) -> tuple[str, Document]:
        references = self.parts.references
        if call.body.get("sourceImage"):
            return references.image(call.body["sourceImage"], field="resource.sourceImage")
        key = references.canonical(call.body["sourceDisk"])
        disk = self.parts.store.get(key) if "/disks/" in key else None
        if disk is None:
            raise api_errors.not_found(key)
        if disk["status"] != "READY":
            raise api_errors.not_ready(key)
        self._check_unused(key, disk, is_forced=call.query.get("forceCreate") == "true")
        return key, disk

    def _check_unused(self, key: str, disk: Document, *, is_forced: bool) -> None:
        for user in disk["users"]:
            instance = self.parts.store.get(relative(user)) or {}
            if instance.get("status") != "TERMINATED" and not is_forced:
                raise api_errors.in_use("disk", key, relative(user))

    def _complete(self, image: Document, source_key: str, source: Document) -> None:
        image.update(
            status="PENDING",
            sourceType="RAW",
            diskSizeGb=source.get("sizeGb") or source.get("diskSizeGb"),
            archiveSizeBytes="1000000000",
            architecture="X86_64",
            labelFingerprint=fresh_fingerprint(),
            storageLocations=image.get("storageLocations") or ["eu"],
            enableConfidentialCompute=False,
            guestOsFeatures=[{"type": "UEFI_COMPATIBLE"}, {"type": "GVNIC"}],
            licenses=image.get("licenses") or [_LICENSE],
        )
        if "/disks/" in source_key:
            image["sourceDiskId"] = source["id"]
        else:
            image.update(sourceImage=link(source_key), sourceImageId=source["id"])

    async def forget(self, key: str) -> None:
        """Delete an image and its root folder."""
        image = self.parts.store.get(key)
        self.parts.store.delete(key)
        if image is not None:
            await self._roots.remove_image(image)

    def delete(self, call: Call) -> Document:
        key, _ = self._find_own(call, "compute.images.delete")
        return self.begin("delete", key, call, work=lambda: self.forget(key))

    def _find_own(self, call: Call, permission: str) -> tuple[str, Document]:
        if call.project != self.parts.settings.project:
            raise api_errors.permission_denied(permission, call.resource)
        return self.find(call)

    def deprecate(self, call: Call) -> Document:
        key, _ = self._find_own(call, "compute.images.deprecate")
        state = call.body.get("state") or "ACTIVE"
        check_choice(state, STATES, field="deprecationStatus.state")
        with self.parts.store.edit(key) as image:
            image.pop("deprecated", None)
            if state != "ACTIVE":
                image["deprecated"] = {name: value for name, value in call.body.items() if value}
        return self.begin("deprecate", key, call)

    def patch(self, call: Call) -> Document:
        key, _ = self._find_own(call, "compute.images.update")
        with self.parts.store.edit(key) as image:
            image.update({name: call.body[name] for name in ("family", "description") if call.body.get(name)})
        return self.begin("patch", key, call)


_LICENSE = link("projects/rocky-linux-cloud/global/licenses/rocky-linux-8-optimized-gcp")


def put_public_images(store: Store) -> None:
    """Create the documents of Google's public images; their root folders are created when they are first used."""
    for project, (family, name) in PUBLIC_IMAGES.items():
        key = f"projects/{project}/global/images/{name}"
        if store.get(key) is None:
            store.put(key, _public_image(key, family, name, store.next_id()))


def _public_image(key: str, family: str, name: str, number: str) -> Document:
    return {
        "kind": "compute#image",
        "id": number,
        "name": name,
        "family": family,
        "description": f"Embedded stand-in for {name}",
        "creationTimestamp": "2026-08-01T00:00:00.000-07:00",
        "selfLink": link(key),
        "status": "READY",
        "sourceType": "RAW",
        "diskSizeGb": str(PUBLIC_IMAGE_SIZE_GB),
        "archiveSizeBytes": "1000000000",
        "sourceDiskId": None,
        "architecture": "X86_64",
        "labelFingerprint": "42WmSpB8rSM=",
        "storageLocations": ["eu"],
        "enableConfidentialCompute": False,
        "guestOsFeatures": [{"type": "UEFI_COMPATIBLE"}, {"type": "GVNIC"}],
        "licenses": [_LICENSE],
    }
