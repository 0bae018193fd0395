"""What is sent to the builder: readable for everybody, or an error with a remedy."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from runner.bake.scripts import archive_folder
from runner.errors import BuildError


def test_scripts_that_cannot_be_read_are_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"cannot be read: .*gone: No such file") as caught:
        archive_folder(tmp_path / "gone")
    assert "clone the repository again" in caught.value.remedy


def test_scripts_go_to_the_builder_readable_for_everybody(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    for path, mode in (("files/script", 0o700), ("files/data", 0o600), ("files", 0o700)):
        (tmp_path / path).touch()
        (tmp_path / path).chmod(mode)
    with tarfile.open(fileobj=io.BytesIO(archive_folder(tmp_path))) as tar:
        modes = {member.name: member.mode for member in tar}
    assert modes == {".": 0o755, "./files": 0o755, "./files/script": 0o755, "./files/data": 0o644}
