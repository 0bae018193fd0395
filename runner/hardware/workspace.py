"""A remote workspace: the verbs of ``remote/manager.sh`` as functions, each one round trip. Does not depend on what the jobs compute."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from runner.errors import RemoteError
from runner.hardware.bundle import Bundle, BundleFile, remote_scripts, tar_bundles, tar_files
from runner.hardware.remote_state import RemoteState, read_state
from runner.model.names import WORKSPACE_CONTROL_FOLDER
from runner.ssh import Connection, Result, Stdin, command_line

_ATTACH = "attach.sh"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The outcome for one job of a submit or delete. ``outcome``: ok, exists, busy, none or failed; ``why``: a state or a sentence."""

    outcome: str
    why: str = ""


class Workspace:
    """A folder on the remote host, a job a subfolder. All state is there; this object only has its path.

    Raises: RemoteError from every method when the remote side cannot answer.
    """

    def __init__(self, connection: Connection, path: str, scripts: str, session_dir: str) -> None:
        self._connection = connection
        self.path = path
        self.session_dir = session_dir
        self._manager = f"{WORKSPACE_CONTROL_FOLDER}/{scripts}/manager.sh"
        self._watcher = f"{WORKSPACE_CONTROL_FOLDER}/{scripts}/watch.sh"

    def watch_line(self, arguments: Sequence[str]) -> str:
        """Return the line that starts ``watch.sh``."""
        return command_line(["/bin/sh", self._watcher, *arguments], folder=self.path)

    def submit(self, bundles: Sequence[Bundle], *, mode: str = "new") -> dict[str, Answer]:
        """Transfer jobs to the host and start them, all in one channel. Return an answer for each. ``mode``: new, again or any (see ``manager.sh``).

        May be repeated after a lost connection: a job that has already started is recognised by its token.
        """
        token = secrets.token_hex(8)
        words = ["submit", token, mode]
        result = self._ask(words, stdin=lambda: tar_bundles(bundles, token))
        answers = _parse_answers(result.text)
        missing = [bundle.name for bundle in bundles if bundle.name not in answers]
        if result.exit_code != 0 or missing:
            raise self._failure("the jobs could not be submitted", result)
        return answers

    def states(self, names: Sequence[str] | None = None) -> dict[str, RemoteState]:
        """Return the states of these jobs, or of all in the workspace."""
        if names is not None and not names:
            return {}
        result = self._ask(["status", *(names or ())])
        if result.exit_code != 0:
            raise self._failure("the states of the jobs could not be read", result)
        return parse_states(result.text)

    def cancel(self, names: Sequence[str]) -> dict[str, RemoteState]:
        """End jobs with all their processes; return when they have ended, or cannot be ended (then they are still running)."""
        result = self._ask(["cancel", *names])
        if result.exit_code != 0:
            raise self._failure("the jobs could not be cancelled", result)
        return parse_states(result.text)

    def delete(self, names: Sequence[str]) -> dict[str, Answer]:
        """Remove the folders of jobs that have ended."""
        result = self._ask(["delete", *names])
        if result.exit_code != 0:
            raise self._failure("the folders of the jobs could not be removed", result)
        answers = _parse_answers(result.text)
        if result.tries > 1:
            # The try that was cut off may have removed a missing folder.
            answers = {name: Answer(outcome="ok") if one.outcome == "none" else one for name, one in answers.items()}
        return answers

    def extend(self, names: Sequence[str], timeout_s: int) -> dict[str, RemoteState]:
        """Move the deadline of jobs that have one to ``timeout_s`` after their start."""
        result = self._ask(["extend", str(timeout_s), *names])
        if result.exit_code != 0:
            raise self._failure("the deadlines of the jobs could not be moved", result)
        return parse_states(result.text)

    def show(self, name: str, file: str, lines: int) -> tuple[RemoteState, int | None, bytes]:
        """Return a job's state, the size of one of its files (None: not there) and the file's last lines."""
        return self._ask_file("show", name, file, lines)

    def read(self, name: str, file: str, most_bytes: int) -> tuple[RemoteState, int | None, bytes]:
        """Return the same as ``show``, with the file's first bytes."""
        return self._ask_file("read", name, file, most_bytes)

    def _ask_file(self, verb: str, name: str, file: str, amount: int) -> tuple[RemoteState, int | None, bytes]:
        result = self._ask([verb, name, file, str(amount)])
        if result.exit_code != 0:
            raise self._failure(f"the output of job {name} could not be read", result)
        status, size, content = result.stdout.split(b"\n", 2)
        state = parse_states(status.decode("utf-8", "surrogateescape"))[name]
        return state, None if size == b"-" else int(size), content

    def remove(self) -> None:
        """Remove the whole workspace, even if jobs run in it."""
        result = self._connection.run(["rm", "-rf", "--", self.path])
        if result.exit_code != 0:
            raise self._failure(f"the workspace {self.path} could not be removed", result)

    def _ask(self, words: Sequence[str], stdin: Stdin = b"") -> Result:
        line = command_line(["/bin/sh", self._manager, *words], folder=self.path)
        return self._connection.run_line(line, stdin=stdin, is_quick=True)

    def _failure(self, what: str, result: Result) -> RemoteError:
        return failure(self._connection, f"{what} (workspace {self.path})", result)


def failure(connection: Connection, what: str, result: Result) -> RemoteError:
    """Return the error for a verb that failed, with the remote side's message."""
    said = "; ".join(result.error_text.splitlines()[-3:]) or f"exit code {result.exit_code} {result.signal}".strip()
    return RemoteError(f"{what} on {connection.target.label}: {said}", host=connection.target.host)


def attach_workspace(
    connection: Connection, path: str, *, beside: bool = False
) -> tuple[Workspace, Mapping[str, RemoteState]]:
    """Create or find a workspace and read the states of its jobs, in one round trip. ``beside``: create a new one in the folder ``path``.

    Raises: RemoteError.
    """
    scripts = remote_scripts()
    digest = digest_scripts(scripts)
    script = resources.files("runner.hardware").joinpath("remote", _ATTACH).read_text(encoding="utf-8")
    how = "beside" if beside else "given"
    result = connection.run_script(script, how, path, digest, stdin=lambda: tar_files(scripts))
    if result.exit_code != 0:
        raise failure(connection, f"the workspace {path} cannot be used", result)
    session_dir, where, rest = result.stdout.decode("utf-8", "surrogateescape").split("\n", 2)
    return Workspace(connection, where, digest, session_dir), parse_states(rest)


def digest_scripts(scripts: Iterable[BundleFile]) -> str:
    """Return a name for this version of our scripts: two versions of this project can use one workspace."""
    digest = hashlib.sha256()
    for file in scripts:
        digest.update(
            file.path.encode() + b"\0" + (file.source if isinstance(file.source, bytes) else file.source.read_bytes())
        )
    return digest.hexdigest()[:12]


def parse_states(text: str) -> dict[str, RemoteState]:
    """Read status lines. A state that cannot be read is Phase.UNKNOWN. Raises: RemoteError for anything but a status line."""
    return {name: read_state(after, state) for name, after, state in _columns(text)}


def _parse_answers(text: str) -> dict[str, Answer]:
    return {name: Answer(outcome=outcome, why=why) for outcome, name, why in _columns(text)}


def _columns(text: str) -> Iterator[tuple[str, str, str]]:
    for line in text.split("\n"):
        if not line:
            continue
        first, tab, rest = line.partition("\t")
        second, tab2, third = rest.partition("\t")
        if not tab or not tab2:
            raise RemoteError(f"the remote side sent an unreadable line: {line!r}")
        yield first, second, third
