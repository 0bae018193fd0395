"""Settings and folders of this user, from the environment and the settings file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runner.model import names
from runner.model.settings import Settings, read_settings


def home_folder(environment: Mapping[str, str]) -> Path:
    """Where this user's settings, keys and state lie."""
    given = environment.get("OPENSEES_HPC_HOME")
    if given:
        return Path(given).expanduser().absolute()
    import platformdirs

    return platformdirs.user_state_path(names.APP)


def settings_file(environment: Mapping[str, str]) -> Path:
    """The settings file, there or not."""
    given = environment.get("OPENSEES_HPC_SETTINGS")
    return Path(given).expanduser().absolute() if given else home_folder(environment) / "settings.yaml"


def load_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from file and environment.

    Raises:
        InputError: a key or a variable is wrong.
    """
    file = settings_file(environment)
    return read_settings(file.read_text() if file.exists() else "", file, environment)
