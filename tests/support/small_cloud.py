"""A cloud that consists of a few lists, for tests of threads that use it: the test sets its answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from runner.context import Cloud, Context
from runner.google.compute import Instance
from runner.google.os_login import Login
from runner.journal.journal import Journals
from runner.model.events import Listener, Phases
from runner.model.settings import Settings
from runner.model.stockout import FailedOperation
from runner.results.store import ResultSet

LIMIT_S = 30.0
SHORTEST_SLEEP_S = 0.01
LOGIN = Login(user="me", key_file=Path("key"), fingerprint="f")


def instance(name: str, status: str = "RUNNING") -> Instance:
    """Return a VM as the cloud has it."""
    return Instance(name=name, zone="europe-west4-a", status=status, machine_type="c2-standard-4", address="127.0.0.1")


@dataclass(kw_only=True)
class SmallCompute:
    """``troubles``: the errors of the next calls of each method, by its name."""

    there: dict[str, Instance] = field(default_factory=dict)
    troubles: dict[str, list[Exception]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def instances(self, labels: Mapping[str, str]) -> list[Instance]:
        self._meet("instances")
        return list(self.there.values())

    def instance(self, zone: str, name: str) -> Instance | None:
        return self.there.get(name)

    def delete_instance(self, zone: str, name: str) -> None:
        self._meet("delete_instance")
        self.there.pop(name, None)

    def guest_attributes(self, zone: str, name: str, namespace: str) -> dict[str, str]:
        return {"ssh-ed25519": "AAAA"}

    def failed_operations(self, names_of_vms: Collection[str], *, since: datetime) -> list[FailedOperation]:
        self._meet("failed_operations")
        return []

    def _meet(self, method: str) -> None:
        self.asked.append(method)
        if waiting := self.troubles.get(method):
            raise waiting.pop(0)


class EmptyBucket:
    """A bucket without objects."""

    bucket = "bucket"

    def list_control(self, batch: str) -> list[str]:
        return []

    def all_sets(self, batch: str) -> list[ResultSet]:
        return []


def small_context(folder: Path, compute: SmallCompute, *, listener: Listener | None = None, **more: Any) -> Context:
    """Return the commands' context on this cloud; its clock advances by each sleep, so that long waits are short."""
    slept, listener = [0.0], listener or Listener()

    def sleep(seconds: float) -> None:
        slept[0] += seconds
        time.sleep(SHORTEST_SLEEP_S)

    parts = {
        "compute": compute,
        "stacks": SimpleNamespace(interrupt=lambda: None, kill=lambda: None),
        "results": EmptyBucket(),
        "job_interface": lambda instance, login, keys, batch, *, limit_s: SimpleNamespace(close=lambda: None),
    }
    cloud = SimpleNamespace(**(parts | more))
    return Context(
        settings=Settings(),
        cloud=cast(Cloud, cloud),
        journals=Journals(folder=folder / "journal"),
        root=folder,
        state_folder=folder,
        results_folder=folder / "results",
        now=lambda: datetime.now(UTC),
        monotonic=lambda: slept[0],
        sleep=sleep,
        listener=listener,
        phases=Phases(listener),
    )


class Inbox:
    """The messages of threads."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self._changed = threading.Condition()

    def add(self, message: Any) -> None:
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()

    def of(self, kind: type) -> list[Any]:
        with self._changed:
            return [message for message in self.messages if isinstance(message, kind)]

    def wait_for(self, kind: type, count: int = 1) -> Sequence[Any]:
        """Wait for this many messages of a kind, and return them."""
        with self._changed:
            self._changed.wait_for(
                lambda: sum(isinstance(message, kind) for message in self.messages) >= count, LIMIT_S
            )
        found = self.of(kind)
        assert len(found) >= count, self.messages
        return found
