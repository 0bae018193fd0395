"""The owner's token: created once for each state folder, in a file that only its user can read. It makes its bearer the owner."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from runner.system.files import make_private_folder

_BYTES = 32


def owner_token_file(state: Path) -> Path:
    return state / "owner-token"


def make_owner_token(state: Path) -> str:
    """Return the token of this folder, and create it if there is none. The folder is closed to other users, even an old one.

    Raises:
        OSError: the token cannot be written.
    """
    make_private_folder(state)
    state.chmod(0o700)
    file = owner_token_file(state)
    if not file.exists():
        _write_once(file, "ya29.owner." + secrets.token_urlsafe(_BYTES))
    file.chmod(0o600)
    return read_owner_token(file)


def read_owner_token(file: Path) -> str:
    """Read the token.

    Raises:
        OSError: the file cannot be read, or does not exist.
    """
    return file.read_text(encoding="ascii").strip()


def _write_once(file: Path, token: str) -> None:
    """Write the file atomically. If two processes do so at once, the first one's token stays."""
    making = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    making.unlink(missing_ok=True)
    with os.fdopen(os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(token + "\n")
    try:
        os.link(making, file)
    except FileExistsError:
        pass
    finally:
        making.unlink()
