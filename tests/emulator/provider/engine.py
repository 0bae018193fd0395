"""The real Pulumi engine, driven by the Automation API with inline programs, attached to a provider that runs."""

import gc
import sys
import uuid
import warnings
from contextlib import contextmanager

from pulumi import automation


class Engine:
    """Stacks in a folder of their own."""

    def __init__(self, folder, command, provider_port):
        self.folder = folder
        self.command = command
        self.provider_port = provider_port

    def stack(self, program, name=None):
        """A stack for ``program``; the same name is the same stack."""
        name = name or f"s{uuid.uuid4().hex[:8]}"
        environment = {
            "PULUMI_BACKEND_URL": f"file://{self.folder}",
            "PULUMI_CONFIG_PASSPHRASE": "for tests",
            "PULUMI_DEBUG_PROVIDERS": f"gcp:{self.provider_port}",
            "PULUMI_HOME": str(self.folder),
            "PULUMI_SKIP_UPDATE_CHECK": "1",
        }
        options = automation.LocalWorkspaceOptions(env_vars=environment, pulumi_command=self.command)
        return automation.create_or_select_stack(name, "tests", program, opts=options)

    @contextmanager
    def running(self, program, name=None):
        """A stack that has nothing left at the end, whatever happened."""
        stack = self.stack(program, name)
        try:
            yield stack
        finally:
            if resources_of(stack):
                stack.destroy(refresh=True)


def failure_of(action, **options):
    """What the user sees when an action fails."""
    told = ""
    try:
        action(**options)
    except automation.CommandError as error:
        told = str(error)
    _collect_quietly()
    assert told, "it did not fail"
    return told


def _collect_quietly():
    """When an inline program fails, Pulumi's SDK leaves its event loop and a coroutine behind: let them go without noise."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gc.collect()
    finally:
        sys.unraisablehook = hook


def resources_of(stack):
    """What the stack's state has, by type and name: outputs as the state holds them (secrets stay secret)."""
    deployment = stack.export_stack().deployment
    custom = [found for found in deployment.get("resources", []) if found["type"].startswith("gcp:")]
    return {(found["type"].rsplit(":", 1)[1], found["urn"].rsplit("::", 1)[1]): found for found in custom}


def planned(result):
    """What a preview plans, without what stays as it is."""
    summary = result.change_summary
    return {
        str(getattr(kind, "value", kind)): count for kind, count in summary.items() if count and "same" not in str(kind)
    }
