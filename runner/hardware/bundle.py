"""Jobs as the remote side expects them: a tar of job folders, written piece by piece, never entirely in memory."""

from __future__ import annotations

import shlex
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath

from runner.model.names import STATE_FOLDER

# Cannot be the name of a job, which does not begin with a dot.
COMPLETE = ".complete"
_PIECE_BYTES = 1 << 18
_BLOCK_BYTES = 512
_RECORD_BYTES = 10240


@dataclass(frozen=True, kw_only=True)
class BundleFile:
    """One file of a bundle: a relative POSIX path and the source of its content."""

    path: str
    source: Path | bytes
    executable: bool = False


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """One job for the remote side. ``settings`` and ``on_end`` are POSIX shell that ends in ``set -- PROGRAM ARGUMENT…``, everything in it quoted.

    ``log_name`` and ``output_name``: files in the job's folder. ``reap``: end the processes that the program leaves running.
    """

    name: str
    settings: str
    log_name: str
    files: tuple[BundleFile, ...] = ()
    output_name: str | None = None
    timeout_s: float | None = None
    grace_s: int = 5
    reap: bool = False
    on_end: str | None = None


def shell_words(words: Iterable[str]) -> str:
    """Return ``set --`` with these words."""
    return "set -- " + " ".join(shlex.quote(word) for word in words) + "\n"


def shell_exports(environment: Mapping[str, str]) -> str:
    """Return ``export`` lines for an environment.

    Raises: ValueError for a name that no shell variable can have.
    """
    for name in environment:
        if not name.isidentifier() or not name.isascii():
            raise ValueError(f"{name!r} cannot be the name of an environment variable")
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())


def check_folder_name(name: str) -> str:
    """Return the ID if it can be the name of a folder (and a line of our protocol).

    Raises: ValueError.
    """
    control = any(ord(character) < 32 or ord(character) == 127 for character in name)
    if not name or name.startswith(".") or "/" in name or control or len(name.encode("utf-8", "surrogateescape")) > 200:
        raise ValueError(
            f"{name!r} cannot be the ID of a job: it must be a valid name of a folder, without a leading dot or control characters"
        )
    return name


def check_file_path(path: str) -> str:
    """Return the path if it is inside the job's folder.

    Raises: ValueError.
    """
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path or parts[0] == STATE_FOLDER:
        raise ValueError(f"{path!r} is not a path inside the job's folder")
    return path


def bundle_entries(bundle: Bundle, token: str) -> Iterator[BundleFile]:
    """Yield all files of a job's folder, including those that hold its settings."""
    timeout = "" if bundle.timeout_s is None else str(max(1, round(bundle.timeout_s)))
    limits = {
        "log_name": bundle.log_name,
        "output_name": bundle.output_name or "",
        "grace_s": str(bundle.grace_s),
        "timeout_s": timeout,
        "reap": "1" if bundle.reap else "0",
    }
    state = {
        "limits": f"token={token}\n" + "".join(f"{name}={shlex.quote(value)}\n" for name, value in limits.items()),
        "settings": bundle.settings,
    }
    if timeout:
        state["timeout_s"] = timeout + "\n"
    if bundle.on_end is not None:
        state["on_end"] = bundle.on_end
    for name, text in state.items():
        yield BundleFile(path=f"{STATE_FOLDER}/{name}", source=text.encode("utf-8", "surrogateescape"))
    yield from bundle.files


def tar_bundles(bundles: Sequence[Bundle], token: str) -> Iterator[bytes]:
    """Yield the tar of a submit: the jobs' folders, and last the file that marks it as complete."""
    numbered = ((f"{number}.{token}", bundle) for number, bundle in enumerate(bundles))
    files = (
        BundleFile(path=f"{bundle.name}/{entry.path}", source=entry.source, executable=entry.executable)
        for job_token, bundle in numbered
        for entry in bundle_entries(bundle, job_token)
    )
    return tar_files([*files, BundleFile(path=COMPLETE, source=b"")])


def tar_files(files: Iterable[BundleFile]) -> Iterator[bytes]:
    """Yield a tar archive in pieces.

    Raises: OSError for a file that cannot be read or that becomes shorter while it is read.
    """
    return _join_pieces(_tar_blocks(files))


def _tar_blocks(files: Iterable[BundleFile]) -> Iterator[bytes]:
    written = 0
    for file in files:
        for block in _file_blocks(file):
            written += len(block)
            yield block
    end = 2 * _BLOCK_BYTES
    yield bytes(end + -(written + end) % _RECORD_BYTES)


def _file_blocks(file: BundleFile) -> Iterator[bytes]:
    size = len(file.source) if isinstance(file.source, bytes) else file.source.stat().st_size
    header = tarfile.TarInfo(file.path)
    header.size = size
    header.mode = 0o755 if file.executable else 0o644
    yield header.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    if isinstance(file.source, bytes):
        yield file.source
    else:
        yield from _read_exactly(file.source, size)
    yield bytes(-size % _BLOCK_BYTES)


def _read_exactly(path: Path, size: int) -> Iterator[bytes]:
    left = size
    with path.open("rb") as content:
        while left:
            piece = content.read(min(left, _PIECE_BYTES))
            if not piece:
                raise OSError(f"{path} became shorter while it was read")
            left -= len(piece)
            yield piece


def _join_pieces(blocks: Iterable[bytes]) -> Iterator[bytes]:
    waiting = bytearray()
    for block in blocks:
        waiting += block
        if len(waiting) >= _PIECE_BYTES:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)


def remote_scripts() -> tuple[BundleFile, ...]:
    """Return our scripts for the remote side, sorted by name."""
    folder = resources.files("runner.hardware").joinpath("remote")
    scripts = sorted((file for file in folder.iterdir() if file.name.endswith(".sh")), key=lambda file: file.name)
    return tuple(BundleFile(path=file.name, source=file.read_bytes()) for file in scripts)
