"""The passphrase of Pulumi's state. No setting of ours is secret, but the engine refuses a stack that was created with another one."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path

from runner.errors import ConflictError, NotFoundError
from runner.google import Objects
from runner.model import names
from runner.system.files import STATE_ELSEWHERE, create_private, disk_errors_mapped, write_private


def known_passphrase(*files: Path) -> Path | None:
    """Return the first of these files that exists: for older stacks, where new ones need no passphrase. Creates none."""
    return next((file for file in files if file.exists()), None)


def own_passphrase(file: Path) -> Path:
    """Return the file with the passphrase of a state that only this computer has; create it if it does not exist.

    Raises:
        DiskError: it cannot be read or created.
    """
    with disk_errors_mapped(file, more=STATE_ELSEWHERE):
        try:
            file.read_bytes()
        except FileNotFoundError:
            # Another process may be faster, and may have created stacks with its own.
            with contextlib.suppress(FileExistsError):
                create_private(file, _new_passphrase())
    return file


def shared_passphrase(objects: Objects, file: Path, *, own: Path) -> Path:
    """Return the file with the passphrase of a state in a bucket, which holds it for all computers that may read the state.

    ``file``: this computer's copy, which is not compared once it is there. If the bucket has none yet it gets the one in ``own``, with
    which stacks may have been created, else a new one.

    Raises:
        CloudError: the bucket does not exist, or cannot be read or written.
    """
    with disk_errors_mapped(file, more=STATE_ELSEWHERE):
        if not file.exists():
            write_private(file, _read_or_create(objects, own))
    return file


def _read_or_create(objects: Objects, own: Path) -> bytes:
    try:
        return objects.read(names.STATE_PASSPHRASE)[0]
    except NotFoundError:
        content = own.read_bytes() if own.exists() else _new_passphrase()
    try:
        objects.write(names.STATE_PASSPHRASE, content, if_generation=0)
    except ConflictError:
        return objects.read(names.STATE_PASSPHRASE)[0]  # another computer was faster
    except NotFoundError as error:
        message = f"the bucket {objects.bucket} for Pulumi's state does not exist"
        raise NotFoundError(message, status=error.status, remedy="create it with `invoke setup`") from error
    return content


def _new_passphrase() -> bytes:
    return secrets.token_urlsafe(32).encode()
