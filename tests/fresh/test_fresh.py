"""A fresh system has no more than the README says, and the package sources of this host."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fresh.check import find_engines
from tests.fresh.host import pick_apt_settings, pick_variables
from tests.fresh.readme import read_commands, read_packages
from tests.test_repository import README_COMMANDS

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_readme_names_commands_and_packages() -> None:
    assert tuple(read_commands(README)) == README_COMMANDS
    assert read_packages(README) == ["git", "python3", "python3-venv", "python3-tk"]


@pytest.mark.parametrize("readme", ["", "    ./bootstrap invoke run\n", "| Debian 12 | see above |\n"])
def test_a_readme_without_them_promises_nothing(readme: str) -> None:
    assert (list(read_commands(readme)), list(read_packages(readme))) == ([], [])


def test_variables_with_package_sources_are_passed_on_and_others_are_not() -> None:
    environment = {
        "PIP_INDEX_URL": "https://mirror.example/simple",
        "PIP_CACHE_DIR": "/var/cache/pip",
        "https_proxy": "http://proxy.example:3128",
        "GOPROXY": "https://go.example",
        "GOOGLE_APPLICATION_CREDENTIALS": "/etc/key.json",
        "HOME": "/home/me",
    }
    settings = (
        ":env:.index-url='https://mirror.example/simple'\nglobal.cert='/etc/ca.pem'\ninstall.find-links='\\n/a\\n/b'\n"
    )
    assert pick_variables(environment, settings) == {
        "PIP_INDEX_URL": "https://mirror.example/simple",
        "PIP_CERT": "/etc/ca.pem",
        "PIP_FIND_LINKS": "/a /b",
        "https_proxy": "http://proxy.example:3128",
        "GOPROXY": "https://go.example",
    }


def test_settings_of_apt_about_package_sources_are_passed_on() -> None:
    kept = 'Acquire::http::Proxy "http://proxy.example";\nAcquire::Check-Valid-Until "false";\n'
    others = 'Acquire "";\nAcquire::http "";\nAcquire::Languages:: "none";\n'
    assert pick_apt_settings(others + kept) == kept


def test_the_engine_of_the_host_is_lent_if_it_has_one(tmp_path: Path) -> None:
    environment = {"OPENSEES_HPC_CACHE": str(tmp_path)}
    assert find_engines(environment) is None
    program = tmp_path / "pulumi" / "3.230.0" / "bin" / "pulumi"
    program.parent.mkdir(parents=True)
    program.touch()
    assert find_engines(environment) == tmp_path / "pulumi"
