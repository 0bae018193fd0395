"""Resource types as the provider sees them: the table, the operations on the REST routes, and their arguments."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from runner.emulator.provider.rest import Rest
from runner.emulator.provider.schema import Field
from runner.emulator.provider.values import Properties, has_unknown, prune

ATTRIBUTION_LABELS = {"goog-pulumi-provisioned": "true"}


class ProviderError(Exception):
    """The provider or the cloud rejected a request; the user sees this text."""


class UnfinishedError(ProviderError):
    """The creation failed but the resource exists: the engine has to record its ID."""

    def __init__(self, id: str, words: str) -> None:
        super().__init__(words)
        self.id = id


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings in ``gcp:*``: defaults for project, region and zone, and labels for all resources."""

    project: str
    region: str
    zone: str
    default_labels: Mapping[str, str] = field(default_factory=dict)

    def location(self, level: str) -> str:
        """Return the default project, region or zone."""
        return str(getattr(self, level))


class Locks:
    """One lock for each resource that is changed by read, modify, write."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Hold the lock of ``name`` while the block runs."""
        with self._guard:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            yield


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """The cloud as the operations of a resource type use it. ``cancelled`` is set when the engine cancels.

    ``pace``: pauses between polls, as a share of the stock plugin's.
    """

    rest: Rest
    settings: Settings
    locks: Locks
    cancelled: threading.Event
    pace: float

    def location_of(self, given: Mapping[str, object], level: str) -> str:
        """Return the project, region or zone that a program gave (possibly as a link), or the default."""
        found = str(given.get(level) or self.settings.location(level)).rsplit("/", 1)[-1]
        if not found:
            raise ProviderError(f"{level}: required field is not set")
        return found

    def labels(self, given: Properties) -> dict[str, str]:
        """Return the labels that we set on a resource: the provider's and the program's."""
        return {**self.settings.default_labels, **given.get("labels", {})}


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One update: the state before, the new inputs, and the paths that differ."""

    olds: Properties
    news: Properties
    paths: Sequence[str]
    labels: Mapping[str, str] = field(default_factory=dict)

    def touches(self, *names: str) -> bool:
        """Return whether a property of one of these names (or dotted paths) changes, or anything below it."""
        return any(path == name or path.startswith((f"{name}.", f"{name}[")) for path in self.paths for name in names)

    @property
    def touches_labels(self) -> bool:
        """Return whether the labels on the resource change."""
        return self.touches("labels", "pulumiLabels")


class Operations:
    """The operations of a type on the REST routes. ``id`` is the engine's; states are outputs as in the SDK.

    All but ``read`` raise ProviderError, or the cloud's own error. A type without ``update`` is never updated:
    all its properties replace it, or exist in the state only.
    """

    def problems(self, news: Properties) -> list[str]:
        """Return the failures of inputs that are each valid but do not fit together."""
        return []

    def drift(self, olds: Properties, news: Properties) -> list[str]:
        """Return paths that need an update for reasons that the table cannot express."""
        return []

    def refuse_create(self, news: Properties) -> str:
        """Return why this cannot be created, if that is known without asking the cloud; else ''."""
        return ""

    def create(self, cloud: Cloud, news: Properties) -> str:
        """Create it, wait until it exists, and return its ID. If this raises, nothing is recorded."""
        raise NotImplementedError

    def read(self, cloud: Cloud, id: str, prior: Properties) -> Properties | None:
        """Return its current state, None if it is gone. ``prior``: the last state, empty for an import by ID."""
        raise NotImplementedError

    def update(self, cloud: Cloud, id: str, edit: Edit) -> None:
        """Update it to ``edit.news``, and wait until that is done."""

    def delete(self, cloud: Cloud, id: str, state: Properties) -> None:
        """Delete it, and wait until it is gone."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ResourceType:
    """A resource type of the embedded cloud."""

    token: str
    fields: Mapping[str, Field]
    operations: Operations

    def read_state(self, cloud: Cloud, id: str, prior: Properties) -> Properties | None:
        """Return its current state as the engine stores it, None if it is gone."""
        state = self.operations.read(cloud, id, prior)
        if state is None:
            return None
        if "deletionPolicy" in self.fields:
            state["deletionPolicy"] = prior.get("deletionPolicy", "DELETE")
        return dict(prune(state))


def plan_labels(settings: Settings, news: Properties, olds: Properties) -> tuple[dict[str, str], dict[str, str]] | None:
    """Return our labels, and all that the resource then has (others' labels stay); None if not known yet."""
    given = news.get("labels", {})
    if has_unknown(given):
        return None
    ours = {**settings.default_labels, **given}
    others = {k: v for k, v in olds.get("effectiveLabels", {}).items() if k not in olds.get("pulumiLabels", {})}
    return ours, {**others, **ours}


def read_labels(found: Mapping[str, str] | None, prior: Properties) -> Properties:
    """Return the three label outputs for the labels in the cloud: ``labels`` has only those that the program sets.

    For an import, all labels but the provider's own count as the program's.
    """
    there = dict(found or {})
    if "effectiveLabels" not in prior and "labels" not in prior:
        mine = {key: value for key, value in there.items() if key not in ATTRIBUTION_LABELS}
        return {"labels": mine, "pulumiLabels": there, "effectiveLabels": there}
    spoken, ours = prior.get("labels", {}), prior.get("pulumiLabels", {})
    return {
        "labels": {key: value for key, value in there.items() if key in spoken},
        "pulumiLabels": {key: value for key, value in there.items() if key in ours},
        "effectiveLabels": there,
    }
