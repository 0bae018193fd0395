"""The last 20 s of a VM: condemn running jobs, record a preemption in the bucket, push the results of finished jobs.

``on-shutdown``, run when the VM shuts down: preemption, deletion, the end of ``maxRunDuration``, power off.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from .shared_names import CONTROL_PREFIX, PREEMPTED, VM_BATCH, VM_BUCKET
from .vm_cloud import Metadata, RefusedError, UnreachableError, VmCloud
from .workspaces import ManagerError, Pushes, Workspace, find_workspaces

BUDGET_S = 20.0
PAUSE_S = 0.3


def main(prefix: Path) -> int:
    """Run all steps within ``BUDGET_S``. ``prefix`` is ``<root>/opt/opensees-hpc``."""
    until = time.monotonic() + BUDGET_S
    metadata = Metadata()
    batch, bucket = (_read_with_retries(metadata, name, until) for name in (VM_BATCH, VM_BUCKET))
    if not batch or not bucket:
        return 0
    workspaces = find_workspaces(prefix.parent.parent, batch, prefix / "lib")
    condemn_running(workspaces)
    reporting = threading.Thread(target=report_preemption, args=(VmCloud(metadata), batch, bucket, until), daemon=True)
    reporting.start()
    push_finished(workspaces, until)
    reporting.join(max(0.0, until - time.monotonic()))
    return 0


def _read_with_retries(metadata: Metadata, name: str, until: float) -> str:
    while time.monotonic() < until:
        try:
            return metadata.attribute(name)
        except UnreachableError as error:
            say(str(error))
            time.sleep(PAUSE_S)
    return ""


def report_preemption(cloud: VmCloud, batch: str, bucket: str, until: float) -> None:
    """Leave a marker in the bucket if, and only if, this is a preemption."""
    while time.monotonic() < until:
        try:
            if cloud.metadata.read("instance/preempted") != "TRUE":
                return
            name = cloud.metadata.read("instance/name") or ""
            content = {
                "format": 1,
                "time": datetime.now(UTC).isoformat(),
                "instance": name,
                "id": cloud.metadata.read("instance/id") or "",
            }
            cloud.create_object(bucket, f"{CONTROL_PREFIX}/{batch}/{PREEMPTED}{name}", json.dumps(content).encode())
            say("preempted; wrote the preemption marker to the bucket")
            return
        except RefusedError as error:
            say(f"the bucket rejected the preemption marker: {error}")
            return
        except UnreachableError as error:
            say(f"cannot write the preemption marker: {error}")
            time.sleep(PAUSE_S)


def condemn_running(workspaces: list[Workspace]) -> None:
    """Record that the VM ends the running jobs, before the system begins to kill them."""
    for workspace in workspaces:
        try:
            workspace.condemn_running()
        except ManagerError as error:
            say(str(error))


def push_finished(workspaces: list[Workspace], until: float) -> None:
    """Push the results of finished jobs that are not in the bucket yet, without waiting for running jobs."""
    pushes = Pushes(workspaces, until)
    while pushes.step():
        time.sleep(PAUSE_S)
    if pushes.trouble:
        say(pushes.trouble)


def say(line: str) -> None:
    """Write a line to the serial port. A failed write must not end this program."""
    with suppress(OSError):
        os.write(1, f"on-shutdown: {line}\n".encode())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
