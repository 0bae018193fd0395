"""The owner of the embedded cloud: our own clients send the token, Google's can get it, and it is shown nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import requests
from google.auth.exceptions import InvalidOperation
from google.cloud.storage import Client
from google.oauth2.credentials import Credentials

from runner.emulator import control
from runner.emulator.state.owner import owner_token_file
from runner.wiring import embedded, make_context

LIMIT_S = 60.0
CLOSED = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """Yield the environment of a user whose embedded cloud is running."""
    home = tmp_path_factory.mktemp("home")
    environment = {"OPENSEES_HPC_HOME": str(home), "OPENSEES_HPC_TARGET": "local"}
    embedded.start_embedded_cloud(environment)
    yield environment
    embedded.stop_embedded_cloud(environment)


def cloud_folder(environment: Mapping[str, str]) -> Path:
    return Path(environment["OPENSEES_HPC_HOME"], "local", "cloud")


def test_the_status_of_the_cloud_does_not_show_the_token(environment: Mapping[str, str]) -> None:
    shown = json.dumps(embedded.embedded_cloud_status(environment))
    assert embedded.start_embedded_cloud(environment).read_token() not in shown


def test_googles_clients_are_given_the_token(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    given = embedded.google_client_environment(environment)
    project = f"{given['GOOGLE_COMPUTE_CUSTOM_ENDPOINT']}projects/{given['GOOGLE_CLOUD_PROJECT']}"
    owner = {"Authorization": f"Bearer {given['GOOGLE_OAUTH_ACCESS_TOKEN']}"}
    assert requests.get(project, headers=owner, timeout=LIMIT_S).status_code == 200
    assert requests.get(project, timeout=LIMIT_S).status_code == 401
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", given["STORAGE_EMULATOR_HOST"])
    with pytest.raises(InvalidOperation, match="Anonymous"):
        Client(project="local-project").create_bucket("anonymous")
    credentials = Credentials(token=given["GOOGLE_OAUTH_ACCESS_TOKEN"])
    assert Client(project="local-project", credentials=credentials).create_bucket("owned").exists()


def test_our_clients_send_the_token_to_no_proxy(
    environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", CLOSED)
    monkeypatch.delenv("no_proxy", raising=False)
    cloud = make_context(environment).cloud
    cloud.open()
    assert not cloud.results.exists()
    assert embedded.list_faults(environment)["faults"] == []


def test_our_clients_read_a_changed_token(environment: Mapping[str, str]) -> None:
    cloud = make_context(environment).cloud
    cloud.open()
    assert not cloud.results.exists()
    folder = cloud_folder(environment)
    before = control.start(folder)
    control.stop(folder)
    owner_token_file(folder).unlink()
    assert control.start(folder).url == before.url
    cloud.compute.check_project()
    assert not cloud.results.exists()
