"""The input files of a batch's jobs, in the bucket and with a client that attached: as streams, never whole in memory.

``inputs/<hash>.tar.gz`` in the bucket holds the files of one folder. A client unpacks them in its state folder, below the
project of the bucket, and keeps them as long as the bucket has the batch.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

from runner.context import Context
from runner.errors import CloudError, InputError
from runner.model import names
from runner.results import CorruptResultsError, check_name
from runner.system.files import STATE_ELSEWHERE, disk_errors_mapped, make_private_folder
from runner.teardown import find_busy

KEY_LETTERS = 32
PIECE_BYTES = 1 << 20


def save_inputs(context: Context, batch: str, folder: Path, files: Sequence[str]) -> str:
    """Put files of a folder into the bucket; return the key by which a client finds them again, which is the same for the same files.

    Raises:
        InputError: a file was deleted since the preflight, or cannot be read.
        DiskError: the archive cannot be written in the state folder.
        CloudError: it cannot be written to the bucket.
    """
    scratch = _folder_of(context, batch).parent
    with disk_errors_mapped(scratch / batch, more=STATE_ELSEWHERE):
        make_private_folder(scratch)
        with tempfile.TemporaryFile(dir=scratch) as file:  # it has no name, so nothing is left behind in any case
            key = _pack(folder, files, file)
            context.cloud.results.put_control_file(batch, _object_name(key), file)
    return key


def fetch_inputs(context: Context, batch: str, key: str) -> Path:
    """Return the folder with these files, unpacked if it does not exist. Several clients with one state folder may do so at once.

    Raises:
        CloudError: they are not in the bucket, or not what was put there.
        OSError: they cannot be unpacked here.
    """
    here = _folder_of(context, batch) / str(check_name(key))
    if here.is_dir():
        return here
    make_private_folder(here.parent)
    work = Path(tempfile.mkdtemp(dir=here.parent, prefix=f".{here.name}."))
    try:
        _fetch(context, batch, key, work / "packed")
        _unpack(work / "packed", work / "files")
        _move_in(work / "files", here)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return here


def forget_inputs(context: Context, batch: str) -> None:
    """Delete the unpacked files of a batch that is over. Files that cannot be deleted are harmless."""
    shutil.rmtree(_folder_of(context, batch), ignore_errors=True)


def forget_inputs_of_gone(context: Context) -> None:
    """Do so for all batches that are no longer in the bucket: another client may have ended them.

    A batch that a process on this computer runs is left alone.

    Raises:
        CloudError: the bucket cannot be listed; nothing was deleted.
        HpcError: the journals cannot be read; nothing was deleted.
    """
    folder = _folder_of(context, "any").parent
    with contextlib.suppress(FileNotFoundError):
        there = {path.name for path in folder.iterdir() if names.is_batch_name(path.name)}
        known = {*context.cloud.results.controlled_batches(), *find_busy(context)} if there else set()
        for batch in there - known:
            forget_inputs(context, batch)


def _folder_of(context: Context, batch: str) -> Path:
    return context.state_folder / context.settings.target / "inputs" / context.settings.project / batch


def _object_name(key: str) -> str:
    return f"inputs/{key}.tar.gz"


class _Digested:
    """Writes to a file, and knows the digest of what was written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def write(self, content: bytes) -> int:
        self._digest.update(content)
        return self._file.write(content)

    def flush(self) -> None:
        self._file.flush()

    def key(self) -> str:
        return self._digest.hexdigest()[:KEY_LETTERS]


class _Source:
    """One input file, whose errors are kept apart from those of the file that is written. It has ``size`` bytes until it is read."""

    def __init__(self, file: IO[bytes], folder: Path, size: int) -> None:
        self._file = file
        self._folder = folder
        self._left = size

    def read(self, size: int) -> bytes:
        with _read_errors_mapped(self._folder):
            content = self._file.read(min(size, self._left))
            if not content and self._left:
                raise OSError(0, "it has become shorter", self._file.name)
        self._left -= len(content)
        return content


def _pack(folder: Path, files: Sequence[str], into: IO[bytes]) -> str:
    """Write a compressed tar that is the same for the same files, with no times and no owners; return its key."""
    digested = _Digested(into)
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=1, mtime=0, fileobj=cast(Any, digested)) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.GNU_FORMAT, errors="surrogateescape") as tar,
    ):
        for name in files:
            with _opened(folder, name) as file:
                status = os.fstat(file.fileno())
                member = tarfile.TarInfo(name)
                member.size, member.mode = status.st_size, 0o755 if status.st_mode & 0o100 else 0o644
                tar.addfile(member, cast(Any, _Source(file, folder, status.st_size)))
    return digested.key()


def _opened(folder: Path, name: str) -> IO[bytes]:
    with _read_errors_mapped(folder):
        return (folder / name).open("rb")


@contextlib.contextmanager
def _read_errors_mapped(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{error.filename or folder}: can no longer be read: {error.strerror or error}",
            remedy=f"leave {folder} unchanged until its jobs have started",
        ) from error


def _fetch(context: Context, batch: str, key: str, into: Path) -> None:
    """Download the archive as it was put there: its key is the digest of it."""
    store = context.cloud.results
    found = store.find_control(batch, _object_name(key))
    if found is None:
        raise CloudError(f"input files of batch {batch} are no longer in the bucket: {_object_name(key)}")
    store.objects.copy_down(found, into)
    with into.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest()[:KEY_LETTERS] != key:
            raise CloudError(f"input files of batch {batch} in the bucket are not those that it began with: {key}")


def _unpack(packed: Path, folder: Path) -> None:
    folder.mkdir(mode=0o700)
    try:
        with tarfile.open(packed, mode="r|gz", errors="surrogateescape") as tar:
            for member in tar:
                content = tar.extractfile(member)
                if content is not None and member.isreg():
                    _write(content, folder / check_name(member.name), mode=0o700 if member.mode & 0o100 else 0o600)
    except (tarfile.TarError, EOFError, zlib.error, CorruptResultsError) as error:
        raise CloudError(f"input files in the bucket are corrupt: {error}") from error


def _write(content: IO[bytes], path: Path, *, mode: int) -> None:
    make_private_folder(path.parent)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "wb") as file:
        shutil.copyfileobj(content, file, PIECE_BYTES)


def _move_in(unpacked: Path, here: Path) -> None:
    """Move the files to their place, unless another client was quicker, with the same files."""
    try:
        unpacked.rename(here)
    except OSError:
        if not here.is_dir():
            raise
