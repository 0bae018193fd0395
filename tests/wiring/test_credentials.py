"""Google's application default credentials, and the project that pays for requests made with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from google.auth.transport.requests import AuthorizedSession

from runner import wiring

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


def test_the_project_is_the_quota_project_of_a_person_who_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert quota_project(tmp_path, PERSON, monkeypatch) == "my-project"


def test_a_quota_project_that_was_chosen_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert quota_project(tmp_path, PERSON | {"quota_project_id": "other"}, monkeypatch) == "other"
