"""Settings and folders of this user, from the environment and the settings file."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from runner.errors import InputError
from runner.model import names
from runner.model.settings import Settings, read_settings, variable_name
from runner.model.yaml_source import decode_yaml
from runner.system.files import tighten

STATE_NAMES = frozenset({"settings.yaml", "passphrase", "ssh", "pulumi", "local", "google", "logs", "crashes"})


def home_folder(environment: Mapping[str, str]) -> Path:
    """Where this user's settings, keys and state lie.

    Raises:
        InputError: the environment names no folder that can be one.
    """
    given = environment.get("OPENSEES_HPC_HOME")
    if given:
        return _absolute(given, "OPENSEES_HPC_HOME")
    import platformdirs

    try:
        return platformdirs.user_state_path(names.APP)
    except RuntimeError as error:  # a user whom this machine does not know, such as a container's, and no HOME
        remedy = "let OPENSEES_HPC_HOME name a folder for what commands keep"
        raise InputError(f"there is no home folder of this user: {error}", remedy=remedy) from error


def close_home(home: Path) -> None:
    """Take the rights of other users on what is ours in the home. A home that holds other things too is itself left as it is."""
    engine, cloud = home / "pulumi", home / "local" / "cloud"  # whose own files need rights of their own
    for name in STATE_NAMES:
        tighten(home / name, spare={engine, cloud})
    with contextlib.suppress(OSError):
        if {entry.name for entry in home.iterdir()} <= STATE_NAMES:
            tighten(home, spare={home})


def settings_file(environment: Mapping[str, str]) -> Path:
    """The settings file, there or not."""
    given = environment.get("OPENSEES_HPC_SETTINGS")
    return _absolute(given, "OPENSEES_HPC_SETTINGS") if given else home_folder(environment) / "settings.yaml"


def _absolute(given: str, variable: str) -> Path:
    try:
        return Path(given).expanduser().absolute()
    except (
        RuntimeError,
        OSError,
    ) as error:  # ~somebody, whom this machine does not know; a current folder that has gone
        raise InputError(f"{variable}={given}: {error}", remedy="give a whole path") from error


def load_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from file and environment.

    Raises:
        InputError: a key or a variable is wrong, or the file cannot be read.
    """
    return read_settings(settings_text(environment), settings_file(environment), environment)


def settings_text(environment: Mapping[str, str]) -> str:
    """What the settings file says; empty if there is none.

    Raises:
        InputError: it cannot be read.
    """
    file = settings_file(environment)
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        data = b""
    except OSError as error:
        remedy = f"{variable_name('settings')} names another file"
        raise InputError(f"the settings file {file} cannot be read: {error.strerror}", remedy=remedy) from error
    return decode_yaml(data, file)
