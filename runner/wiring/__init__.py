"""The only reader of environment and settings files. Decides local or Google; builds the context of commands.

The state folder of this user (``OPENSEES_HPC_HOME`` moves it) has ``settings.yaml``, ``passphrase`` (of Pulumi's state, mode 0600),
``ssh/`` (our key pair), ``pulumi/`` (the engine's own files), ``logs/`` and ``crashes/``, for the target ``local`` ``local/cloud`` (the embedded
cloud) and ``local/stacks`` (Pulumi's state), and for ``google`` ``google/passphrases`` (of states in buckets, by bucket).
Only this user can read it, whatever the umask; files that an earlier version left readable to others are closed to them.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from runner.context import Context
from runner.journal import Journals
from runner.model.events import Listener, Phases
from runner.model.settings import read_settings
from runner.wiring.clouds import ROOT, GoogleCloud, LocalCloud, find_pulumi
from runner.wiring.configuration import close_state_folder, find_state_folder, settings_file, settings_text
from runner.wiring.logs import command_log

__all__ = [
    "ROOT",
    "command_log",
    "find_pulumi",
    "make_context",
    "pulumi_shell_environment",
    "settings_file",
    "settings_text",
]


def make_context(
    environment: Mapping[str, str] | None = None,
    *,
    results_folder: Path | None = None,
    instead_of_file: str | None = None,
    listener: Listener | None = None,
) -> Context:
    """Build the context of a command. Calls no cloud and starts nothing, but closes the state folder to other users.

    ``instead_of_file``: the text to use instead of that of the settings file. ``listener``: gets the events of the command.

    Raises:
        InputError: the settings are wrong.
    """
    environment = os.environ if environment is None else environment
    text = settings_text(environment) if instead_of_file is None else instead_of_file
    settings = read_settings(text, settings_file(environment), environment)
    state_folder = find_state_folder(environment)
    close_state_folder(state_folder)
    clouds = {"local": LocalCloud, "google": GoogleCloud}
    listener = listener or Listener()
    return Context(
        settings=settings,
        cloud=clouds[settings.target](settings, state_folder, environment),
        journals=Journals(folder=state_folder / settings.target / "journal"),
        root=ROOT,
        state_folder=state_folder,
        results_folder=results_folder or Path.cwd() / "results",
        now=lambda: datetime.now(UTC),
        monotonic=time.monotonic,
        sleep=time.sleep,
        listener=listener,
        phases=Phases(listener),
    )


def pulumi_shell_environment(context: Context) -> dict[str, str]:
    """Return the variables that a shell needs so that plain ``pulumi`` works in infra/*, and link the settings of our stacks there."""
    context.cloud.prepare_by_hand()
    path = [str(Path(sys.executable).parent), str(find_pulumi(os.environ)), os.environ.get("PATH", "")]
    return context.cloud.pulumi_environment() | {"PATH": os.pathsep.join(path)}
