"""The tasks of Invoke: one verb for everything that people and CI do here.

``runner.options`` defines their flags; ``runner.cli.verbs`` executes them, and is loaded when one is called.
"""

from __future__ import annotations

import atexit
import functools
import gc
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from inspect import Signature
from pathlib import Path
from typing import Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task

from runner.cli.output import open_closed_streams
from runner.errors import INTERRUPTED_EXIT_CODE, MissingToolError
from runner.options import batches, developers, local, project
from runner.options.options import Options

GC_OBJECTS = 100_000  # new ones before a collection; Python's default of 700 to 2,000 suits small programs
HELP_WORDS = frozenset({"--help", "-h"})

VERBS = (
    batches.Run,
    batches.Attach,
    batches.Extend,
    batches.Results,
    batches.Status,
    batches.Cleanup,
    batches.Receipt,
    project.Setup,
    project.Build,
    project.Env,
    project.Drill,
    developers.Lint,
    developers.Test,
    developers.Fresh,
    developers.Docs,
)
LOCAL_VERBS = (local.Start, local.Stop, local.Status, local.Reset, local.Faults, local.Env)

open_closed_streams()
if Path(sys.argv[0]).name in ("invoke", "inv") or Path(sys.argv[0]).parts[-2:] == ("invoke", "__main__.py"):
    # What Invoke itself prints (--help, --list) ends silently when its reader exits, like any command. Verbs do not.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


class VerbTask(Task[Callable[..., None]]):
    """A verb as Invoke sees it: its flags are those of its options."""

    def __init__(self, options: type[Options]) -> None:
        self.options = options
        super().__init__(functools.partial(_call, options), name=options.name, help=options.help())
        self.__doc__ = options.description()

    def argspec(self, body: Callable[..., Any]) -> Signature:
        """Return the flags."""
        return self.options.signature


def _call(kind: type[Options], _: Context, **given: Any) -> None:
    """Call a verb of ``runner.cli.verbs`` and exit with its code."""
    if HELP_WORDS.intersection(value for value in given.values() if isinstance(value, str)):
        # Invoke takes the word as the value of a required argument.
        os.execv(sys.executable, [sys.executable, "-m", "invoke", "--help", kind.verb])  # noqa: S606 (our own interpreter)
    # The packages of Pulumi and Google create hundreds of thousands of objects that stay to the end. Collections while they are
    # loaded, and at the exit, would take a second of each command (python -X importtime).
    gc.set_threshold(GC_OBJECTS)
    atexit.register(gc.freeze)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a reader that exits must not end a batch: runner.cli.output
    try:
        verbs = import_module(kind.__module__.replace("runner.options", "runner.cli.verbs"))
    except ModuleNotFoundError as error:
        message = f"error: the Python package {error.name} is missing\nremedy: start commands as `./bootstrap invoke …`"
        raise Exit(message=message, code=MissingToolError.exit_code) from error
    except KeyboardInterrupt as error:  # Invoke would exit with 1, which has another meaning
        raise Exit(code=INTERRUPTED_EXIT_CODE) from error

    code = getattr(verbs, kind.name)(kind(**given))
    if code:
        raise Exit(code=code)


ns = Collection(*map(VerbTask, VERBS), Collection("local", *map(VerbTask, LOCAL_VERBS)))
ns.configure({"run": {"pty": sys.stdout.isatty()}})
