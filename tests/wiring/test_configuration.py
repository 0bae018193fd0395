"""Settings files that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import InputError
from runner.wiring.configuration import load_settings


def test_no_settings_file(tmp_path: Path) -> None:
    assert load_settings({"OPENSEES_HPC_HOME": str(tmp_path)}).target == "local"


def test_a_settings_file_that_is_no_file(tmp_path: Path) -> None:
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
