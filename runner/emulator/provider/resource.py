"""What a resource type is to the provider: its table, its way to the REST routes, and what it is handed."""

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
    """The provider refuses, or the cloud did; the text is what the user sees."""


class UnfinishedError(ProviderError):
    """What was being created is there all the same: the engine has to remember it by its ID."""

    def __init__(self, id: str, words: str) -> None:
        super().__init__(words)
        self.id = id


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What ``gcp:*`` configures: defaults for project, region and zone, and labels for everything."""

    project: str
    region: str
    zone: str
    default_labels: Mapping[str, str] = field(default_factory=dict)

    def place(self, level: str) -> str:
        """Return the project, region or zone that stands in."""
        return str(getattr(self, level))


class Locks:
    """One lock for each resource that is changed by read, modify, write."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Wait for ``name``, keep it while the block runs."""
        with self._guard:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            yield


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """What a resource type needs to do its work. ``cancelled`` is set when the engine wants no more.

    ``pace``: pauses between looks are this share of the stock plugin's.
    """

    rest: Rest
    settings: Settings
    locks: Locks
    cancelled: threading.Event
    pace: float

    def place_of(self, given: Mapping[str, object], level: str) -> str:
        """Return the project, region or zone that a program gave (a link is fine), or the one that stands in."""
        found = str(given.get(level) or self.settings.place(level)).rsplit("/", 1)[-1]
        if not found:
            raise ProviderError(f"{level}: required field is not set")
        return found

    def labels(self, given: Properties) -> dict[str, str]:
        """Return the labels that a resource gets from us: the provider's and the program's."""
        return {**self.settings.default_labels, **given.get("labels", {})}


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One update: the state before, the new inputs, and which paths differ."""

    olds: Properties
    news: Properties
    paths: Sequence[str]
    labels: Mapping[str, str] = field(default_factory=dict)

    def touches(self, *names: str) -> bool:
        """Return whether a property of one of these names (a dotted path is fine) changes, or anything below it."""
        return any(path == name or path.startswith((f"{name}.", f"{name}[")) for path in self.paths for name in names)

    @property
    def touches_labels(self) -> bool:
        """Do the labels on the resource change?"""
        return self.touches("labels", "pulumiLabels")


class Operations:
    """How a type uses the REST routes. ``id`` is the engine's; states are outputs as in the SDK.

    All but ``read`` raise ProviderError, or let the cloud's own error pass. A type without ``update`` never gets one:
    all its properties replace it or live in the state only.
    """

    def problems(self, news: Properties) -> list[str]:
        """Return what is wrong with inputs that are each right in themselves."""
        return []

    def drift(self, olds: Properties, news: Properties) -> list[str]:
        """Paths that need an update for a reason that the table cannot say."""
        return []

    def refuse_create(self, news: Properties) -> str:
        """Why this cannot be created, known before the cloud is asked; else nothing."""
        return ""

    def create(self, cloud: Cloud, news: Properties) -> str:
        """Create it, wait until it exists, and return its ID. If this raises, nothing is kept."""
        raise NotImplementedError

    def read(self, cloud: Cloud, id: str, prior: Properties) -> Properties | None:
        """Its state now, None if it is gone. ``prior``: the last state, empty when it is imported by its ID."""
        raise NotImplementedError

    def update(self, cloud: Cloud, id: str, edit: Edit) -> None:
        """Make it as ``edit.news`` says, and wait until it is."""

    def delete(self, cloud: Cloud, id: str, state: Properties) -> None:
        """Delete it, and wait until it is gone."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ResourceType:
    """A type that the embedded cloud has."""

    token: str
    fields: Mapping[str, Field]
    operations: Operations

    def read_state(self, cloud: Cloud, id: str, prior: Properties) -> Properties | None:
        """Its state now as the engine keeps it, None if it is gone."""
        state = self.operations.read(cloud, id, prior)
        if state is None:
            return None
        if "deletionPolicy" in self.fields:
            state["deletionPolicy"] = prior.get("deletionPolicy", "DELETE")
        return dict(prune(state))


def plan_labels(settings: Settings, news: Properties, olds: Properties) -> tuple[dict[str, str], dict[str, str]] | None:
    """Which labels are ours and which the resource then has (others' labels stay); None if not known yet."""
    given = news.get("labels", {})
    if has_unknown(given):
        return None
    ours = {**settings.default_labels, **given}
    others = {k: v for k, v in olds.get("effectiveLabels", {}).items() if k not in olds.get("pulumiLabels", {})}
    return ours, {**others, **ours}


def read_labels(found: Mapping[str, str] | None, prior: Properties) -> Properties:
    """Return the three label outputs from what the cloud says: ``labels`` shows only what the program speaks of.

    When it is imported, all labels but the provider's own count as the program's.
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
