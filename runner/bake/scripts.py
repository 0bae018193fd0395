"""What runs on the builder: ``packer`` is uploaded, its scripts bake, clean up and validate, and their output is streamed."""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from runner.context import Context
from runner.errors import BuildError, RemoteCommandError
from runner.model import names
from runner.model.foreign import decode_json

if TYPE_CHECKING:
    from runner.ssh import Connection

RECIPES = {"wheels": "build_opensees_wheels.sh", "full": "build_opensees_full.sh"}
REMOTE_FOLDER = f"{names.APP}-packer"


def bake_on(context: Context, connection: Connection, recipe: str) -> Mapping[str, str]:
    """Upload, build, clean up, validate; return the versions of what was built."""
    with context.phases.phase("upload"):
        unpack = 'rm -rf -- "$1" && mkdir -- "$1" && tar -xzf - -C "$1"'
        result = connection.run_script(unpack, REMOTE_FOLDER, stdin=archive_folder(context.root / "packer"))
        if result.exit_code != 0:
            raise BuildError(f"upload to the builder failed: {result.error_text}")
    with context.phases.phase("build"):
        cores = connection.run(["nproc"], check=True).text.strip()
        _run_script(context, connection, RECIPES[recipe], cores)
    with context.phases.phase("cleanup"):
        _run_script(context, connection, "cleanup.sh")
    with context.phases.phase("validate"):
        lines = _run_script(context, connection, "validate.sh")
    try:
        return {str(key): str(value) for key, value in decode_json(lines[-1].encode()).items()}
    except (ValueError, IndexError, AttributeError) as error:
        raise BuildError("validate.sh ended without reporting the versions in the image") from error


def _run_script(context: Context, connection: Connection, script: str, *arguments: str) -> list[str]:
    """Run a script of packer/bake as root, its output streamed; return the lines of its standard output.

    Raises:
        BuildError: its exit code was not 0.
    """
    log = partial(context.listener.log, script.removesuffix(".sh"))
    out, err = _Lines(log), _Lines(log)
    words = ["sudo", "bash", f"bake/{script}", *arguments]
    result = connection.run(words, folder=REMOTE_FOLDER, on_output=lambda s, data: (out if s == 1 else err).feed(data))
    out.end()
    err.end()
    if result.exit_code != 0:
        failed = connection.command_error(" ".join(words), result)
        raise _build_error(failed, [*out.lines, *err.lines])
    return out.lines


class _Lines:
    """Turns bytes into lines, and passes each to ``on_line`` as it comes."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = b""
        self.lines: list[str] = []

    def feed(self, data: bytes) -> None:
        """Take more output."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._keep(line)

    def end(self) -> None:
        """Take the last line, if it has no end: no more output comes."""
        if self._rest:
            self._keep(self._rest)
        self._rest = b""

    def _keep(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r")
        self.lines.append(text)
        self._on_line(text)


def _build_error(failed: RemoteCommandError, lines: Sequence[str]) -> BuildError:
    end = "\n".join(f"    {line}" for line in lines[-20:])
    return BuildError(
        f"{failed.message}\n{end}", remedy="the lines above say why; the builder was deleted, no image was created"
    )


def archive_folder(folder: Path) -> bytes:
    """Return a folder as a compressed tar, without what Python or editors leave there; owners are left out.

    All users may read it, whatever umask the repository was cloned with: jobs do not run as root.

    Raises:
        BuildError: it cannot be read.
    """

    def keep(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if "__pycache__" in member.name:
            return None
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mode = 0o755 if member.isdir() or member.mode & stat.S_IXUSR else 0o644
        return member

    buffer = io.BytesIO()
    try:
        with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
            tar.add(folder, arcname=".", filter=keep)
    except OSError as error:
        message = f"the bake scripts cannot be read: {error.filename or folder}: {error.strerror}"
        raise BuildError(message, remedy="clone the repository again, or make it readable") from error
    return buffer.getvalue()
