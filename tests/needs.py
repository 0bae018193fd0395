"""``need("sshd")``: what a test or fixture takes from the operating system, said where it takes it.

Without it the test is skipped with what is missing and how to get it; nothing else is left out.
"""

from __future__ import annotations

from functools import cache

import pytest

from tests.system_packages import list_requirements


def need(*names: str) -> None:
    """Skip the test that is running, or the module that is being imported, if one of these is not there. Names: ``tests.system_packages.list_requirements``."""
    missing = [reason for name in names if (reason := why_missing(name))]
    if missing:
        pytest.skip("; ".join(missing), allow_module_level=True)


@cache
def why_missing(name: str) -> str:
    """Empty if it is there."""
    (requirement,) = (one for one in list_requirements() if one.name == name)
    return "" if requirement.is_there() else requirement.describe()
