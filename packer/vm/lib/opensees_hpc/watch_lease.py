"""The watchdog on a VM: reads the lease of its batch, and deletes the VM when the lease has expired.

``watch-lease``, started at boot. It can be killed and restarted at any moment: it reads all of its state.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from .lease import Duty, LeaseReader, LeaseWatch
from .vm_cloud import Metadata, RefusedError, UnreachableError, VmCloud
from .vm_settings import VmSettings, read_settings
from .workspaces import ManagerError, Pushes, Workspace, find_workspaces

LOCK = "run/opensees-hpc-watch-lease.lock"
GOING_S = 180.0
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0


class Watchdog:
    """Watches until the VM has to be deleted. ``root``: the root folder of the VM's disk; ``scripts``: our own shell scripts."""

    def __init__(self, *, settings: VmSettings, cloud: VmCloud, root: Path, scripts: Path) -> None:
        self._settings = settings
        self._root = root
        self._scripts = scripts
        self._reader = LeaseReader(cloud, settings.bucket, settings.batch)
        self._watch = LeaseWatch(grace_s=settings.grace_s, now=time.monotonic())
        self._trouble = ""
        self._duty = Duty.WORK

    def run(self) -> None:
        """Return when the VM is no longer needed, and the results of all finished jobs are in the bucket."""
        while not (self._is_over() and self._clear_up()):
            time.sleep(self._settings.look_s)

    def _is_over(self) -> bool:
        """Read the lease and apply it; return whether the VM is no longer needed."""
        self._look()
        duty = self._watch.duty(time.monotonic())
        if duty is not self._duty:
            self._duty = duty
            say(f"lease of batch {self._settings.batch}: {_MEANINGS[duty]}")
        if duty is Duty.DRAIN:
            return not any(self._running_jobs(workspace) for workspace in self._workspaces())
        return duty is Duty.END

    def _look(self) -> None:
        try:
            sight = self._reader.look()
        except (UnreachableError, RefusedError, ValueError) as error:
            self._watch.fail(time.monotonic())
            self._complain(f"the lease cannot be read: {error}")
            return
        self._complain("" if sight else "the lease does not exist")
        if sight is None:
            self._watch.miss()
        else:
            self._watch.see(sight, time.monotonic())
            self._apply(sight.lease.deadlines)

    def _apply(self, deadlines: Mapping[str, float]) -> None:
        for workspace in self._workspaces():
            try:
                for name in workspace.apply_deadlines(deadlines):
                    say(f"job {name}: its deadline is now {deadlines[name]:.0f} s after its start")
            except ManagerError as error:
                say(f"cannot change deadlines: {error}")

    def _running_jobs(self, workspace: Workspace) -> list[str]:
        """Return the names of the running jobs; ``?`` if they cannot be read, since some may be running."""
        try:
            return [state.name for state in workspace.states() if state.is_running]
        except ManagerError as error:
            self._complain(str(error))
            return ["?"]

    def _complain(self, trouble: str) -> None:
        """Report a problem once, not at every read."""
        if trouble and trouble != self._trouble:
            say(trouble)
        self._trouble = trouble

    def _clear_up(self) -> bool:
        """Stop running jobs and push finished results; return False if the lease was renewed meanwhile: the VM is needed again."""
        workspaces = self._workspaces()
        for workspace in workspaces:
            self._stop_jobs(workspace)
        pushes = Pushes(workspaces, time.monotonic() + self._settings.push_s)
        while pushes.step():
            self._complain(pushes.trouble)
            time.sleep(min(1.0, self._settings.look_s))
            if not self._is_over():
                return False
        return self._is_over()

    def _stop_jobs(self, workspace: Workspace) -> None:
        try:
            running = self._running_jobs(workspace)
            workspace.condemn_running()
            workspace.stop(running)
            for name in running:
                say(f"job {name} was stopped")
        except ManagerError as error:
            say(f"jobs may still be running: {error}")  # they end with the VM

    def _workspaces(self) -> list[Workspace]:
        return find_workspaces(self._root, self._settings.batch, self._scripts)


_MEANINGS = {
    Duty.WORK: "renewed; this VM stays",
    Duty.DRAIN: "expired; this VM will be deleted when its running jobs have ended",
    Duty.END: "expired; stopping running jobs, then this VM will be deleted",
}


def end_vm(cloud: VmCloud) -> None:
    """Delete this VM, and its disk with it, with its own service account. Retried for as long as the VM exists: its work is done.

    It does not power off: ``maxRunDuration`` does not apply to a stopped VM, and its disk would stay for good. If nothing else
    helps, Google deletes a running VM at its ``maxRunDuration``.
    """
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            say("deleting this VM")
            cloud.delete_own_vm()
            time.sleep(GOING_S)
        except (UnreachableError, RefusedError) as error:
            say(f"cannot delete this VM, which otherwise runs until its maxRunDuration: {error}")
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def watch_settings(metadata: Metadata) -> VmSettings:
    """Return the settings once the metadata server answers."""
    while True:
        try:
            return read_settings(metadata)
        except UnreachableError as error:
            say(f"no settings yet: {error}")
        time.sleep(FIRST_PAUSE_S)


def take_lock(root: Path) -> IO[bytes] | None:
    """Return the lock of this VM's only watchdog, which holds for as long as the file is open; None if another one has it."""
    file = (root / LOCK).open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def say(line: str) -> None:
    """Write a line to the journal, or the serial port. A failed write must not end this program."""
    with suppress(OSError):
        os.write(1, f"watch-lease: {line}\n".encode())


def main(prefix: Path) -> int:
    """Watch the lease, then delete the VM. ``prefix`` is ``<root>/opt/opensees-hpc``."""
    root = prefix.parent.parent
    lock = take_lock(root)
    if lock is None:
        return 0
    with lock:
        metadata = Metadata()
        settings = watch_settings(metadata)
        if settings.lease_s <= 0 or not settings.batch or not settings.bucket:
            say("no lease to watch")
            return 0
        cloud = VmCloud(metadata)
        say(f"watching the lease of batch {settings.batch}")
        Watchdog(settings=settings, cloud=cloud, root=root, scripts=prefix / "lib").run()
        end_vm(cloud)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
