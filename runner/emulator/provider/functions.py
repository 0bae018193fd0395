"""The functions (look-ups) that programs may call."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from runner.emulator.provider.compute import ROOT
from runner.emulator.provider.compute_instance import INSTANCE
from runner.emulator.provider.links import relative, tail
from runner.emulator.provider.resource import Cloud, ProviderError
from runner.emulator.provider.rest import Answer, ApiError
from runner.emulator.provider.values import Properties

Function = Callable[[Cloud, Properties], Properties]

_IMAGE_PLAIN = (
    "creationTimestamp",
    "description",
    "family",
    "labelFingerprint",
    "licenses",
    "name",
    "selfLink",
    "sourceDisk",
    "sourceDiskId",
    "sourceImageId",
    "status",
)


def get_image(cloud: Cloud, args: Properties) -> Properties:
    """Run compute.getImage: by ``name``, by ``family`` (its newest), or the only (or most recent) match of a ``filter``."""
    project = cloud.location_of(args, "project")
    images = f"{ROOT}projects/{project}/global/images"
    if sum(key in args for key in ("name", "family", "filter")) != 1:
        raise ProviderError("one of 'name', 'family' or 'filter' must be set")
    try:
        found = (
            _only_image(cloud, images, args) if "filter" in args else cloud.rest.get(f"{images}/{_image_tail(args)}")
        )
    except ApiError as error:
        raise ProviderError(f"error retrieving image information: {error}") from error
    sizes = {
        "archiveSizeBytes": int(found.get("archiveSizeBytes") or 0),
        "diskSizeGb": int(found.get("diskSizeGb") or 0),
    }
    plain = {key: found.get(key) or "" for key in _IMAGE_PLAIN} | {"licenses": found.get("licenses", [])}
    return (
        plain
        | sizes
        | {
            "id": relative(found["selfLink"]),
            "imageId": found.get("id"),
            "labels": found.get("labels", {}),
            "project": project,
            "imageEncryptionKeySha256": "",
            "sourceDiskEncryptionKeySha256": "",
            "filter": args.get("filter"),
            "mostRecent": args.get("mostRecent"),
        }
    )


def _image_tail(args: Properties) -> str:
    return f"family/{args['family']}" if "family" in args else str(args["name"])


def _only_image(cloud: Cloud, images: str, args: Properties) -> Answer:
    items = cloud.rest.get(images, filter=args["filter"]).get("items", [])
    items = sorted(items, key=lambda image: str(image.get("creationTimestamp")), reverse=True)
    if not items or (len(items) > 1 and not args.get("mostRecent")):
        raise ProviderError(f"your filter has returned {len(items)} images; it must return exactly one")
    return dict(items[0])


def get_zones(cloud: Cloud, args: Properties) -> Properties:
    """Run compute.getZones."""
    project, region = cloud.location_of(args, "project"), args.get("region")
    terms = []
    if region:
        terms.append(f"(region eq https://www.googleapis.com/compute/v1/projects/{project}/regions/{region})")
    if args.get("status"):
        terms.append(f"(status eq {args['status']})")
    items = cloud.rest.get(f"{ROOT}projects/{project}/zones", filter=" ".join(terms)).get("items", [])
    mine = [item for item in items if region is None or tail(item["region"]) == region]
    names = sorted(item["name"] for item in mine if args.get("status") in (None, item.get("status")))
    return {
        "id": f"projects/{project}",
        "names": names,
        "project": project,
        "region": region,
        "status": args.get("status"),
    }


def get_client_config(cloud: Cloud, args: Properties) -> Properties:
    """Run organizations.getClientConfig: return the provider's settings; this cloud has no sign-in."""
    settings = cloud.settings
    outputs = {"project": settings.project, "region": settings.region, "zone": settings.zone}
    id = f'projects/"{settings.project}"/regions/"{settings.region}"/zones/"{settings.zone}"'
    return outputs | {"id": id, "accessToken": "local", "defaultLabels": {}}


def get_project(cloud: Cloud, args: Properties) -> Properties:
    """Run organizations.getProject."""
    project = str(args.get("projectId") or cloud.settings.project)
    found = cloud.rest.get(f"cloudresourcemanager/v1/projects/{project}")
    billing = cloud.rest.get(f"cloudbilling/v1/projects/{project}/billingInfo")
    parent, labels = found.get("parent", {}), found.get("labels", {})
    return {
        "id": f"projects/{project}",
        "projectId": project,
        "number": found.get("projectNumber"),
        "name": found.get("name"),
        "labels": labels,
        "effectiveLabels": labels,
        "pulumiLabels": {},
        "tags": {},
        "orgId": parent.get("id") if parent.get("type") == "organization" else "",
        "folderId": parent.get("id") if parent.get("type") == "folder" else "",
        "billingAccount": billing.get("billingAccountName", "").removeprefix("billingAccounts/"),
        "autoCreateNetwork": True,
        "deletionPolicy": "PREVENT",
    }


def get_instance(cloud: Cloud, args: Properties) -> Properties:
    """Run compute.getInstance: by ``selfLink``, or by ``name`` with zone and project."""
    if args.get("selfLink"):
        id = relative(args["selfLink"])
    else:
        id = f"{cloud.location_of(args, 'project')}/{cloud.location_of(args, 'zone')}/{args['name']}"
    state = INSTANCE.operations.read(cloud, id, {})
    if state is None:
        raise ProviderError(f"Error reading instance: {id} was not found")
    return _pluralize(state, _PARTS_OF_INSTANCES)


_PARTS_OF_INSTANCES = {
    "advancedMachineFeatures": "advancedMachineFeatures",
    "bootDisk": "bootDisks",
    "initializeParams": "initializeParams",
    "maxRunDuration": "maxRunDurations",
    "scheduling": "schedulings",
    "serviceAccount": "serviceAccounts",
    "shieldedInstanceConfig": "shieldedInstanceConfigs",
}


def _pluralize(part: Properties, names: Mapping[str, str]) -> Properties:
    """Return a single block as a list of one, as functions have it."""
    listed: Properties = {}
    for key, value in part.items():
        inner = _pluralize(value, names) if isinstance(value, dict) else value
        listed[names.get(key, key)] = [inner] if key in names and inner is not None else inner
    return listed


FUNCTIONS: dict[str, Function] = {
    "gcp:compute/getImage:getImage": get_image,
    "gcp:compute/getInstance:getInstance": get_instance,
    "gcp:compute/getZones:getZones": get_zones,
    "gcp:organizations/getClientConfig:getClientConfig": get_client_config,
    "gcp:organizations/getProject:getProject": get_project,
}
