"""The verbs for developers of this project."""

from typing import Annotated

from runner.options.options import ANY_VERB, Options, usual_exits


class Lint(Options, verb="lint", exits=ANY_VERB | usual_exits(1, 3)):
    """Check types, style and shell scripts: mypy, ruff, shellcheck, shfmt."""


class Test(Options, verb="test", exits=ANY_VERB | usual_exits(1, 3)):
    """Install the system packages that tests need where that is allowed, lint, and run all tests."""

    select: Annotated[str, "arguments for pytest, such as 'tests/model -k batch'"] = ""
    no_lint: Annotated[bool, "tests only"] = False


class Fresh(Options, verb="fresh", exits=ANY_VERB | usual_exits(1, 3)):
    """Try the README's first command on a minimal Debian, installed by debootstrap, as an ordinary user. Needs root."""

    all: Annotated[bool, "also the README's second command, all tests: an hour"] = False
    bare: Annotated[
        bool, "without the Pulumi CLI of this computer, so that it is downloaded or built: a few minutes more"
    ] = False


class Docs(Options, verb="docs", exits=ANY_VERB | usual_exits(1)):
    """Write the generated parts of docs/."""

    check: Annotated[bool, "only check whether they are up to date"] = False
