"""The Python environment ``.venv`` beside ``bootstrap``, created from ``requirements.lock``.

Run by a Python that has nothing installed: standard library, ``runner.errors`` and ``runner.system`` only. The stamp is written last, so
an environment without one was interrupted and is made anew. ``bootstrap`` compares the stamp's text by itself:
line 1 the environment's folder, line 2 its interpreter, line 3 the interpreter that was asked for, then the lock file.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.engine.pins import Version, parse_version
from infra.engine.process import exclusive_lock, read_output, report, run_logged, run_main
from runner.errors import MissingToolError
from runner.system.files import write_result

STAMP = "bootstrap.stamp"
PIP_OPTIONS = ("--no-input", "--disable-pip-version-check")
OLDEST_PIP_WITH_PYTHON_OPTION = Version(22, 3, 0)
REPORT_EVERY_PACKAGES = 20


@dataclass(frozen=True, kw_only=True)
class Request:
    """``root`` holds the lock file and gets ``.venv``; ``asked`` is the Python that the user named, perhaps empty."""

    root: Path
    asked: str
    environment: Mapping[str, str]

    @property
    def folder(self) -> Path:
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def lock(self) -> Path:
        return self.root / "requirements.lock"


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to create an environment (``create``) and to install into it (``install``, to be followed by options)."""

    name: str
    create: tuple[str, ...]
    install: tuple[str, ...]


def make_environment(request: Request) -> None:
    """Create ``.venv`` from the lock file, unless another process did so while we waited for it."""
    with exclusive_lock(request.lock, waiting_for="is setting up .venv"):
        stamp = request.folder / STAMP
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == describe_environment(request):
            return
        remove_environment(request.folder)
        report(f"creating .venv with Python {sys.version.split()[0]} ({sys.executable})")
        way = create_environment(request)
        install_packages(request, way)
        add_root_to_path(request)
        write_result(stamp, describe_environment(request).encode())


def describe_environment(request: Request) -> str:
    lines = (str(request.folder), os.path.realpath(request.python), request.asked)
    return "\n".join(lines) + "\n" + request.lock.read_text(encoding="utf-8")


def remove_environment(folder: Path) -> None:
    """Remove the stamp first: an environment that is partly removed must not look complete."""
    (folder / STAMP).unlink(missing_ok=True)
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        report("removing the existing .venv: incomplete, moved, or created for another lock file or Python")
        shutil.rmtree(folder)


def create_environment(request: Request) -> Way:
    """Try the ways that this computer has, in order.

    Raises:
        MissingToolError: none worked; the message has the reason for each, and what to install.
    """
    failures = []
    for way in list_ways(request):
        request.folder.mkdir(exist_ok=True)
        outcome = run_logged(way.create, log=log_file(request), environment=request.environment)
        if outcome.exit_code == 0:
            return way
        failures.append(f"\n{way.name} ended with exit code {outcome.exit_code}:{outcome.describe_end()}")
        shutil.rmtree(request.folder)
    raise MissingToolError(
        f"{sys.executable} cannot create a virtual environment: "
        + ("".join(failures) or "it has no ensurepip, and there is no uv, no virtualenv and no pip"),
        remedy=suggest_packages(),
    )


def list_ways(request: Request) -> Iterator[Way]:
    folder, python, base = str(request.folder), str(request.python), sys.executable
    own_pip = (python, "-m", "pip", "install", *PIP_OPTIONS)
    path = request.environment.get("PATH")
    if importlib.util.find_spec("ensurepip"):
        yield Way(name="python -m venv", create=(base, "-m", "venv", folder), install=own_pip)
    if uv := shutil.which("uv", path=path):
        create = (uv, "venv", "--allow-existing", "--python", base, folder)
        yield Way(name="uv venv", create=create, install=(uv, "pip", "install", "--python", python))
    if virtualenv := shutil.which("virtualenv", path=path):
        yield Way(name="virtualenv", create=(virtualenv, "--python", base, folder), install=own_pip)
    if pip := find_pip(request.environment):
        yield Way(
            name="python -m venv --without-pip",
            create=(base, "-m", "venv", "--without-pip", folder),
            install=(*pip, "--python", python, "install", *PIP_OPTIONS),
        )


def find_pip(environment: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return a pip of any Python that can install into another one."""
    for command in ((sys.executable, "-m", "pip"), ("pip3",), ("pip",)):
        version = parse_version(read_output((*command, "--version"), environment=environment) or "")
        if version and version >= OLDEST_PIP_WITH_PYTHON_OPTION:
            return command
    return None


def suggest_packages() -> str:
    again = "then run the same command again"
    if Path("/etc/debian_version").exists():
        major, minor = sys.version_info[:2]
        system_python = Path(sys.executable).resolve() == Path("/usr/bin/python3").resolve()
        return f"sudo apt-get install {'python3-venv' if system_python else f'python{major}.{minor}-venv'}, {again}"
    return f"install uv, or pip and venv for {sys.executable}, {again}; OPENSEES_HPC_PYTHON=… names another Python"


def install_packages(request: Request, way: Way) -> None:
    """Install the packages of the lock file.

    Raises:
        MissingToolError: a package is not available, or is not the one that the lock file names.
    """
    total = len(re.findall(r"^\S+==", request.lock.read_text(encoding="utf-8"), flags=re.MULTILINE))
    report(f"installing {total} packages from {request.lock.name}")
    outcome = run_logged(
        (*way.install, "--require-hashes", "--no-deps", "-r", str(request.lock)),
        log=log_file(request),
        environment=request.environment,
        on_line=count_packages(total),
    )
    if outcome.exit_code != 0:
        raise MissingToolError(
            f"the packages of {request.lock} could not be installed:{outcome.describe_end()}",
            remedy=f"see {log_file(request)}; check the network, or name your mirror (PIP_INDEX_URL, PIP_FIND_LINKS, "
            "UV_DEFAULT_INDEX), then run the same command again",
        )


def count_packages(total: int) -> Callable[[str], None]:
    seen = 0

    def count(line: str) -> None:
        nonlocal seen
        if line.startswith("Collecting "):
            seen += 1
            if seen % REPORT_EVERY_PACKAGES == 0:
                report(f"  {seen} of {total}")
        elif line.startswith("Installing "):
            report("  unpacking")

    return count


# A line of a .pth file, which Python runs at each start: it costs nothing where the program is another one. Verbs undo it.
QUIET_PIPES = (
    'import sys; sys.orig_argv[1:2] and sys.orig_argv[1].rpartition("/")[2] in ("invoke", "inv") and '
    '(lambda s: s.signal(s.SIGPIPE, s.SIG_DFL))(__import__("signal"))'
)


def add_root_to_path(request: Request) -> None:
    """Let ``runner``, ``infra`` and ``tests`` be imported from any folder; and let invoke end silently when its reader exits.

    What invoke prints before it loads ``tasks.py``, such as ``--help``, can be reached in no other way.
    """
    query = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = read_output((str(request.python), "-c", query), environment=request.environment)
    if packages is None:
        raise MissingToolError(
            f"{request.python} does not run", remedy=f"remove {request.folder}, then run the same command again"
        )
    Path(packages, "opensees_hpc.pth").write_text(f"{request.root}\n{QUIET_PIPES}\n", encoding="utf-8")


def log_file(request: Request) -> Path:
    return request.folder / "bootstrap.log"


def main() -> int:
    root = Path(__file__).resolve().parent.parent.parent
    asked = sys.argv[1] if len(sys.argv) > 1 else ""
    return run_main(lambda: make_environment(Request(root=root, asked=asked, environment=os.environ)))


if __name__ == "__main__":
    raise SystemExit(main())
