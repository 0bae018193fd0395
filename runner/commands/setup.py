"""``invoke setup``: prove that a project on Google Cloud can be used, make the bucket for Pulumi's state, keep the settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from runner.commands.context import Context
from runner.commands.events import Listener
from runner.core.files import write_atomically
from runner.errors import DeclinedError
from runner.model import names


def settings_text(wanted: Mapping[str, Any]) -> str:
    """The settings file for these values; empty lists are left to their defaults."""
    given = {key: value for key, value in wanted.items() if value not in ("", [])}
    return (
        "# Settings of opensees-hpc. Every key is also an environment variable, such as OPENSEES_HPC_REGION.\n"
        + str(yaml.safe_dump(given, sort_keys=False))
    )


def execute(context: Context, *, file: Path, text: str, listener: Listener) -> str:
    """Check the project, make the state bucket if it is missing, write ``text`` to ``file``; where Pulumi's state is.

    Raises:
        DeclinedError: making the bucket was not agreed to; nothing was written.
        CloudError: the project cannot be used.
    """
    context.cloud.open()
    bucket = names.state_bucket_name(context.settings.project)
    if not context.cloud.buckets.exists(bucket):
        if not listener.on_confirm(
            f"Make the versioned bucket {bucket} in {context.settings.region} for Pulumi's state?"
        ):
            raise DeclinedError("nothing was made", remedy="agree, or give --yes")
        context.cloud.buckets.make_state_bucket(bucket, context.settings.region)
    engine = context.cloud.pulumi_environment()  # the state's passphrase is made, or taken over from who was here first
    write_atomically(file, text.encode())
    return engine["PULUMI_BACKEND_URL"]
