"""The files of a job folder that are results. Only names are read, never contents, and no link is followed out of the folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from .shared_names import STATE_FOLDER

GONE = "gone, or a link to nothing"
OUTSIDE = "a link that leads out of the job folder"
FOREIGN = "a hard link to a file of another user"
UNREADABLE = "cannot be read"


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A name that was left out, and why. Names are relative; bytes that are not UTF-8 are surrogate escapes.

    ``is_loss``: it is a result that could not be packed.
    """

    path: str
    reason: str
    is_loss: bool = False


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Glob patterns over relative paths, ``*`` matching slashes too. ``include`` also reaches into ``.job/``."""

    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()

    def takes(self, path: str) -> bool:
        """Return whether a file is a result: included by name, or neither excluded nor one of the job manager's files."""
        if any(fnmatchcase(path, pattern) for pattern in self.include):
            return True
        is_control = path.split("/", 1)[0] == STATE_FOLDER
        return not is_control and not any(fnmatchcase(path, pattern) for pattern in self.exclude)


def list_files(folder: Path, selection: Selection) -> tuple[list[str], list[Skipped]]:
    """Return the relative paths of all result files, in a stable order, and the names that were skipped."""
    taken: list[str] = []
    skipped: list[Skipped] = []
    root = folder.resolve()
    for path in _walk(folder):
        if not selection.takes(path):
            continue
        left_out = why_not_packed(path, root)
        if left_out is None:
            taken.append(path)
        else:
            skipped.append(left_out)
    return sorted(taken, key=os.fsencode), sorted(skipped, key=lambda item: os.fsencode(item.path))


def _walk(folder: Path) -> Iterator[str]:
    """Yield everything below ``folder`` that is not a folder, including links to folders; links are not followed."""
    for parent, folders, files in os.walk(folder):
        linked = [name for name in folders if Path(parent, name).is_symlink()]
        for name in [*files, *linked]:
            yield os.path.relpath(Path(parent, name), folder)


def why_not_packed(path: str, root: Path) -> Skipped | None:
    """Return None for a regular file below ``root``, or a link to one."""
    file = root / path
    try:
        if file.is_symlink() and not file.resolve().is_relative_to(root):
            return Skipped(path=path, reason=OUTSIDE)
        why = why_not_read(file.stat(), root.stat())
    except FileNotFoundError:
        return Skipped(path=path, reason=GONE)
    except (OSError, RuntimeError) as error:
        return Skipped(path=path, reason=f"{UNREADABLE}: {error}", is_loss=True)
    return Skipped(path=path, reason=why) if why else None


def why_not_read(file: os.stat_result, root: os.stat_result) -> str:
    """Return an empty string for a regular file of the job in ``root``. Another user's file with a second name has that name elsewhere."""
    if not stat.S_ISREG(file.st_mode):
        return "not a regular file"
    return FOREIGN if file.st_nlink > 1 and file.st_uid != root.st_uid else ""


def describe_names(skipped: Sequence[Skipped]) -> list[dict[str, str]]:
    """Return the skipped names as values for JSON."""
    return [{"path": item.path, "reason": item.reason} for item in skipped]
