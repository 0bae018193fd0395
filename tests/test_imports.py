"""Who may import whom, read from the source; and what ``import tasks`` may load, seen in a fresh Python."""

from __future__ import annotations

import ast
import functools
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


# Bottom to top: each room, and the rooms below it that it imports. All may import ``runner.errors``.
ROOMS = {
    "options": "",
    "model": "",
    "system": "",
    "ssh": "system",
    "google": "model system",
    "journal": "model system",
    "hardware": "model ssh",
    "results": "google model system",
    "stacks": "google journal model system",
    "lease": "model results",
    "inventory": "google model stacks system",
    "context": "google hardware inventory journal model results ssh stacks",
    "vms": "context google inventory model system",
    "base": "context model stacks system",
    "teardown": "context google inventory journal model stacks system",
    "bake": "base context google model ssh stacks teardown vms",
    "jobsfile": "context hardware model results system teardown",
    "recovery": "context google jobsfile journal model teardown",
    "batch": "context google hardware jobsfile lease model results stacks teardown vms",
    "commands": "bake base batch context google inventory jobsfile journal lease model options results system teardown",
    "emulator.state": "system",
    "emulator.wire": "emulator.state",
    "emulator.faults": "emulator.state emulator.wire",
    "emulator.iam": "emulator.faults emulator.state emulator.wire",
    "emulator.machines": "emulator.iam emulator.wire system",
    "emulator.provider": "emulator.iam system",
    "emulator.http": "emulator.iam emulator.state emulator.wire",
    "emulator.identity": "emulator.http emulator.iam emulator.state emulator.wire",
    "emulator.compute": "emulator.faults emulator.http emulator.iam emulator.identity emulator.machines emulator.state emulator.wire system",
    "emulator.storage": "emulator.http emulator.iam emulator.identity emulator.state emulator.wire system",
    "emulator.control": "emulator.compute emulator.faults emulator.http emulator.iam emulator.identity emulator.state "
    "emulator.storage emulator.wire system",
    "emulator": "emulator.compute emulator.control emulator.machines emulator.provider emulator.state emulator.wire system",
    "wiring": "bake context emulator.control google hardware inventory journal model results ssh stacks system vms infra",
    "drill": "commands context google model options results system teardown wiring",
    "cli": "batch commands context drill emulator.faults model options recovery teardown wiring tests.system_packages tests.fresh",
}
FOREIGN: dict[str, tuple[str, ...]] = {"options": (), "model": ("pydantic", "yaml"), "system": ()}
MAY_LOAD_SDKS = {"google", "results", "stacks", "wiring", "emulator"}
# Rooms whose modules are imported by name: shelves of small modules, verbs that are loaded one at a time, and the job
# interface, whose face is what users import.
OPEN_ROOMS = ("options", "model", "system", "hardware", "commands", "wiring", "drill", "cli")
# Modules that load an SDK, which a face would load for everybody.
LATE = (
    "runner.stacks.pulumi",
    "runner.stacks.program",
    "runner.ssh.shell",
    "runner.emulator.control.server",
    "runner.emulator.provider.server",
)


def rule_of(room: str) -> Rule:
    ours = [f"runner.{name}" if name.split(".")[0] in TOPS else name for name in ROOMS[room].split()]
    never = () if room.split(".")[0] in MAY_LOAD_SDKS else CLOUD_SDKS
    return Rule(ours=("runner.errors", *ours), foreign=FOREIGN.get(room), never=never)


TOPS = {room.split(".")[0] for room in ROOMS}
RULES = {
    "runner.errors": Rule(ours=(), foreign=()),
    **{f"runner.{room}": rule_of(room) for room in ROOMS},
    "runner.cli.output": Rule(ours=(), foreign=()),
    "infra.engine": Rule(ours=("runner.errors", "runner.system")),
    "infra": Rule(ours=("runner.errors", "runner.model")),
    "packer": Rule(ours=()),
    "tasks": Rule(
        ours=("runner.errors", "runner.options", "runner.cli.output", "runner.cli.verbs"),
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
                yield Import(target=resolve_name(source, alias.name, module), line=child.lineno, at_load=at_load)
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


@functools.cache
def list_exports(package: str) -> frozenset[str]:
    """What the face of a package offers, which hides a module of the same name."""
    face = MODULES.get(package)
    if face is None or face.name != "__init__.py":
        return frozenset()
    imports = (node for node in ast.parse(face.read_text(encoding="utf-8")).body if isinstance(node, ast.ImportFrom))
    return frozenset(alias.name for node in imports for alias in node.names)


def resolve_name(source: str, name: str, importer: str) -> str:
    """``from runner.commands import run`` imports a module, ``from runner.errors import HpcError`` does not."""
    module = f"{source}.{name}"
    is_inside = is_within(importer, source)  # where the face is not what is meant
    return module if module in MODULES and (is_inside or name not in list_exports(source)) else source


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


def room_of(module: str) -> str:
    """``results`` for ``runner.results.store``; '' for what is in no room."""
    rooms = [room for room in ROOMS if is_within(module, f"runner.{room}")]
    return max(rooms, key=len, default="")


def test_a_room_is_entered_by_its_face() -> None:
    """``from runner.results import ResultStore``, not ``from runner.results.store import ResultStore``."""
    wrong = [
        f"{MODULES[module].relative_to(ROOT)}:{imported.line} imports {imported.target}"
        for module in MODULES
        for imported in list_imports(module)
        if (room := room_of(imported.target))
        and imported.target != f"runner.{room}"
        and room not in OPEN_ROOMS
        and room_of(module) != room
        and imported.target not in LATE
    ]
    assert not wrong, "\n".join(wrong)


def test_rooms_stand_in_order() -> None:
    """Each imports only what is above it in the table, so that there is no way round."""
    rooms = list(ROOMS)
    wrong = {
        room: below
        for number, room in enumerate(rooms)
        if (below := [name for name in ROOMS[room].split() if name in ROOMS and name not in rooms[:number]])
    }
    assert not wrong


def test_the_table_allows_no_more_than_is_needed() -> None:
    used: dict[str, set[str]] = {room: set() for room in ROOMS}
    for module in MODULES:
        if room := room_of(module):
            used[room] |= {room_of(imported.target) for imported in list_imports(module)}
    idle = {room: names for room in ROOMS if (names := {*ROOMS[room].split()} & {*ROOMS} - used[room])}
    assert not idle


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "context"])
def test_a_room_says_what_it_is_for(room: str) -> None:
    """And, in a paragraph of its own, what must not be there."""
    text = ast.get_docstring(ast.parse(MODULES[f"runner.{room}"].read_text(encoding="utf-8"))) or ""
    assert "\n\n" in text


@pytest.mark.parametrize("module", ["runner.wiring", "runner.commands.status", "runner.commands.run"])
def test_what_loads_an_sdk_is_loaded_late(module: str) -> None:
    loaded = load_and_list(f"import {module}")
    assert not loaded & {"pulumi", "asyncssh", "starlette", "grpc"}


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
        or is_within(module, "runner.cli.verbs")
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


def load_and_list(statement: str) -> set[str]:
    """The packages that a fresh Python loads for it."""
    program = f"import sys; before = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_tasks_load_nothing_heavy() -> None:
    loaded = load_and_list("import tasks") & set(HEAVY)
    assert not loaded, sorted(loaded)
