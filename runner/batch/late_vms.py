"""VMs that run although they were given up, such as one that came up after its engine was killed: they are deleted."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial

from runner.batch.threads import Threads
from runner.context import Context
from runner.errors import CloudError, PermissionDeniedError
from runner.google import Instance
from runner.lease import LeaseCheck


class LateVMs:
    """The late VMs of one batch. Safe for several threads. ``check``: if it raises CloudError, the batch may be another client's, and nothing
    is deleted. ``threads``: they run the deletions, which take up to minutes and must not hold up the watch.
    """

    def __init__(self, *, context: Context, threads: Threads, check: LeaseCheck) -> None:
        self._context = context
        self._threads = threads
        self._check = check
        self._lock = threading.Lock()
        self._unwanted: set[str] = set()
        self._ending: set[str] = set()
        self._warned: set[str] = set()

    def add(self, name: str) -> None:
        """Delete this one as soon as it runs."""
        with self._lock:
            self._unwanted.add(name)

    @property
    def may_come(self) -> bool:
        """Whether any VM has to be looked for."""
        return bool(self._unwanted)

    def end(self, found: Sequence[Instance]) -> None:
        """Start to delete the unwanted VMs among these that run. What cannot be deleted is tried again at the next call."""
        for instance in found:
            with self._lock:
                is_due = instance.runs and instance.name in self._unwanted - self._ending
                self._ending |= {instance.name} if is_due else set()
            if is_due:
                self._threads.start(partial(self._delete, instance), name=f"delete {instance.name}")

    def _delete(self, instance: Instance) -> None:
        try:
            self._check()
            compute = self._context.cloud.compute
            now = compute.instance(instance.zone, instance.name)
            if now is None or not now.runs:  # its rescue has deleted it since
                return
            compute.delete_instance(instance.zone, instance.name)
            self._warn_once(instance.name, f"{instance.name} came up late, after it was given up; it was deleted")
        except CloudError as error:
            self._warn_once(
                instance.name, f"{instance.name} came up late, after it was given up, and cannot be deleted: {error}"
            )
            if isinstance(error, PermissionDeniedError):  # which asking again does not change
                with self._lock:
                    self._unwanted.discard(instance.name)
        finally:
            with self._lock:
                self._ending.discard(instance.name)

    def _warn_once(self, name: str, message: str) -> None:
        with self._lock:
            is_first = name not in self._warned
            self._warned.add(name)
        if is_first:
            self._context.warn(message)
