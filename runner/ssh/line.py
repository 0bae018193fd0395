"""How a command reaches a remote shell unchanged, whatever the user's login shell is, prints or quotes.

The command that the login shell sees is the same for every call and holds nothing that any shell reads differently. It starts a
POSIX shell, which announces itself (output of start-up files comes before that) and then reads lines. A line that begins with
the marker is a command; everything else is ignored, so that stdin whose reader has exited is never taken for one.

    MARKER q COMMAND   run it in a subshell, then print its exit code on stdout, the marker on both streams; read the next line
    MARKER x COMMAND   run it in place of the shell: what follows the line is its stdin
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

_HOME_PREFIX = "~/"


# "read" takes a line byte by byte, so that nothing after it is lost; dd must be able to do the same with blocks, or the announcement says so.
_SHELL = (
    "echo M $(dd iflag=fullblock count=0 </dev/null >/dev/null 2>&1; echo $?); echo M >&2; while IFS= read -r l; do case $l in "
    '"M q "*) (eval "${l#M q }"); printf "\\nM %s\\n" $?; printf "\\nM\\n" >&2;; "M x "*) eval "${l#M x }"; exit;; esac; done'
)


def announce_command(marker: str) -> str:
    """Return the command for the login shell. ``marker``: letters and digits only, and impossible to guess."""
    if not re.fullmatch(r"[A-Za-z0-9]+", marker):
        raise ValueError(f"not a plain marker: {marker!r}")
    return f"exec /bin/sh -c '{_SHELL.replace('M', marker)}'"


def last_line(marker: str, line: str) -> str:
    """Return the line for a command that takes the place of the shell and reads stdin to its end."""
    return f"{marker} x {line}\n"


def quick_line(marker: str, line: str, stdin_bytes: int) -> str:
    """Return the line for a command after which the shell continues; exactly the ``stdin_bytes`` that follow it are its stdin."""
    if not stdin_bytes:
        return f"{marker} q {{ {line}; }} </dev/null\n"
    return f"{marker} q dd iflag=fullblock bs={stdin_bytes} count=1 2>/dev/null | {{ {line}; }}\n"


def quote(text: str) -> str:
    """Quote one word for a POSIX shell on one line; a newline in it becomes ``$NL``.

    Raises: ValueError for NUL, which no argument can hold.
    """
    if "\0" in text:
        raise ValueError("a NUL byte cannot be in an argument or path")
    return shlex.quote(text).replace("\n", "'\"$NL\"'")


def quote_path(path: str) -> str:
    """Quote a remote path; ``~`` and ``~/…`` mean the remote home folder, everything else is literal."""
    if path == "~":
        return '"$HOME"'
    if path.startswith(_HOME_PREFIX):
        return '"$HOME"/' + quote(path.removeprefix(_HOME_PREFIX))
    return quote(path if path.startswith("/") else f"./{path}")


def command_line(words: Sequence[str], *, folder: str | None = None) -> str:
    """Return one line that runs ``words`` in ``folder`` (a remote path), in place of the shell that reads it."""
    enter = "" if folder is None else f"cd -- {quote_path(folder)} && "
    return with_newlines(enter + "exec " + " ".join(quote(word) for word in words))


def with_newlines(line: str) -> str:
    """Return the line with ``$NL``, if it uses that, set to a newline."""
    return f"NL=$(printf '\\nx'); NL=${{NL%x}}; {line}" if "$NL" in line else line
