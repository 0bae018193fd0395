"""Our key in the operator's profile: one key pair for all commands of a state folder."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.emulator.state.settings import CloudSettings
from runner.google.os_login import OsLogin
from runner.google.rest import Api
from tests.emulator.conftest import CloudUnderTest

OPERATOR = "you@example.com"
HOUR_S = 3600


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[CloudUnderTest]:
    running = CloudUnderTest(CloudSettings(state=tmp_path / "state")).start()
    yield running
    running.stop()


@pytest.fixture
def logins(cloud: CloudUnderTest, tmp_path: Path) -> OsLogin:
    api = Api(f"{cloud.url}/oslogin/v1", cloud.new_session)
    return OsLogin(api, operator=OPERATOR, project="local-project", key_file=tmp_path / "state" / "key")


def left_s(cloud: CloudUnderTest) -> float:
    """How long the one key of the profile is good for."""
    (key,) = cloud.get(f"/oslogin/v1/users/{OPERATOR}/loginProfile")["sshPublicKeys"].values()
    return int(key["expirationTimeUsec"]) / 1e6 - time.time()


def test_a_shorter_run_does_not_end_the_key_under_a_longer_one(cloud: CloudUnderTest, logins: OsLogin) -> None:
    first = logins.import_key(lifetime_s=10 * HOUR_S)
    assert logins.import_key(lifetime_s=HOUR_S) == first
    assert left_s(cloud) == pytest.approx(10 * HOUR_S, abs=60)


def test_a_longer_run_moves_its_expiry(cloud: CloudUnderTest, logins: OsLogin) -> None:
    logins.import_key(lifetime_s=HOUR_S)
    logins.import_key(lifetime_s=10 * HOUR_S)
    assert left_s(cloud) == pytest.approx(10 * HOUR_S, abs=60)


def test_of_several_at_the_same_time_the_longest_stays(cloud: CloudUnderTest, logins: OsLogin) -> None:
    hours = [1, 9, 2, 8, 3]
    threads = [threading.Thread(target=logins.import_key, kwargs={"lifetime_s": one * HOUR_S}) for one in hours]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert left_s(cloud) == pytest.approx(9 * HOUR_S, abs=60)
