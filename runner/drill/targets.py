"""Where a drill runs: in a temporary state folder with an embedded cloud of its own, or in the user's project on Google Cloud."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner import wiring
from runner.drill.site import COMMAND_LIMIT_S, DrillSite
from runner.system.signals import signals_put_off
from runner.wiring import embedded

OUR_VARIABLES = ("OPENSEES_HPC_", "PULUMI_", "GOOGLE_")
KEPT = ("OPENSEES_HPC_CACHE",)
LEASE_S = 5
LOST_AFTER_S = 10


@dataclass(frozen=True, kw_only=True)
class EmbeddedFaults:
    """The fault board of one embedded cloud. Only one thread uses it at a time: no fault is armed in a cloud that is being killed."""

    environment: Mapping[str, str]
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def arm(self, fault: Mapping[str, Any]) -> None:
        """Arm a fault."""
        with self._lock:
            embedded.arm_fault(self.environment, fault)

    def clear(self) -> None:
        """Disarm all faults."""
        with self._lock:
            embedded.clear_faults(self.environment)

    def restart(self) -> None:
        """Kill the cloud and start it again."""
        with self._lock:
            embedded.restart_embedded_cloud(self.environment)


def local_environment(environment: Mapping[str, str], state_folder: Path, *, lease_s: int = LEASE_S) -> dict[str, str]:
    """Return the environment of commands with a state folder of their own: the user's settings are ignored."""
    kept = {key: value for key, value in environment.items() if not key.startswith(OUR_VARIABLES) or key in KEPT}
    return kept | {
        "OPENSEES_HPC_HOME": str(state_folder),
        "OPENSEES_HPC_TARGET": "local",
        "OPENSEES_HPC_LEASE_S": str(lease_s),
        "OPENSEES_HPC_LOST_AFTER_S": str(LOST_AFTER_S),
        "PYTHONUNBUFFERED": "1",
    }


def make_local_site(
    environment: Mapping[str, str], state_folder: Path, folder: Path, *, lease_s: int = LEASE_S
) -> DrillSite:
    """Return a site on the embedded cloud of ``state_folder``; jobs files and results in ``folder``."""
    ours = local_environment(environment, state_folder, lease_s=lease_s)
    return DrillSite(
        context=wiring.make_context(ours, results_folder=folder),
        environment=ours,
        folder=folder,
        faults=EmbeddedFaults(environment=ours),
        defects=lambda: embedded.embedded_cloud_tracebacks(ours),
    )


def copied_state_folder(environment: Mapping[str, str], target: Path) -> dict[str, str]:
    """Return the environment of commands that work with a copy of the state folder as it is now, on the same embedded cloud."""
    state_folder = Path(environment["OPENSEES_HPC_HOME"])
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(
        state_folder, target, ignore=_leave_out_cloud(state_folder), symlinks=True, ignore_dangling_symlinks=True
    )
    (target / "local" / "cloud").symlink_to(state_folder / "local" / "cloud")
    return {**environment, "OPENSEES_HPC_HOME": str(target)}


def _leave_out_cloud(state_folder: Path) -> Callable[[str, list[str]], list[str]]:
    return lambda folder, names: ["cloud"] if Path(folder) == state_folder / "local" else []


@contextmanager
def temporary_local_site(environment: Mapping[str, str], warn: Callable[[str], None]) -> Iterator[DrillSite]:
    """Yield a site with a state folder of its own. Its cloud ends with it, even if that is interrupted; ``warn`` gets a message then."""
    folder = Path(tempfile.mkdtemp(prefix="opensees-hpc-drill-"))
    site = make_local_site(environment, folder / "home", folder / "work")
    try:
        yield site
    finally:
        with signals_put_off(warn):
            site.end_clients(0.0)
            embedded.stop_embedded_cloud(site.environment)
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def google_site(environment: Mapping[str, str], warn: Callable[[str], None]) -> Iterator[DrillSite]:
    """Yield a site with the user's own project, settings and state folder; results in a folder that is deleted after the drill. ``warn`` as above."""
    ours = {**environment, "OPENSEES_HPC_TARGET": "google", "PYTHONUNBUFFERED": "1"}
    folder = Path(tempfile.mkdtemp(prefix="opensees-hpc-drill-"))
    site = DrillSite(context=wiring.make_context(ours, results_folder=folder), environment=ours, folder=folder)
    try:
        yield site
    finally:
        with signals_put_off(warn):
            site.end_clients(COMMAND_LIMIT_S)
            shutil.rmtree(folder, ignore_errors=True)
