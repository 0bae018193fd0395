"""Where the real engine is, and stacks on it in a folder of the test's own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import platformdirs

from runner.stacks.contract import ProjectName, StackProgress, StackSpec
from runner.stacks.program import Program
from runner.stacks.pulumi import EngineSite, PulumiStacks

ROOT = Path(__file__).parents[2]
PATH = "/usr/local/bin:/usr/bin:/bin"


def find_cli_bin() -> Path:
    """Return the folder of the Pulumi CLI: in the user's cache where bootstrap puts it, else on PATH. A computer without one fails."""
    built = sorted((platformdirs.user_cache_path("opensees-hpc") / "pulumi").glob("*/bin/pulumi"))
    on_path = shutil.which("pulumi")
    found = built[-1] if built else Path(on_path) if on_path else None
    assert found is not None, "no Pulumi CLI: run ./bootstrap once"
    return found.parent


def make_site(folder: Path, *, infra: Path, more: Mapping[str, str] | None = None) -> EngineSite:
    """Return an engine whose home, state and settings are all below ``folder``. The state's folder is there, as it is for commands."""
    (folder / "state").mkdir(parents=True, exist_ok=True)
    env = {
        "PATH": PATH,
        "HOME": str(folder / "home"),
        "PULUMI_HOME": str(folder / "pulumi"),
        "PULUMI_BACKEND_URL": (folder / "state").as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": "of a test",
    }
    return EngineSite(cli_bin=find_cli_bin(), infra=infra, work=folder / "work", env=env | dict(more or {}))


def make_stacks(site: EngineSite, programs: Mapping[ProjectName, Program]) -> PulumiStacks:
    """Stacks of programs that are loaded already."""

    def loader(program: Program) -> Callable[[], Program]:
        return lambda: program

    return PulumiStacks(site, {project: loader(program) for project, program in programs.items()})


def find_changes(stacks: PulumiStacks, spec: StackSpec) -> set[tuple[str, str]]:
    """Run ``up`` and return what it changed, as name and operation."""
    seen: list[StackProgress] = []
    stacks.up(spec, seen.append)
    return {(step.name, step.op) for step in seen if step.op != "refresh"}
