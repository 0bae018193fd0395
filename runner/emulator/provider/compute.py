"""The common part of all Compute types: paths, insert, read, delete, operations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runner.emulator.provider.links import relative, tail
from runner.emulator.provider.resource import Cloud, Edit, Operations, ProviderError, read_labels
from runner.emulator.provider.rest import Answer, ApiError, OperationError
from runner.emulator.provider.values import Properties

ROOT = "compute/v1/"
_SCOPES = {"": "global", "region": "regions", "zone": "zones"}


def wait_for(cloud: Cloud, operation: Answer, what: str) -> None:
    """Wait until an operation is done. Raises ProviderError with its errors, or if the engine cancels."""
    path = ROOT + relative(str(operation["selfLink"]))
    while operation.get("status") != "DONE":
        if cloud.cancelled.is_set():
            raise ProviderError(f"Error waiting for {what}: context canceled")
        operation = cloud.rest.post(f"{path}/wait")
    if operation.get("error"):
        raise ProviderError(f"Error waiting for {what}: {OperationError(operation['error']['errors'])}")


def set_labels(cloud: Cloud, id: str, edit: Edit) -> None:
    """Set the labels of ``edit`` on a resource, if they change."""
    if edit.touches_labels:
        body = {"labelFingerprint": edit.olds.get("labelFingerprint", ""), "labels": dict(edit.labels)}
        wait_for(cloud, cloud.rest.post(f"{ROOT}{id}/setLabels", body), "labels to update")


def without_empty(body: Mapping[str, Any]) -> Answer:
    """Return a request's body without nulls, empty strings, lists and objects."""
    return {key: value for key, value in body.items() if value is not None and value not in ("", [], {})}


class ComputeOperations(Operations):
    """A Compute collection. ``level``: nothing (global), ``region`` or ``zone``; ``noun``: its name in error texts."""

    collection: str
    level: str = ""
    noun: str
    labelled = False

    def body(self, cloud: Cloud, news: Properties) -> Answer:
        """Return the body of the insert."""
        raise NotImplementedError

    def state(self, cloud: Cloud, found: Answer, prior: Properties) -> Properties:
        """Return the outputs that only this type has; name, project, zone or region, labels and link are added."""
        raise NotImplementedError

    def parent(self, cloud: Cloud, news: Properties) -> str:
        """Return ``projects/P/global`` or ``projects/P/zones/Z``."""
        scope = f"projects/{cloud.location_of(news, 'project')}/{_SCOPES[self.level]}"
        return f"{scope}/{cloud.location_of(news, self.level)}" if self.level else scope

    def full_id(self, cloud: Cloud, id: str) -> str:
        """Return ``projects/P/…/NAME``, given that, ``P/Z/NAME``, ``Z/NAME`` or ``NAME`` (all accepted by an import)."""
        if id.startswith("projects/"):
            return id
        *parents, name = id.split("/")
        levels = ["project", self.level] if self.level else ["project"]
        given = dict(zip(levels[-len(parents) :] if parents else [], parents, strict=False))
        return f"{self.parent(cloud, given)}/{self.collection}/{name}"

    def create(self, cloud: Cloud, news: Properties) -> str:
        path = f"{self.parent(cloud, news)}/{self.collection}"
        try:
            operation = cloud.rest.post(ROOT + path, self.body(cloud, news))
        except ApiError as error:
            raise ProviderError(f"Error creating {self.noun}: {error}") from error
        self.wait_created(cloud, operation)
        return f"{path}/{news['name']}"

    def wait_created(self, cloud: Cloud, operation: Answer) -> None:
        """Wait for the insert."""
        try:
            wait_for(cloud, operation, f"Creating {self.noun}")
        except ProviderError as error:
            raise ProviderError(f"Error waiting to create {self.noun}: {error}") from error

    def fetch(self, cloud: Cloud, id: str) -> Answer | None:
        """Return the resource as the cloud has it, None if it is gone."""
        return cloud.rest.find(ROOT + id)

    def read(self, cloud: Cloud, id: str, prior: Properties) -> Properties | None:
        id = self.full_id(cloud, id)
        found = self.fetch(cloud, id)
        if found is None:
            return None
        state = {"id": id, "name": found.get("name"), "project": id.split("/")[1], "selfLink": found.get("selfLink")}
        if self.level:
            state[self.level] = tail(found[self.level]) if found.get(self.level) else None
        if self.labelled:
            state |= read_labels(found.get("labels"), prior) | {"labelFingerprint": found.get("labelFingerprint")}
        return state | self.state(cloud, found, prior)

    def delete(self, cloud: Cloud, id: str, state: Properties) -> None:
        try:
            operation = cloud.rest.remove(ROOT + id)
        except ApiError as error:
            raise ProviderError(f"Error deleting {self.noun}: {error}") from error
        if operation is not None:
            wait_for(cloud, operation, f"Deleting {self.noun}")

    def patch(self, cloud: Cloud, id: str, body: Answer) -> None:
        """PATCH it and wait."""
        try:
            operation = cloud.rest.patch(ROOT + id, body)
        except ApiError as error:
            raise ProviderError(f"Error updating {self.noun}: {error}") from error
        wait_for(cloud, operation, f"Updating {self.noun}")

    def act(self, cloud: Cloud, id: str, verb: str, body: Answer | None = None, **query: str) -> None:
        """POST one of its verbs and wait."""
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", verb).lower()
        try:
            operation = cloud.rest.post(f"{ROOT}{id}/{verb}", body, **query)
        except ApiError as error:
            raise ProviderError(f"Error updating {self.noun} ({words}): {error}") from error
        wait_for(cloud, operation, words)
