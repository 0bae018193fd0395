"""Every command in every bad environment: a sentence with its remedy and an exit code that its help names, never a traceback."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.errors import EXIT_CODES, CrashError
from tests.e2e.site import LIMIT_S, Site

pytestmark = pytest.mark.xdist_group("environments")

GOOGLE = ("--project", "some-project", "--operator", "me@example.org", "--ssh-from", "198.51.100.7/32")
VERBS: Mapping[str, tuple[str, ...]] = {
    "run": ("--jobs", "jobs/smoke.yaml", "--yes"),
    "attach": ("--batch", "b1"),
    "extend": ("--batch", "b1", "--minutes", "5"),
    "results": ("--batch", "b1"),
    "build": ("--yes",),
    "status": (),
    "receipt": ("b1",),
    "cleanup": ("--batch", "b1", "--yes"),
    "env": (),
    "setup": (*GOOGLE, "--yes"),
    "local.start": (),
    "local.stop": (),
    "local.status": (),
    "local.reset": ("--yes",),
    "local.faults": ("--scenario", "docs/faults.md"),
    "local.env": (),
}
FOR_WHO_WORKS_HERE = ("drill", "lint", "test", "fresh", "docs")
NO_HOME: Mapping[str, Callable[[Path], Path]] = {  # how to create a state folder that cannot be used
    "a file": lambda folder: make_file(folder / "home"),
    "below a file": lambda folder: make_file(folder / "home") / "deeper",
    "not writable": lambda folder: Path("/sys/opensees-hpc" if sys.platform == "linux" else "/opensees-hpc"),
    "not there and never": lambda folder: Path("/proc/self/fd/opensees-hpc"),
    "too long": lambda folder: folder / ("x" * 300),
    "of nobody": lambda folder: Path("~nobody-of-that-name/home"),
    "local is a file": lambda folder: make_file(folder / "home" / "local").parent,
    "settings are a folder": lambda folder: make_folder(folder / "home" / "settings.yaml").parent,
    "settings are no text": lambda folder: make_file(folder / "home" / "settings.yaml", b"\xff\xfe\0\xff").parent,
    "settings are wrong": lambda folder: make_file(folder / "home" / "settings.yaml", b"region: [Mars\n").parent,
}
NEVER_THERE = {"too long", "of nobody"}
HARMLESS = {  # commands that do not need the state folder may succeed
    "local.stop",
    "local.status",
    "local.reset",
    "local.start",
    "local.faults",
    "env",
}


def make_file(path: Path, content: bytes = b"no folder") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def make_folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


@dataclass(frozen=True, kw_only=True)
class Done:
    """The end of a command line."""

    verb: str
    code: int
    stdout: str
    stderr: str

    def check(self, *, may_succeed: bool = False) -> None:
        """Check for one sentence, a remedy, an exit code that the help names, and no traceback."""
        told = self.stdout + self.stderr
        assert "Traceback" not in told, told
        assert "Exception ignored" not in told, told
        if may_succeed and self.code == 0:
            return
        assert self.code not in (0, CrashError.exit_code), told
        assert self.code in codes_of(self.verb), (self.code, told)
        assert "error: " in self.stderr, told
        assert "remedy: " in self.stderr or re.search(r"error: .*\(.+\)$", self.stderr, re.MULTILINE), told
        assert "[Errno" not in self.stderr, told


def codes_of(verb: str) -> set[int]:
    """Return the exit codes that a verb's help names."""
    import tasks

    listed = str(tasks.ns[verb].__doc__).partition("Exit codes:")[2]
    return {int(code) for code in re.findall(r"^\s+(\d+) ", listed, re.MULTILINE)}


class WarmInvoke:
    """Command lines in a process that has done all imports."""

    def __init__(self) -> None:
        site = Site(home=Path("/nowhere"))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.warm_invoke"],
            cwd=site.root,
            env=site.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, site: Site, verb: str, *words: str) -> Done:
        """Run a command line to its end."""
        assert self._process.stdin is not None and self._process.stdout is not None
        asked = {"words": [verb, *words], "environment": site.environment}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return Done(verb=verb, **json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=LIMIT_S)


@pytest.fixture(scope="module")
def warm_invoke() -> Iterator[WarmInvoke]:
    made = WarmInvoke()
    yield made
    made.close()


@pytest.fixture(scope="module")
def own_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(home=tmp_path_factory.mktemp("own"))
    assert made.invoke("local.start").returncode == 0
    yield made
    made.close()


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("home", NO_HOME)
def test_no_home(warm_invoke: WarmInvoke, tmp_path: Path, home: str, verb: str) -> None:
    site = Site(home=NO_HOME[home](tmp_path), more=google_free(tmp_path))
    try:
        warm_invoke.run(site, verb, *VERBS[verb], *results_of(verb, tmp_path)).check(may_succeed=verb in HARMLESS)
    finally:
        if home not in NEVER_THERE and (site.home / "local" / "cloud").is_dir():
            site.close()


def google_free(folder: Path) -> dict[str, str]:
    """Return an environment without credentials for Google."""
    return {"HOME": str(folder), "CLOUDSDK_CONFIG": str(folder), "NO_GCE_CHECK": "true"}


def results_of(verb: str, folder: Path) -> tuple[str, ...]:
    return ("--results", str(folder / "results")) if verb in ("run", "attach", "results") else ()


IN_THE_WAY: Mapping[
    str, tuple[str, Callable[[Path], Path]]
] = {  # what is in the place of a file or folder of ours, by verb
    "journals": ("local/journal", make_file),
    "passphrase": ("passphrase", make_folder),
    "engine": ("local/engine", make_file),
    "stacks": ("local/stacks", make_file),
    "state": ("local/stacks/.pulumi", make_file),
    "key": ("ssh", make_file),
    "receipts": ("local/receipts", make_file),
    "logs": ("logs", make_file),
    "crashes": ("crashes", make_file),
}


@contextmanager
def in_the_way(site: Site, what: str) -> Iterator[None]:
    """Put something else in the place of ``what`` inside."""
    place, make = IN_THE_WAY[what]
    path = site.home / place
    kept = path.with_name(f"{path.name}.kept")
    if path.exists():
        path.rename(kept)
    make(path)
    try:
        yield
    finally:
        path.rmdir() if path.is_dir() else path.unlink()
        if kept.exists():
            kept.rename(path)


ON_A_CLOUD = ("attach", "extend", "results", "status", "receipt", "cleanup", "env")


@pytest.mark.parametrize("verb", ON_A_CLOUD)
@pytest.mark.parametrize("what", IN_THE_WAY)
def test_something_in_the_way(warm_invoke: WarmInvoke, own_site: Site, what: str, verb: str) -> None:
    with in_the_way(own_site, what):
        warm_invoke.run(own_site, verb, *VERBS[verb]).check(may_succeed=True)


@pytest.mark.parametrize("what", ["journals", "passphrase", "engine", "stacks", "state"])
def test_a_run_that_cannot_keep_what_it_needs_creates_nothing(
    warm_invoke: WarmInvoke, own_site: Site, tmp_path: Path, what: str
) -> None:
    with in_the_way(own_site, what):
        warm_invoke.run(own_site, "run", *VERBS["run"], "--results", str(tmp_path)).check()
    assert own_site.status()["vms"] == []


def test_results_that_cannot_be_kept_are_known_before_anything_is_created(
    warm_invoke: WarmInvoke, own_site: Site, tmp_path: Path
) -> None:
    places = (make_file(tmp_path / "results"), Path("/proc/self/fd/results"), tmp_path / ("x" * 300))
    for results in places:
        done = warm_invoke.run(own_site, "run", *VERBS["run"], "--results", str(results))
        done.check()
        assert done.code == 10
        assert "--results names another folder" in done.stderr
        assert "bucket" not in done.stderr
    assert own_site.status()["image"] is None


JOBS_FILES: Mapping[str, Callable[[Path], Path]] = {
    "not there": lambda folder: folder / "none.yaml",
    "a folder": lambda folder: make_folder(folder / "jobs.yaml"),
    "below a file": lambda folder: make_file(folder / "file") / "jobs.yaml",
    "no text": lambda folder: make_file(folder / "jobs.yaml", b"\xff\xfe\0\xff"),
    "a name that is too long": lambda folder: folder / ("x" * 300),
}


@pytest.mark.parametrize("what", JOBS_FILES)
def test_no_jobs_file(warm_invoke: WarmInvoke, own_site: Site, tmp_path: Path, what: str) -> None:
    done = warm_invoke.run(own_site, "run", "--yes", "--jobs", str(JOBS_FILES[what](tmp_path)))
    done.check()
    assert done.code == 2


def test_a_shell_that_is_not_there(warm_invoke: WarmInvoke, own_site: Site) -> None:
    site = Site(home=own_site.home, more={"SHELL": "/no/such/shell"})
    done = warm_invoke.run(site, "env", "--shell")
    done.check()
    assert done.code == 3


def test_every_command_has_exit_codes_and_debug() -> None:
    import tasks

    names = [*tasks.ns.task_names]
    assert {*VERBS, *FOR_WHO_WORKS_HERE} == set(names)
    for name in names:
        task = tasks.ns[name]
        assert {0, 2, 10, 11, 130} <= codes_of(name) <= set(EXIT_CODES), name
        assert "debug" in [argument.name for argument in task.get_arguments()], name


@pytest.mark.parametrize("verb", ["run", "status", "build", "setup", "local.start", "local.status"])
def test_a_users_home_that_cannot_be_written(warm_invoke: WarmInvoke, tmp_path: Path, verb: str) -> None:
    nowhere = {"HOME": "/proc/self/fd/nobody", "XDG_STATE_HOME": "", "OPENSEES_HPC_HOME": ""}
    site = Site(home=tmp_path, more={**google_free(tmp_path), **nowhere})
    done = warm_invoke.run(site, verb, *VERBS[verb], *results_of(verb, tmp_path))
    done.check(may_succeed=verb == "local.status")
