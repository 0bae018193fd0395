"""The passphrase of a state in a bucket is the same on every computer."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.cloud.storage import Client

from runner.errors import NotFoundError
from runner.google.objects import Objects
from runner.model import names
from runner.model.settings import Settings
from runner.stacks.passphrase import own_passphrase, shared_passphrase
from runner.wiring.clouds import GoogleCloud
from tests.support.bucket import Site, storage_client


@pytest.fixture
def state(bucket_site: Site) -> Iterator[Objects]:
    """Return an empty bucket for Pulumi's state."""
    with storage_client(bucket_site.endpoint) as client:
        objects = Objects(lambda: client, f"state-{secrets.token_hex(6)}")
        objects._opened().create(location="europe-west4")
        yield objects


def test_the_first_computer_creates_it_and_others_use_it(state: Objects, tmp_path: Path) -> None:
    first = shared_passphrase(state, tmp_path / "first/copy", own=tmp_path / "none")
    own = own_passphrase(tmp_path / "second/passphrase")
    second = shared_passphrase(state, tmp_path / "second/copy", own=own)
    assert first.read_bytes() == second.read_bytes() == state.read(names.STATE_PASSPHRASE)[0]
    assert second.read_bytes() != own.read_bytes()
    assert second.stat().st_mode & 0o777 == 0o600


def test_stacks_of_a_computer_that_had_a_passphrase_before_stay_readable(state: Objects, tmp_path: Path) -> None:
    own = own_passphrase(tmp_path / "passphrase")
    assert shared_passphrase(state, tmp_path / "copy", own=own).read_bytes() == own.read_bytes()


def test_two_computers_that_begin_at_the_same_time_have_the_same(state: Objects, tmp_path: Path) -> None:
    class Slow(Objects):
        """Another computer writes between the read and the write."""

        def write(self, name: str, content: bytes, *, if_generation: int | None = None) -> int:
            state.write(name, b"the other's", if_generation=0)
            return super().write(name, content, if_generation=if_generation)

    slow = Slow(state._new_client, state.bucket)
    assert shared_passphrase(slow, tmp_path / "copy", own=tmp_path / "none").read_bytes() == b"the other's"


def test_without_the_bucket_nothing_is_created(state: Objects, tmp_path: Path) -> None:
    missing = Objects(state._new_client, "no-such-bucket")
    with pytest.raises(NotFoundError) as caught:
        shared_passphrase(missing, tmp_path / "copy", own=tmp_path / "none")
    assert "invoke setup" in caught.value.remedy
    assert not (tmp_path / "copy").exists()


class Google(GoogleCloud):
    """Google Cloud, whose storage is the embedded cloud's."""

    site: Site
    url = ""

    def new_storage_client(self) -> Client:
        return storage_client(self.site.endpoint, self.url)


def test_computers_with_the_same_state_are_given_the_same(bucket_site: Site, state: Objects, tmp_path: Path) -> None:
    settings = Settings(target="google", project="some-project")
    passphrases = []
    for home in (tmp_path / "one", tmp_path / "two"):
        cloud = Google(settings, home, {"PULUMI_BACKEND_URL": f"gs://{state.bucket}/below"})
        cloud.site = bucket_site
        file = Path(cloud.pulumi_environment()["PULUMI_CONFIG_PASSPHRASE_FILE"])
        passphrases.append(file.read_bytes())
        cloud.url = "http://127.0.0.1:9"  # this computer has its copy
        assert cloud.passphrase_file() == file
    assert passphrases[0] == passphrases[1]


def test_a_state_elsewhere_has_a_passphrase_of_this_computer(tmp_path: Path) -> None:
    cloud = GoogleCloud(Settings(target="google", project="some-project"), tmp_path, {"PULUMI_BACKEND_URL": "s3://x"})
    assert cloud.passphrase_file() == tmp_path / "passphrase"
