"""What CI checks: types, style, shell scripts, tests, generated documentation."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from runner.cli.output import drain_output
from runner.errors import DiskError, InputError, MissingToolError

PYTHON_CODE = ("runner", "infra", "packer", "tests", "benchmarks", "examples", "tasks.py")
TYPED_CODE = ("runner", "infra", "tests", "benchmarks", "examples", "tasks.py")
TEST_WORKERS = "2"


def lint(root: Path) -> int:
    """Run all checkers; return 1 if one of them finds a problem.

    Raises:
        MissingToolError: one of them is missing.
    """
    python = [path for path in PYTHON_CODE if (root / path).exists()]
    typed = [path for path in TYPED_CODE if (root / path).exists()]
    scripts = shell_scripts(root)
    failures = [
        _call(root, [sys.executable, "-m", "ruff", "check", *python]),
        _call(root, [sys.executable, "-m", "ruff", "format", "--check", *python]),
        _call(root, [sys.executable, "-m", "mypy", *typed]),
        _call(root, [sys.executable, "-m", "mypy", "--explicit-package-bases", "packer"]),
        _call(root, [_tool("shellcheck"), "--external-sources", *scripts]),
        _call(root, [_tool("shfmt"), "-i", "2", "-ci", "-d", *scripts]),
    ]
    return int(any(failures))


def test(root: Path, *, select: Sequence[str], with_lint: bool) -> int:
    """Install system packages, run lint, then pytest; return 0 if all succeed."""
    from tests.system_packages import prepare

    options = prepare()
    failed = lint(root) if with_lint else 0
    workers = ["-n", TEST_WORKERS, "--dist", "loadgroup"]
    return _call(root, [sys.executable, "-m", "pytest", *workers, *options, *select]) or failed


def fresh(root: Path, *, both: bool, bare: bool) -> int:
    """Run the README's commands on a minimal system; return 1 if one fails."""
    from tests.fresh.check import check_readme

    return int(check_readme(root, both=both, bare=bare) > 0)


def write_docs(root: Path, *, check: bool) -> int:
    """Write the generated documentation, or with ``check`` return 1 if it is not up to date."""
    stale = 0
    for path, text in generated_docs(root).items():
        if not path.exists() or path.read_text() != text:
            stale = 1
            if not check:
                _write(path, text)
    return stale if check else 0


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        raise DiskError(message, remedy="run this in a clone of your own") from error


def generated_docs(root: Path) -> dict[Path, str]:
    """Return each generated file with its expected text."""
    from runner.emulator.faults import put_tables
    from runner.model.batch import json_schema
    from runner.model.events import EVENTS
    from runner.model.events.page import render_page
    from runner.model.shared_names import shared_names_module

    faults = root / "docs" / "faults.md"
    return {
        root / "docs" / "events.md": render_page(EVENTS),
        root / "docs" / "jobs.schema.json": json.dumps(json_schema(), indent=2) + "\n",
        faults: put_tables(faults.read_text(encoding="utf-8")),
        root / "packer" / "vm" / "lib" / "opensees_hpc" / "shared_names.py": shared_names_module(),
    }


def shell_scripts(root: Path) -> list[str]:
    """List every shell script in the repository, ignored files aside: by name, or by its first line.

    Raises:
        InputError: this is not a git repository.
    """
    listed = subprocess.run(  # noqa: S603
        [_tool("git"), "ls-files", "-co", "--exclude-standard"], cwd=root, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        message = " ".join(listed.stderr.split())
        raise InputError(
            f"git cannot list the files of {root}: {message}", remedy="run this in a clone of the repository"
        )
    files = [name for name in listed.stdout.splitlines() if (root / name).is_file()]
    return sorted(name for name in files if name.endswith(".sh") or _is_shell(root / name))


def _is_shell(path: Path) -> bool:
    if path.suffix:
        return False
    with path.open("rb") as file:
        first = file.readline(80)
    return first.startswith(b"#!") and any(word in first for word in (b"/sh", b"bash", b"env sh"))


def _call(root: Path, command: Sequence[str]) -> int:
    """Run a command with our output; return 1 if it fails."""
    sys.stdout.write(
        f"$ {' '.join(Path(word).name if index == 0 else word for index, word in enumerate(command))[:160]}\n"
    )
    drain_output()
    return int(subprocess.call(list(command), cwd=root) != 0)  # noqa: S603


def _tool(name: str) -> str:
    """Find a program beside our Python, else on PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise MissingToolError(f"{name} is missing", remedy=f"install {name}, or start as `./bootstrap invoke …`")
    return found
