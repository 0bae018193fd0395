"""The verbs for developers of this project."""

from __future__ import annotations

from runner import wiring
from runner.cli import checks
from runner.cli.verbs.verb import verb
from runner.options import developers
from runner.teardown import raised_signals


@verb
def lint(_: developers.Lint) -> int:
    """Check types, style and shell scripts."""
    return checks.lint(wiring.ROOT)


@verb
def test(options: developers.Test) -> int:
    """Run lint and tests."""
    from runner.commands.arguments import read_words

    return checks.test(wiring.ROOT, select=read_words("--select", options.select), with_lint=not options.no_lint)


@verb
def fresh(options: developers.Fresh) -> int:
    """Try the README on a minimal system."""
    with raised_signals():
        return checks.fresh(wiring.ROOT, both=options.all, bare=options.bare)


@verb
def docs(options: developers.Docs) -> int:
    """Write or check the generated parts of docs/."""
    return checks.write_docs(wiring.ROOT, check=options.check)
