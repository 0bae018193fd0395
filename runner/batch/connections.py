"""The connections of one batch to its VMs, and the threads that follow the jobs there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from runner.batch.job_thread import Assignment, JobThread
from runner.batch.live_logs import LiveLogs
from runner.batch.messages import Message, ThreadFailed
from runner.batch.threads import Threads
from runner.context import Context
from runner.hardware import JobStatus
from runner.model import names
from runner.results import Collector

if TYPE_CHECKING:
    from runner.hardware.opensees import OpenSeesInterface

END_LIMIT_S = 5.0
Attempt = tuple[str, int]


class Connections:
    """For use in the controller's thread. ``threads`` may start other work, too; an error that ends a thread is reported."""

    def __init__(
        self,
        *,
        context: Context,
        batch: str,
        collector: Collector,
        report: Callable[[Message], None],
    ) -> None:
        self._context = context
        self._batch = batch
        self._collector = collector
        self._report = report
        self._interfaces: dict[str, OpenSeesInterface] = {}
        self._followers: dict[Attempt, threading.Thread] = {}
        self._closed = threading.Event()
        self.live_logs = LiveLogs(context.results_folder / batch, context.listener)
        self.threads = Threads(
            lambda error: report(ThreadFailed(error=error)),
            lambda name, error: context.warn(f"{name}: {error}"),
        )

    @property
    def vms(self) -> list[str]:
        """The VMs that are connected."""
        return list(self._interfaces)

    def add(self, vm: str, interface: OpenSeesInterface) -> None:
        """Add a VM that answers."""
        self._interfaces[vm] = interface

    def statuses(self, vm: str) -> Mapping[Attempt, JobStatus]:
        """Return the attempts that a VM has.

        Raises:
            RemoteError: it no longer answers.
        """
        found = self._interfaces[vm].get_job_statuses()
        attempts = {names.read_attempt_folder(folder): status for folder, status in found.items()}
        return {attempt: status for attempt, status in attempts.items() if attempt is not None}

    def follow(self, assignment: Assignment, *, check: Callable[[], None]) -> None:
        """Carry out an attempt in a thread of its own, from its submit (unless the VM has it already) to its downloaded results.

        ``check``: see ``JobThread``.
        """
        work = JobThread(
            context=self._context,
            batch=self._batch,
            assignment=assignment,
            interface=self._interfaces[assignment.vm],
            collector=self._collector,
            live_logs=self.live_logs,
            report=self._report,
            check=check,
            closed=self._closed,
        )
        thread = self.threads.start(work.run, name=f"job {assignment.name}")
        self._followers[assignment.name, assignment.attempt] = thread

    def extend(self, vm: str, attempt: Attempt, seconds: float) -> None:
        """Have a VM move an attempt's deadline. Do nothing if it is not connected."""
        interface = self._interfaces.get(vm)
        if interface is not None:
            folder = names.attempt_folder(*attempt)
            self.threads.start(partial(interface.extend_jobs, [folder], seconds), name=f"extend {attempt[0]}")

    def stop(self, vm: str, attempts: Collection[Attempt]) -> None:
        """End attempts that are no longer needed. Do nothing if the VM is not connected."""
        interface = self._interfaces.get(vm)
        if interface is None or not attempts:
            return
        folders = sorted(names.attempt_folder(*attempt) for attempt in attempts)
        for attempt in attempts:
            self._collector.give_up(*attempt)
        self.threads.start(partial(interface.cancel_jobs, folders), name=f"stop {', '.join(folders)}")

    def let_go(self, vm: str, attempts: Iterable[Attempt]) -> Callable[[], None]:
        """Forget a lost VM. Return a function, for any thread, that closes its connection and waits for the threads that followed its jobs."""
        interface = self._interfaces.pop(vm, None)
        followers = [self._followers.pop(attempt) for attempt in attempts if attempt in self._followers]

        def close() -> None:
            if interface is not None:
                interface.close()
            for thread in followers:
                thread.join(END_LIMIT_S)

        return close

    def close(self) -> None:
        """Close all connections, and wait until the threads that use them have ended. Jobs on the VMs keep running."""
        self._closed.set()
        self.live_logs.close()
        for interface in list(self._interfaces.values()):
            interface.close()
        self._interfaces.clear()
        self.threads.join(END_LIMIT_S)
