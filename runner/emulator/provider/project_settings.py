"""Settings of a project: enabled services, metadata for all instances."""

from __future__ import annotations

from runner.emulator.provider.compute import ROOT, wait_for
from runner.emulator.provider.resource import Cloud, Edit, Operations, ProviderError, ResourceType
from runner.emulator.provider.rest import ApiError
from runner.emulator.provider.schema import all_fields, flag, project, text
from runner.emulator.provider.values import Properties

_CONFLICT, _ATTEMPTS = 412, 10


class ServiceOperations(Operations):
    """projects.Service."""

    def create(self, cloud: Cloud, news: Properties) -> str:
        project, service = cloud.location_of(news, "project"), news["service"]
        if service not in self._enabled(cloud, project):
            path = f"serviceusage/v1/projects/{project}/services/{service}:enable"
            try:
                self._wait(cloud, cloud.rest.post(path, {}))
            except ApiError as error:
                raise ProviderError(f"Error enabling service {service!r} for project {project!r}: {error}") from error
        return f"{project}/{service}"

    def _enabled(self, cloud: Cloud, project: str) -> set[str]:
        query = {"filter": "state:ENABLED", "fields": "services/name,nextPageToken", "pageSize": "200"}
        names: set[str] = set()
        token = ""
        while True:
            more = {"pageToken": token} if token else {}
            page = cloud.rest.get(f"serviceusage/v1/projects/{project}/services", **query, **more)
            names |= {found["name"].rsplit("/", 1)[-1] for found in page.get("services", [])}
            token = page.get("nextPageToken", "")
            if not token:
                return names

    def _wait(self, cloud: Cloud, operation: dict[str, object]) -> None:
        while not operation.get("done") and not cloud.cancelled.wait(0.2):
            operation = cloud.rest.get(f"serviceusage/v1/{operation['name']}")

    def read(self, cloud: Cloud, id: str, prior: Properties) -> Properties | None:
        project, _, service = id.rpartition("/")
        project = project or cloud.settings.project
        if service not in self._enabled(cloud, project):
            return None
        kept = ("disableOnDestroy", "disableDependentServices", "checkIfServiceHasUsageOnDestroy")
        state = {"id": f"{project}/{service}", "project": project, "service": service}
        return state | {key: prior.get(key) for key in kept}

    def delete(self, cloud: Cloud, id: str, state: Properties) -> None:
        if state.get("disableOnDestroy"):
            path = f"serviceusage/v1/projects/{state['project']}/services/{state['service']}:disable"
            dependents = bool(state.get("disableDependentServices"))
            self._wait(cloud, cloud.rest.post(path, {"disableDependentServices": dependents}))


SERVICE = ResourceType(
    token="gcp:projects/service:Service",  # noqa: S106
    operations=ServiceOperations(),
    fields=all_fields(
        project(),
        {
            "service": text(required=True, replace=True, pattern=r"[a-z0-9.-]+\.[a-z0-9.-]+"),
            "disableOnDestroy": flag(),
            "disableDependentServices": flag(),
            "checkIfServiceHasUsageOnDestroy": flag(),
        },
    ),
)


class MetadataItemOperations(Operations):
    """compute.ProjectMetadataItem: one key of the project's metadata, written by read, modify, write."""

    def create(self, cloud: Cloud, news: Properties) -> str:
        self._write(cloud, cloud.location_of(news, "project"), news["key"], news["value"], new=True)
        return str(news["key"])

    def _write(self, cloud: Cloud, project: str, key: str, value: str | None, *, new: bool = False) -> None:
        with cloud.locks.hold(f"projects/{project}/commonInstanceMetadata"):
            for attempt in range(_ATTEMPTS):
                try:
                    return self._write_once(cloud, project, key, value, new=new)
                except ApiError as error:
                    if error.status != _CONFLICT or attempt == _ATTEMPTS - 1:
                        raise

    def _write_once(self, cloud: Cloud, project: str, key: str, value: str | None, *, new: bool) -> None:
        path = f"{ROOT}projects/{project}"
        there = cloud.rest.get(path)["commonInstanceMetadata"]
        items = {item["key"]: item.get("value", "") for item in there.get("items", [])}
        if new and key in items:
            raise ProviderError(
                f'key "{key}" already present in metadata for project "{project}". '
                "Use `terraform import` to manage it with Terraform"
            )
        if items.get(key) == value:
            return
        items = {name: held for name, held in items.items() if name != key} | ({} if value is None else {key: value})
        body = {
            "fingerprint": there.get("fingerprint"),
            "items": [{"key": name, "value": items[name]} for name in sorted(items)],
        }
        wait_for(cloud, cloud.rest.post(f"{path}/setCommonInstanceMetadata", body), "SetCommonInstanceMetadata")

    def read(self, cloud: Cloud, id: str, prior: Properties) -> Properties | None:
        *location, key = id.removeprefix("projects/").split("/meta-data/")
        project = prior.get("project") or (location[0] if location else cloud.settings.project)
        found = cloud.rest.get(f"{ROOT}projects/{project}").get("commonInstanceMetadata", {})
        items = {item["key"]: item.get("value", "") for item in found.get("items", [])}
        return {"id": key, "key": key, "value": items[key], "project": project} if key in items else None

    def update(self, cloud: Cloud, id: str, edit: Edit) -> None:
        if edit.touches("value"):
            self._write(cloud, edit.olds["project"], edit.olds["key"], edit.news["value"])

    def delete(self, cloud: Cloud, id: str, state: Properties) -> None:
        self._write(cloud, state["project"], state["key"], None)


PROJECT_METADATA_ITEM = ResourceType(
    token="gcp:compute/projectMetadataItem:ProjectMetadataItem",  # noqa: S106
    operations=MetadataItemOperations(),
    fields=all_fields(
        project(),
        {"key": text(required=True, replace=True), "value": text(required=True)},
    ),
)
