"""The boot of a VM, from Pulumi's declaration to its first answer: host key from the guest attributes, then SSH."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from runner.context import Context
from runner.errors import RemoteError
from runner.google import Instance
from runner.system.backoff import Backoff

HOST_KEY_LIMIT_S = 10 * 60.0  # from its creation; a bake's builder has to come up from a plain image
SSH_LIMIT_S = 3 * 60.0  # from its host key, which is published when its SSH server starts
FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 3.0
HOST_KEY_NAMESPACE = "hostkeys"


def wait_for_host_keys(context: Context, instance: Instance, is_wanted: Callable[[], bool]) -> Mapping[str, str]:
    """Wait for the SSH host keys of an instance, type to base64, until it has published them.

    ``is_wanted`` is asked between looks; when it says no, the wait ends with an error.

    Raises:
        RemoteError: none within the limit, or the instance ended; the end of its serial output is in the message.
    """
    compute = context.cloud.compute
    give_up_at = context.monotonic() + HOST_KEY_LIMIT_S
    backoff = Backoff(first_s=FIRST_DELAY_S, longest_s=LONGEST_DELAY_S, factor=1.5, sleep=context.sleep)
    while True:
        if keys := compute.guest_attributes(instance.zone, instance.name, HOST_KEY_NAMESPACE):
            return keys
        now = compute.instance(instance.zone, instance.name)
        if now is None or now.has_ended:
            status = "gone" if now is None else now.status
            raise RemoteError(f"{instance.name} is {status} before it answered", host=instance.name)
        if context.monotonic() > give_up_at or not is_wanted():
            end = compute.serial_output(instance.zone, instance.name).splitlines()[-20:]
            raise RemoteError(
                f"{instance.name} published no SSH host key within {HOST_KEY_LIMIT_S / 60:.0f} minutes; its serial port says:\n"
                + "\n".join(end),
                host=instance.name,
            )
        backoff.pause()
