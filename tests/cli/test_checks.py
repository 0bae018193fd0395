"""The checks of CI where they cannot run."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.cli.checks import shell_scripts
from runner.errors import InputError


def test_a_folder_that_is_not_a_clone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"git cannot list the files of .*: fatal: not a git repository") as caught:
        shell_scripts(tmp_path)
    assert "clone" in caught.value.remedy
