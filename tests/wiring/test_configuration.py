"""Settings files that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import InputError
from runner.wiring import make_context
from runner.wiring.configuration import load_settings


def test_no_settings_file(tmp_path: Path) -> None:
    assert load_settings({"OPENSEES_HPC_HOME": str(tmp_path)}).target == "local"


def test_a_settings_file_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: Is a directory") as caught:
        load_settings({"OPENSEES_HPC_SETTINGS": str(tmp_path)})
    assert "OPENSEES_HPC_SETTINGS" in caught.value.remedy


def test_a_settings_file_that_is_not_utf_8(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_bytes("target: local\noperator: zoë@example.com\n".encode("latin-1"))
    with pytest.raises(InputError) as caught:
        load_settings({"OPENSEES_HPC_SETTINGS": str(file)})
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.column) == (file, 2, 13)
    assert "UTF-8" in problem.remedy


def _rights(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_state_folder_of_an_earlier_version_is_closed_to_other_users(tmp_path: Path) -> None:
    home = tmp_path / "home"
    instance = home / "local" / "cloud" / "instances" / "vm" / "tmp"
    for folder in (instance, home / "local" / "journal", home / "ssh", home / "pulumi" / "plugins"):
        folder.mkdir(parents=True)
    instance.chmod(0o1777)
    journal, settings = home / "local" / "journal" / "b.jsonl", home / "settings.yaml"
    for file in (journal, settings):
        file.write_text("")
        file.chmod(0o644)
    make_context({"OPENSEES_HPC_HOME": str(home)})
    assert [_rights(path) for path in (journal, settings)] == [0o600, 0o600]
    folders = (
        home,
        home / "local",
        home / "local" / "journal",
        home / "local" / "cloud",
        home / "ssh",
        home / "pulumi",
    )
    assert [_rights(folder) for folder in folders] == [0o700] * len(folders)
    assert _rights(instance) == 0o777, "what an instance has is its own"


def test_a_state_folder_with_other_files_in_it_keeps_its_rights(tmp_path: Path) -> None:
    (tmp_path / "local" / "journal").mkdir(parents=True)
    (tmp_path / "public_html").mkdir()
    for folder in (tmp_path, tmp_path / "local", tmp_path / "public_html"):
        folder.chmod(0o755)
    make_context({"OPENSEES_HPC_HOME": str(tmp_path)})
    assert [_rights(tmp_path / name) for name in ("", "public_html", "local")] == [0o755, 0o755, 0o700]


def test_a_missing_state_folder_is_not_created(tmp_path: Path) -> None:
    make_context({"OPENSEES_HPC_HOME": str(tmp_path / "none")})
    assert list(tmp_path.iterdir()) == []
