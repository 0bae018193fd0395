"""The metadata with which a batch's VM deletes itself when no client watches the batch any more.

The right to do so is in the base (``identity``), and so there before any VM is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runner.model import names

SCRIPTS = Path(__file__).with_name("vm_scripts")


@dataclass(frozen=True, kw_only=True)
class LeaseWatch:
    """The lease of ``batch``. ``lease_s``: 0 for none; then only preemption is reported, and ``maxRunDuration`` ends the VM."""

    batch: str
    project: str
    lease_s: int

    def metadata(self) -> dict[str, str]:
        """Return the metadata for the scripts on the VM."""
        basic = {
            names.VM_BATCH: self.batch,
            names.VM_BUCKET: names.bucket_name(self.project),
            "shutdown-script": (SCRIPTS / "shutdown.sh").read_text(),
        }
        if self.lease_s == 0:
            return basic
        watch = {names.VM_LEASE_S: str(self.lease_s), "startup-script": (SCRIPTS / "startup.sh").read_text()}
        return basic | watch
