"""How many VMs of a batch may be lost before they answer: more than that is not bad luck."""

from __future__ import annotations

from collections import Counter

from runner.batch.messages import VMDown
from runner.errors import RemoteError

# In a row: then the image or the network is at fault, and more VMs would only cost money. VMs that the cloud itself took back
# while they booted are allowed this many times the most VMs of the batch: it may take all of them at once.
MOST_BOOT_FAILURES = 5


class BootFailures:
    """VMs in a row that were lost before they answered. Not safe for several threads."""

    def __init__(self) -> None:
        self._count: Counter[bool] = Counter()

    def note(self, message: VMDown, *, most_vms: int) -> None:
        """Count a VM that was lost before it answered, in a batch of at most ``most_vms``.

        Raises:
            RemoteError: too many in a row.
        """
        is_taken = message.witness != "boot"
        self._count[is_taken] += 1
        if self._count[is_taken] > MOST_BOOT_FAILURES * (most_vms if is_taken else 1):
            raise RemoteError(f"{self._count[is_taken]} VMs in a row did not start; the last one: {message.reason}")

    def clear(self) -> None:
        """Count from zero again: one answered."""
        self._count.clear()
