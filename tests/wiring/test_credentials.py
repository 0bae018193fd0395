"""Google's application default credentials, and the project that pays for requests made with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from google.auth.transport.requests import AuthorizedSession

from runner import wiring
from runner.errors import PermissionDeniedError

PERSON = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
SETTINGS = {"OPENSEES_HPC_TARGET": "google", "OPENSEES_HPC_PROJECT": "my-project"}


def quota_project(folder: Path, credentials: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str | None:
    file = folder / "credentials.json"
    file.write_text(json.dumps(credentials))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    monkeypatch.delenv("GOOGLE_CLOUD_QUOTA_PROJECT", raising=False)
    cloud: Any = wiring.make_context(SETTINGS | {"OPENSEES_HPC_HOME": str(folder)}).cloud
    found: str | None = cast(AuthorizedSession, cloud.new_session()).credentials.quota_project_id
    return found


def test_the_project_becomes_the_quota_project_of_a_person_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert quota_project(tmp_path, PERSON, monkeypatch) == "my-project"


def test_a_chosen_quota_project_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert quota_project(tmp_path, PERSON | {"quota_project_id": "other"}, monkeypatch) == "other"


NO_CREDENTIALS: Mapping[str, tuple[Callable[[Path], object], str]] = {  # creates the file; Google's message
    "not there": (lambda file: None, "was not found"),
    "a folder": (lambda file: file.mkdir(), "Is a directory"),
    "empty": (lambda file: file.write_text(""), "not a valid json file"),
    "no text": (lambda file: file.write_bytes(b"\xff\xfe"), "not a valid json file"),
    "a list": (lambda file: file.write_text("[1]"), "'list' object"),
    "half a service account": (lambda file: file.write_text('{"type": "service_account"}'), "missing fields"),
    "of no type": (lambda file: file.write_text("{}"), "does not have a valid type"),
}


@pytest.mark.parametrize("what", NO_CREDENTIALS)
def test_a_file_without_credentials_is_reported_with_googles_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    file = tmp_path / "credentials.json"
    create, words = NO_CREDENTIALS[what]
    create(file)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    given = SETTINGS | {"OPENSEES_HPC_HOME": str(tmp_path), "GOOGLE_APPLICATION_CREDENTIALS": str(file)}
    cloud: Any = wiring.make_context(given).cloud
    with pytest.raises(PermissionDeniedError) as caught:
        cloud.new_session()
    assert str(file) in caught.value.message
    assert words in caught.value.message
    assert "[Errno" not in caught.value.message
    assert "unset it" in caught.value.remedy
