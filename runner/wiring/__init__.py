"""The only reader of environment and settings files. Decides local or Google; builds what commands are handed.

Folders of this user (``OPENSEES_HPC_HOME`` moves them): ``settings.yaml``, ``passphrase`` (of Pulumi's state, mode 0600),
``ssh/`` (our key pair), ``pulumi/`` (the engine's own files), ``logs/`` and ``crashes/``, for the target ``local`` ``local/cloud`` (the embedded
cloud) and ``local/stacks`` (Pulumi's state), and for ``google`` ``google/passphrases`` (of states in buckets, by bucket).
All of it is for this user alone, whatever the umask; what an earlier version left open is closed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from runner.context import Context
from runner.journal import Journal
from runner.model.events import Listener, Phases
from runner.model.settings import read_settings
from runner.wiring.clouds import ROOT, GoogleCloud, LocalCloud, find_pulumi
from runner.wiring.configuration import close_home, home_folder, load_settings, settings_file, settings_text
from runner.wiring.logs import command_log

__all__ = [
    "ROOT",
    "command_log",
    "find_pulumi",
    "home_folder",
    "load_settings",
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
    """What commands are handed. No cloud is touched, nothing is started, but what lies in the home is closed to other users.

    ``instead_of_file``: the text of a settings file. ``listener``: who hears of what the command does; without one, nobody.

    Raises:
        InputError: the settings are wrong.
    """
    environment = os.environ if environment is None else environment
    text = settings_text(environment) if instead_of_file is None else instead_of_file
    settings = read_settings(text, settings_file(environment), environment)
    home = home_folder(environment)
    close_home(home)
    clouds = {"local": LocalCloud, "google": GoogleCloud}
    listener = listener or Listener()
    return Context(
        settings=settings,
        cloud=clouds[settings.target](settings, home, environment),
        journal=Journal(folder=home / settings.target / "journal"),
        root=ROOT,
        home=home,
        results_folder=results_folder or Path.cwd() / "results",
        now=lambda: datetime.now(UTC),
        monotonic=time.monotonic,
        sleep=time.sleep,
        listener=listener,
        phases=Phases(listener),
    )


def pulumi_shell_environment(context: Context) -> dict[str, str]:
    """What a shell needs so that plain ``pulumi`` works in infra/*, with the stacks ``base`` at hand."""
    context.cloud.prepare_by_hand()
    path = [str(Path(sys.executable).parent), str(find_pulumi(os.environ)), os.environ.get("PATH", "")]
    return context.cloud.pulumi_environment() | {"PATH": os.pathsep.join(path)}
