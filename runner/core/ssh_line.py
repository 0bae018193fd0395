"""How a command gets to a remote shell unharmed, whatever the user's login shell is, prints or quotes.

The command that the login shell sees is the same for every call and holds nothing that any shell reads differently. It starts a
POSIX shell, which announces itself (what a start-up file printed before is thus told apart), reads ONE line and evaluates it.
Whatever follows that line on stdin belongs to the command.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

_HOME_PREFIX = "~/"


def announce_command(marker: str) -> str:
    """What the login shell is asked to run. ``marker``: letters and digits only, printed on both streams when it runs."""
    if not re.fullmatch(r"[A-Za-z0-9]+", marker):
        raise ValueError(f"not a plain marker: {marker!r}")
    return f"exec /bin/sh -c 'echo {marker}; echo {marker} >&2; IFS= read -r line && eval \"$line\"'"


def quote(text: str) -> str:
    """Quote one word for a POSIX shell on one line; a newline in it becomes ``$NL``.

    Raises: ValueError for NUL, which no argument can hold.
    """
    if "\0" in text:
        raise ValueError("a NUL byte cannot be in an argument or path")
    return shlex.quote(text).replace("\n", "'\"$NL\"'")


def quote_path(path: str) -> str:
    """Quote a remote path; ``~`` and ``~/…`` mean the remote home folder, everything else is taken as it is."""
    if path == "~":
        return '"$HOME"'
    if path.startswith(_HOME_PREFIX):
        return '"$HOME"/' + quote(path.removeprefix(_HOME_PREFIX))
    return quote(path if path.startswith("/") else f"./{path}")


def command_line(words: Sequence[str], *, folder: str | None = None) -> str:
    """One line that runs ``words`` in ``folder`` (a remote path), in place of the shell that reads it."""
    enter = "" if folder is None else f"cd -- {quote_path(folder)} && "
    return with_newlines(enter + "exec " + " ".join(quote(word) for word in words))


def with_newlines(line: str) -> str:
    """Make sure that ``$NL``, if the line uses it, holds a newline."""
    return f"NL=$(printf '\\nx'); NL=${{NL%x}}; {line}" if "$NL" in line else line
