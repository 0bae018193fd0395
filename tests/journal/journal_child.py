"""A process that keeps a journal, for tests that kill it. ``python journal_child.py FOLDER MODE [BYTES]``

``steps``: each record is announced on stdout when the call has returned, and waits for a line on stdin before the next.
``die-at-byte``: the kernel ends the process, without a word to it, when the journal would grow beyond BYTES.
``full-at-byte``: from there on the disk is full, for this process.
"""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from runner.errors import HpcError
from runner.journal.journal import Journal, Journals

SCRIPT: tuple[tuple[str, Callable[[Journal], None]], ...] = (
    ("plan", lambda state: state.record("plan", machine_type="c2-standard-4", zones=["z-a"])),
    ("intend b-0", lambda state: state.intend("instance", "b-0", "z-a", machine_type="c2-standard-4")),
    ("created b-0", lambda state: state.record("created", kind="instance", name="b-0", zone="z-a")),
    ("intend b-1", lambda state: state.intend("instance", "b-1", "z-a", machine_type="c2-standard-4")),
    ("job running", lambda state: state.record("job", job="one", state="running")),
    ("job succeeded", lambda state: state.record("job", job="one", state="succeeded")),
    ("gone b-0", lambda state: state.record("gone", kind="instance", name="b-0", zone="z-a", answer="404")),
    ("gone b-1", lambda state: state.record("gone", kind="instance", name="b-1", zone="z-a", answer="404")),
    ("end", lambda state: state.end("done")),
)


def say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


def run_steps(journals: Journals) -> None:
    with journals.begin("b", "run", target="local") as state:
        say("begin")
        for word, act in SCRIPT:
            sys.stdin.readline()
            act(state)
            say(word)
        sys.stdin.readline()


def run_until_full(journals: Journals) -> None:
    with journals.begin("b", "run", target="local") as state:
        for word, act in SCRIPT:
            try:
                act(state)
            except HpcError as error:
                say(f"refused {word}: {error.message} {error.remedy}")
                continue
            say(word)


def main(folder: str, mode: str, limit_bytes: int = 0) -> None:
    if mode == "die-at-byte":
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limit_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    journals = Journals(folder=Path(folder), on_trouble=lambda message: say(f"trouble: {message}"))
    if mode == "steps":
        run_steps(journals)
    else:
        run_until_full(journals)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 0)
