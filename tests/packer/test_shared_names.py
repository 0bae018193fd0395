"""Names that programs on a VM have in common with the client: spelled once, in ``runner/model/names.py``."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from runner.model import names
from runner.model.shared_names import SHARED
from tests.packer.prefix import PACKER

ROOT = PACKER.parent
VM = PACKER / "vm"
GENERATED = VM / "lib" / "opensees_hpc" / "shared_names.py"
MODULES = sorted(path for path in (VM / "lib" / "opensees_hpc").glob("*.py") if path != GENERATED)
STATE_FILE = re.compile(r"\.job/([a-z_]+)\b(?!\.sh)")
# Too short to be distinguished from other text, or words with other meanings.
AMBIGUOUS = {"ATTEMPT_MARK", "APP"}


def strings_of(path: Path) -> set[str]:
    """Return the string literals of a module that are not docstrings, and the fixed parts of f-strings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docs)
    return {node.value for node in found if isinstance(node.value, str)}


def test_an_image_has_the_generated_file(opensees_prefix: Path) -> None:
    installed = opensees_prefix / "lib" / "opensees_hpc" / GENERATED.name
    assert installed.read_bytes() == GENERATED.read_bytes()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_program_on_a_vm_spells_a_shared_name_itself(path: Path) -> None:
    shared = {str(getattr(names, name)) for name in SHARED if name not in AMBIGUOUS}
    again = {text for text in strings_of(path) for value in shared if text.lstrip("/").startswith(value)}
    assert not again


@pytest.mark.parametrize("name", SHARED)
def test_a_shared_name_is_used_on_the_vm(name: str) -> None:
    assert any(re.search(rf"\b{name}\b", path.read_text(encoding="utf-8")) for path in MODULES)


def test_shell_scripts_on_a_vm_use_the_job_managers_state_files() -> None:
    remote = ROOT / "runner" / "hardware" / "remote"
    described = set(re.findall(r"^#   ([a-z_]+) ", (remote / "common.sh").read_text(encoding="utf-8"), re.MULTILINE))
    used = {name for path in (VM / "lib").glob("*.sh") for name in STATE_FILE.findall(path.read_text(encoding="utf-8"))}
    assert {"run", "end", "after", "on_end"} <= used <= described
    for file in (names.DEADLINE_FILE, names.END_FILE):
        folder, _, name = file.partition("/")
        assert (folder, name in described) == (names.STATE_FOLDER, True)


def test_scripts_of_a_vms_metadata_call_programs_of_the_image() -> None:
    scripts = (ROOT / "infra" / "components" / "vm_scripts").glob("*.sh")
    called = {name for path in scripts for name in re.findall(r"/bin/([a-z-]+)\"", path.read_text(encoding="utf-8"))}
    assert called == {"on-shutdown", "watch-lease"}
    assert called <= {path.name for path in (VM / "bin").iterdir()}
