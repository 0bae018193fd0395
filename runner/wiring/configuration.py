"""The settings and the state folder of this user, from the environment and the settings file."""

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


def find_state_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder of this user's settings, keys and state, whether or not it exists.

    Raises:
        InputError: the folder that the environment names cannot be used.
    """
    given = environment.get("OPENSEES_HPC_HOME")
    if given:
        return _absolute(given, "OPENSEES_HPC_HOME")
    import platformdirs

    try:
        return platformdirs.user_state_path(names.APP)
    except RuntimeError as error:  # an unknown user, such as a container's, and no HOME
        remedy = "set OPENSEES_HPC_HOME to a folder in which commands can keep their state"
        raise InputError(f"this user has no home folder: {error}", remedy=remedy) from error


def close_state_folder(folder: Path) -> None:
    """Remove the rights of other users on our files in the state folder. A folder with other files in it keeps its own rights."""
    engine, cloud = folder / "pulumi", folder / "local" / "cloud"  # whose files need rights of their own
    for name in STATE_NAMES:
        tighten(folder / name, spare={engine, cloud})
    with contextlib.suppress(OSError):
        if {entry.name for entry in folder.iterdir()} <= STATE_NAMES:
            tighten(folder, spare={folder})


def settings_file(environment: Mapping[str, str]) -> Path:
    """Return the path of the settings file, whether or not it exists."""
    given = environment.get("OPENSEES_HPC_SETTINGS")
    return _absolute(given, "OPENSEES_HPC_SETTINGS") if given else find_state_folder(environment) / "settings.yaml"


def _absolute(given: str, variable: str) -> Path:
    try:
        return Path(given).expanduser().absolute()
    except (RuntimeError, OSError) as error:  # ~USER of an unknown user; a current folder that was deleted
        raise InputError(f"{variable}={given}: {error}", remedy="give an absolute path") from error


def load_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings from file and environment.

    Raises:
        InputError: a key or a variable is wrong, or the file cannot be read.
    """
    return read_settings(settings_text(environment), settings_file(environment), environment)


def settings_text(environment: Mapping[str, str]) -> str:
    """Read the text of the settings file; empty if there is none.

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
