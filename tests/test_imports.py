"""Who may import whom, read from the source; and what ``import tasks`` may load, seen in a fresh Python."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("runner", "infra", "tasks", "tests", "packer", "benchmarks")
CLOUD_SDKS = ("google", "googleapiclient", "pulumi", "pulumi_gcp")
ENVIRONMENT_READERS = {"environ", "environb", "getenv", "getenvb"}
HEAVY = ("pulumi", "google", "asyncssh", "PySide6", "pydantic", "rich", "starlette")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """``ours``: what of this project may be imported besides itself. ``foreign``: None for anything, else the packages
    that are allowed besides the standard library. ``never``: foreign packages that are refused all the same."""

    ours: tuple[str, ...]
    foreign: tuple[str, ...] | None = None
    never: tuple[str, ...] = ()


RULES = {
    "runner.errors": Rule(ours=(), foreign=()),
    "runner.model": Rule(ours=("runner.errors",), foreign=("pydantic", "yaml")),
    "runner.core": Rule(ours=("runner.errors", "runner.model")),
    "runner.hardware": Rule(ours=("runner.errors", "runner.model", "runner.core"), never=CLOUD_SDKS),
    "runner.commands": Rule(
        ours=("runner.errors", "runner.model", "runner.core", "runner.hardware"), never=(*CLOUD_SDKS, "asyncssh")
    ),
    "runner.emulator": Rule(ours=("runner.errors", "runner.model", "runner.system.files")),
    "runner.wiring": Rule(
        ours=(
            "runner.errors",
            "runner.model",
            "runner.core",
            "runner.hardware",
            "runner.commands",
            "runner.emulator",
            "infra",
        )
    ),
    "runner.drill": Rule(
        ours=("runner.errors", "runner.model", "runner.core", "runner.commands", "runner.wiring"), never=CLOUD_SDKS
    ),
    "runner.cli.output": Rule(ours=(), foreign=()),
    "runner.cli.console": Rule(
        ours=("runner.errors", "runner.model", "runner.commands", "runner.drill"), never=CLOUD_SDKS
    ),
    "runner.cli.ending": Rule(
        ours=("runner.errors", "runner.commands", "runner.cli.console", "runner.cli.output", "runner.wiring"),
        never=CLOUD_SDKS,
    ),
    "runner.cli.verbs": Rule(
        ours=(
            "runner.errors",
            "runner.model",
            "runner.commands",
            "runner.cli.console",
            "runner.cli.ending",
            "runner.cli.output",
            "runner.wiring",
            "runner.cli.checks",
            "runner.drill",
        ),
        never=CLOUD_SDKS,
    ),
    "runner.cli.checks": Rule(
        ours=("runner.errors", "runner.model", "runner.cli.output", "tests.system_packages", "tests.fresh"),
        never=CLOUD_SDKS,
    ),
    "runner.gui": Rule(ours=("runner.errors", "runner.model", "runner.commands", "runner.wiring"), never=CLOUD_SDKS),
    "infra.engine": Rule(ours=("runner.errors",)),
    "infra": Rule(ours=("runner.errors", "runner.model")),
    "packer": Rule(ours=()),
    "tasks": Rule(
        ours=(
            "runner.errors",
            "runner.cli.output",
            "runner.model",
            "runner.commands",
            "runner.cli.verbs",
            "runner.wiring",
            "tests.system_packages",
        ),
        never=CLOUD_SDKS,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Import:
    """``target`` is imported at ``line``; ``at_load``: when the module is loaded, not later inside a function."""

    target: str
    line: int
    at_load: bool


def list_modules() -> dict[str, Path]:
    files = [ROOT / "tasks.py", *(file for top in ("runner", "infra", "packer") for file in (ROOT / top).rglob("*.py"))]
    return {name_module(file): file for file in files if file.is_file()}


def name_module(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = list_modules()


def list_imports(module: str) -> Iterator[Import]:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"), filename=str(MODULES[module]))
    yield from walk_imports(tree, module=module, at_load=True)


def walk_imports(node: ast.AST, *, module: str, at_load: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(target=alias.name, line=child.lineno, at_load=at_load)
        elif isinstance(child, ast.ImportFrom):
            source = resolve_source(child, module)
            for alias in child.names:
                yield Import(target=resolve_name(source, alias.name), line=child.lineno, at_load=at_load)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or is_for_types_only(child)
            yield from walk_imports(child, module=module, at_load=at_load and not inside)


def resolve_source(node: ast.ImportFrom, module: str) -> str:
    """``from .rank import …`` counts from the package that the module is in."""
    if not node.level:
        return node.module or ""
    up = node.level - 1 if MODULES[module].name == "__init__.py" else node.level
    package = module.split(".")[: len(module.split(".")) - up]
    return ".".join([*package, *([node.module] if node.module else [])])


def resolve_name(source: str, name: str) -> str:
    """``from runner.core import ssh`` imports a module, ``from runner.errors import HpcError`` does not."""
    return f"{source}.{name}" if f"{source}.{name}" in MODULES else source


def is_for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def find_package(module: str) -> str | None:
    """The closest package that has a rule."""
    return max((package for package in RULES if is_within(module, package)), key=len, default=None)


def breaks_rule(imported: Import, package: str) -> bool:
    target, rule = imported.target, RULES[package]
    top = target.partition(".")[0]
    if top in OURS:
        return not any(is_within(target, allowed) for allowed in (package, *rule.ours))
    if top in sys.stdlib_module_names:
        return False
    return top in rule.never or (rule.foreign is not None and top not in rule.foreign)


def is_empty(module: str) -> bool:
    return MODULES[module].name == "__init__.py" and not list(list_imports(module))


@pytest.mark.parametrize("package", RULES)
def test_package_imports_only_what_it_may(package: str) -> None:
    wrong = [
        f"{MODULES[module].relative_to(ROOT)}:{imported.line} imports {imported.target}"
        for module in MODULES
        if find_package(module) == package
        for imported in list_imports(module)
        if breaks_rule(imported, package)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_module_has_a_rule() -> None:
    assert not [module for module in MODULES if find_package(module) is None and not is_empty(module)]


def test_no_import_cycle() -> None:
    """Among what is imported while modules load; an import inside a function may point back."""
    graph = {
        module: {
            imported.target
            for imported in list_imports(module)
            if imported.at_load and imported.target in MODULES and imported.target != module
        }
        for module in MODULES
    }
    graphlib.TopologicalSorter(graph).prepare()


def may_read_environment(module: str) -> bool:
    """Wiring; entry points, which hand it over whole; what runs on the VM; and the set-up."""
    return (
        is_within(module, "runner.wiring")
        or module == "runner.cli.verbs"
        or module.endswith(".__main__")
        or is_within(module, "packer")
        or module == "infra.engine.environment"
    )


def list_environment_uses(module: str) -> list[int]:
    return [
        node.lineno
        for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in ENVIRONMENT_READERS
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    ]


def test_only_wiring_reads_the_environment() -> None:
    wrong = {module: list_environment_uses(module) for module in MODULES if not may_read_environment(module)}
    assert not {module: lines for module, lines in wrong.items() if lines}


def test_tasks_load_nothing_heavy() -> None:
    program = "import sys; before = set(sys.modules); import tasks; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = {name for name in done.stdout.split() if name.partition(".")[0] in HEAVY}
    assert not loaded, sorted(loaded)
