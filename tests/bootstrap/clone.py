"""A copy of what ``bootstrap`` consists of, on a computer that has only what a test puts there.

Its lock file names no package, and its Pulumi and its uv are a few lines of shell, so nothing is fetched and little is
installed. Its Python lacks ensurepip and pip, unless a test passes another ``HIDDEN_MODULES``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BASICS = ("bash", "env", "dirname", "head", "mv", "cat", "sleep", "sh", "mkdir", "chmod")
BASE_PYTHON = os.path.realpath(sys.executable)
TIMEOUT_S = 120
UV = """#!/bin/sh
case "$*" in
  venv*) exec "$4" -m venv --without-pip "$5" ;;
  *--target*) echo "there is no index here" && exit 2 ;;
esac
"""


def write_program(file: Path, text: str) -> Path:
    """Write and move into place, so that no process that is being started has it open for writing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.chmod(0o755)
    part.replace(file)
    return file


@dataclass(frozen=True, kw_only=True)
class Clone:
    """``root``: the copy. ``tools``: the only folder on PATH."""

    root: Path
    tools: Path
    cache: Path

    @property
    def bootstrap(self) -> Path:
        return self.root / "bootstrap"

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    @property
    def python_starts(self) -> Path:
        """A line for each start of the Python on PATH."""
        return self.tools.parent / "python-starts"

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "PATH": str(self.tools),
            "HOME": str(self.tools.parent),
            "LC_ALL": "C.UTF-8",
            "OPENSEES_HPC_CACHE": str(self.cache),
            "PYTHONPATH": str(self.tools.parent / "narrow"),
            "HIDDEN_MODULES": "ensurepip,pip",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": "",
            "PIP_CONFIG_FILE": os.devnull,
        } | more

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.shell([str(self.tools / "bash"), str(self.bootstrap), *command], environment=environment)

    def shell(
        self, command: Sequence[str], *, cwd: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=cwd or self.root,
            env=self.environment(**(environment or {})),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    def start(self, *command: str) -> subprocess.Popen[str]:
        """In a process group of its own, as a terminal does it."""
        return subprocess.Popen(
            [str(self.tools / "bash"), str(self.bootstrap), *command],
            cwd=self.root,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def add_python(self, name: str = "python3") -> None:
        start = f'echo "$@" >>"{self.python_starts}"\nexec "{BASE_PYTHON}" "$@"'
        write_program(self.tools / name, f"#!/bin/sh\n{start}\n")

    def add_pulumi(self, version: str = "3.231.0") -> None:
        write_program(self.tools / "pulumi", f"#!/bin/sh\necho v{version}\n")
        write_program(self.tools / "pulumi-language-python", "#!/bin/sh\n")

    def add_pip(self) -> None:
        """Add a pip of another Python, as a computer may have one: that of ours. Our base has none on some systems."""
        write_program(self.tools / "pip3", f'#!/bin/sh\nexec "{sys.executable}" -m pip "$@"\n')

    def add_uv(self) -> None:
        write_program(self.tools / "uv", UV)


def make_clone(folder: Path) -> Clone:
    """In a folder with a space, which is where quoting fails first."""
    clone = Clone(root=folder / "my clone", tools=folder / "tools", cache=folder / "cache")
    clone.tools.mkdir(parents=True)
    for name in BASICS:
        (clone.tools / name).symlink_to(shutil.which(name) or f"/no/such/{name}")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "infra" / "engine", clone.root / "infra" / "engine", ignore=ignore)
    shutil.copytree(ROOT / "runner" / "system", clone.root / "runner" / "system", ignore=ignore)
    for file in ("bootstrap", "infra/__init__.py", "runner/__init__.py", "runner/errors.py"):
        shutil.copy(ROOT / file, clone.root / file)
    (folder / "narrow").mkdir()
    shutil.copyfile(Path(__file__).with_name("narrow_python.py"), folder / "narrow" / "sitecustomize.py")
    (clone.root / "requirements.lock").write_text("# nothing\n", encoding="utf-8")
    return clone
