"""pip on an emulated instance reaches packages like pip on its host, although the instance has another environment."""

from __future__ import annotations

from pathlib import Path

from runner.emulator.__main__ import package_index


def test_only_settings_of_pip_are_passed_on(tmp_path: Path) -> None:
    environment = {"PIP_INDEX_URL": "https://mirror.example/simple", "HOME": "/home/me"}
    cache = {"PIP_CACHE_DIR": str(tmp_path / ".cache/pip")}
    assert package_index(environment, tmp_path) == cache | {"PIP_INDEX_URL": "https://mirror.example/simple"}


def test_settings_of_the_user_are_read(tmp_path: Path) -> None:
    file = tmp_path / ".config" / "pip" / "pip.conf"
    file.parent.mkdir(parents=True)
    file.touch()
    assert package_index({}, tmp_path)["PIP_CONFIG_FILE"] == str(file)


def test_proxy_and_certificates_of_the_host_are_for_pip_only(tmp_path: Path) -> None:
    found = package_index({"https_proxy": "http://proxy.example:3128", "REQUESTS_CA_BUNDLE": "/etc/ca.pem"}, tmp_path)
    assert (found["PIP_PROXY"], found["PIP_CERT"]) == ("http://proxy.example:3128", "/etc/ca.pem")
    assert "https_proxy" not in found


def test_settings_of_pip_itself_take_precedence(tmp_path: Path) -> None:
    found = package_index({"HTTPS_PROXY": "http://a.example", "PIP_PROXY": "http://b.example"}, tmp_path)
    assert found["PIP_PROXY"] == "http://b.example"


def test_an_index_that_the_host_reaches_without_a_proxy_has_none(tmp_path: Path) -> None:
    host = {"https_proxy": "http://proxy.example:3128", "no_proxy": "localhost,.corp.example"}
    assert "PIP_PROXY" in package_index(host, tmp_path)
    mirror = {"PIP_INDEX_URL": "https://mirror.corp.example/simple"}
    assert "PIP_PROXY" not in package_index(host | mirror, tmp_path)
