"""``invoke setup``: prove that a project on Google Cloud can be used, create the bucket for Pulumi's state, save the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from runner.base import base_lock, ensure_base, wanted_settings
from runner.context import Context
from runner.errors import DeclinedError, InputError
from runner.model import names
from runner.model.settings import read_given, read_settings
from runner.system.files import disk_errors_mapped, write_private

NEEDED = ("project", "operator")
HEADER = "# Settings of opensees-hpc. Every key is also an environment variable, such as OPENSEES_HPC_REGION.\n"


@dataclass(frozen=True, kw_only=True)
class MergedSettings:
    """The ``text`` of a settings file, and the keys that it keeps from before."""

    text: str
    kept: tuple[str, ...]


def merge_settings(before: str, file: Path, typed: Mapping[str, Any]) -> MergedSettings:
    """Return the settings file for the target google: what ``before`` has in it, overridden by what was typed; empty values count as not typed.

    Raises:
        InputError: the file is wrong, or would be, or a key is missing.
    """
    _, old = read_given(before, file)
    new = {"target": "google"} | {key: value for key, value in typed.items() if value not in ("", [])}
    merged = old | new
    if missing := [key for key in NEEDED if key not in merged]:
        options = " and ".join(f"--{key}" for key in missing)
        raise InputError(f"{file} has no {' and no '.join(missing)} yet", remedy=f"give {options}")
    text = HEADER + str(yaml.safe_dump(merged, sort_keys=False, allow_unicode=True))
    read_settings(text, file, {})
    return MergedSettings(text=text, kept=tuple(key for key in old if key not in new))


def execute(context: Context, *, file: Path, text: str) -> str:
    """Check the project, create the state bucket if it is missing, bring an existing base stack up to date with the settings,
    write ``text`` to ``file``; return where Pulumi's state is.

    Raises:
        InputError: with these settings no VM can be reached, or they do not fit the base stack.
        DeclinedError: the user declined to create the bucket or to change the base; nothing was written.
        CloudError: the project cannot be used.
        DiskError: the settings cannot be written.
    """
    context.cloud.open()
    _ensure_state_bucket(context)
    engine = (
        context.cloud.pulumi_environment()
    )  # the state's passphrase is created, or taken over from the first user of the project
    base = context.cloud.stacks.outputs("base", names.BASE_STACK)
    if base:
        with base_lock(context):
            ensure_base(context, base)
    else:
        wanted_settings(context, None)
    with disk_errors_mapped(file, more="OPENSEES_HPC_SETTINGS names another settings file"):
        write_private(file, text.encode())
    return engine["PULUMI_BACKEND_URL"]


def _ensure_state_bucket(context: Context) -> None:
    bucket = names.state_bucket_name(context.settings.project)
    if context.cloud.buckets.exists(bucket):
        return
    # Without a state there is no base stack: settings from which none can be created are reported before all else.
    wanted_settings(context, None)
    if not context.listener.on_confirm(
        f"Create the versioned bucket {bucket} in {context.settings.region} for Pulumi's state?"
    ):
        raise DeclinedError("nothing was created", remedy="confirm, or give --yes")
    context.cloud.buckets.make_state_bucket(bucket, context.settings.region)
