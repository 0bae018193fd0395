"""Runs ``invoke`` many times quickly: everything is imported once, and each command line then runs in a fork of that process.

Reads a JSON object a line from standard input, with ``words`` and ``environment``; writes one with ``code``, ``stdout`` and
``stderr``. Processes that a command starts keep running as usual.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import IO


def run(words: Sequence[str], environment: Mapping[str, str]) -> dict[str, object]:
    """Run a command line to its end."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        pid = os.fork()
        if pid == 0:
            _become(words, environment, stdout, stderr)
        _, status = os.waitpid(pid, 0)
        return {"code": os.waitstatus_to_exitcode(status), "stdout": _read(stdout), "stderr": _read(stderr)}


def _become(words: Sequence[str], environment: Mapping[str, str], stdout: IO[bytes], stderr: IO[bytes]) -> None:
    from invoke.main import program

    code: object = 1
    try:
        for number, file in enumerate((stdout, stderr), start=1):
            os.dup2(file.fileno(), number)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = ["invoke", *words]
        program.run(["invoke", *words])
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def main() -> None:
    """Import everything that commands import, then run the requested command lines."""
    import invoke.main

    import tasks
    from runner import commands
    from runner.cli import verbs
    from runner.cli.verbs import batches, developers, local, project
    from runner.commands import attach, build, cleanup, extend, results, setup, status
    from runner.teardown import receipt

    del batches, developers, local, project
    del invoke, tasks, verbs, commands, attach, build, cleanup, extend, receipt, results, setup, status
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(run(asked["words"], asked["environment"])), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
