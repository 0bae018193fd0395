"""Plain ``pulumi`` after ``invoke env``, in infra/*, on the same stacks that the commands use."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.site import LIMIT_S, ROOT, Site

pytestmark = pytest.mark.xdist_group("run")

Pulumi = Callable[..., str]


def skip_untracked(folder: str, names: list[str]) -> set[str]:
    """Return the names that are not part of a clone: the results of batches, at the top only, and files of tools."""
    skip = shutil.ignore_patterns(".*", "Pulumi.*.yaml", "__pycache__")(folder, names)
    return skip | ({"results"} if Path(folder) == ROOT else set())


@pytest.fixture(scope="module")
def pulumi(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Pulumi:
    """Runs ``pulumi`` in a folder of infra/, in the environment that ``invoke env`` prints.

    In a checkout of its own: the settings of stacks are linked into it, and other tests use stacks of the same names.
    """
    root = tmp_path_factory.mktemp("checkout") / "opensees-hpc"
    shutil.copytree(ROOT, root, ignore=skip_untracked)
    site = Site(home=site.home, root=root)
    site.run_batch(Path("jobs/smoke.yaml"), site.home / "results")  # base and image are there
    printed = site.invoke("env")
    assert printed.returncode == 0, printed.stderr
    words = shlex.split(printed.stdout)
    environment = site.environment | dict(word.split("=", 1) for word in words if word != "export")

    def call(project: str, *words: str) -> str:
        done = subprocess.run(
            ["pulumi", *words, "--non-interactive"],
            cwd=root / "infra" / project,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call


@pytest.fixture
def hand_stack(site: Site, pulumi: Pulumi) -> Iterator[str]:
    """Yield an analysis stack that is created, filled and removed by hand."""
    name = "by-hand"
    pulumi("analysis", "stack", "init", name)
    for key, value in {"owner": "ops", "expires": "2030-01-01T00:00Z", "count": "2", "max_run_seconds": "3600"}.items():
        pulumi("analysis", "config", "set", f"opensees-hpc:{key}", value, "--stack", name)
    yield name
    pulumi("analysis", "destroy", "--yes", "--refresh", "--stack", name)
    pulumi("analysis", "stack", "rm", "--yes", name)


def _planned(preview: str) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(preview)["changeSummary"]
    return summary


def test_the_base_stack_of_the_commands_shows_no_change(pulumi: Pulumi) -> None:
    assert set(_planned(pulumi("base", "preview", "--stack", "base", "--json"))) == {"same"}
    assert set(_planned(pulumi("base", "preview", "--stack", "base", "--refresh", "--json"))) == {"same"}
    pulumi("base", "up", "--yes", "--stack", "base")
    outputs = json.loads(pulumi("base", "stack", "output", "--stack", "base", "--json"))
    assert outputs["bucket"] == "local-project-opensees-hpc"


def test_vms_by_hand(site: Site, pulumi: Pulumi, hand_stack: str) -> None:
    pulumi("analysis", "up", "--yes", "--stack", hand_stack)
    assert sorted(vm["name"] for vm in site.status()["vms"]) == ["opensees-hpc-by-hand-0", "opensees-hpc-by-hand-1"]
    assert {vm["owner"] for vm in site.status()["vms"]} == {"ops"}
    assert set(_planned(pulumi("analysis", "preview", "--stack", hand_stack, "--refresh", "--json"))) == {"same"}
    pulumi("analysis", "destroy", "--yes", "--stack", hand_stack)
    assert site.status()["vms"] == []


def test_the_bucket_is_protected(pulumi: Pulumi) -> None:
    with pytest.raises(AssertionError, match="protect"):
        pulumi("base", "destroy", "--yes", "--stack", "base")
    assert set(_planned(pulumi("base", "preview", "--stack", "base", "--refresh", "--json"))) == {"same"}
