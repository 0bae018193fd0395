"""Secrets of Pulumi's state by a key instead of a passphrase: what reaches the engine, and that no passphrase is created.

The embedded cloud has no KMS. The engine's own way with keys is tried with another kind of them, that of HashiCorp's Vault, because
its address can be given: a small server here is one.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from runner.errors import InputError, StackError
from runner.model.settings import Settings, read_settings
from runner.stacks.contract import StackProgress, StackSpec
from runner.stacks.pulumi import EngineSite
from runner.wiring.clouds import GoogleCloud, LocalCloud
from tests.infra.engine import ROOT, find_changes, find_cli_bin, make_site, make_stacks
from tests.stacks.test_pulumi import declare_items

KEY = "gcpkms://projects/my-project/locations/europe-west4/keyRings/ring/cryptoKeys/state"
SPEC = StackSpec(project="analysis", name="b1", config={"opensees-hpc:count": "1"})
PASSPHRASE = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")


class Vault(BaseHTTPRequestHandler):
    """Vault's transit engine, with a key that hides nothing."""

    asked: list[str]

    def do_PUT(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(self.path.split("/")[3])
        if "plaintext" in body:
            answer = {"ciphertext": f"vault:v1:{body['plaintext']}"}
        else:
            answer = {"plaintext": body["ciphertext"].removeprefix("vault:v1:")}
        sent = json.dumps({"data": answer}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    do_POST = do_PUT  # noqa: N815 - as the server calls it

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def vault() -> Iterator[tuple[str, list[str]]]:
    """Its address, and what it was asked for."""
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Serving", (Vault,), {"asked": asked}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def infra(tmp_path: Path) -> Path:
    folder = tmp_path / "infra" / "analysis"
    folder.mkdir(parents=True)
    (folder / "Pulumi.yaml").write_bytes((ROOT / "infra" / "analysis" / "Pulumi.yaml").read_bytes())
    return tmp_path / "infra"


def ignore(progress: StackProgress) -> None:
    """Ignore it."""


def with_key(site: EngineSite, **more: str) -> EngineSite:
    env = {key: value for key, value in site.env.items() if key not in PASSPHRASE}
    return replace(site, env=env | more)


def test_a_stack_is_created_with_the_key_and_needs_no_passphrase_on_any_computer(
    tmp_path: Path, infra: Path, vault: tuple[str, list[str]]
) -> None:
    address, asked = vault
    first = replace(make_site(tmp_path, infra=infra), secrets_provider="hashivault://state")
    first = with_key(first, VAULT_SERVER_URL=address, VAULT_SERVER_TOKEN="t")
    make_stacks(first, {"analysis": declare_items}).up(SPEC, ignore)
    written = yaml.safe_load((first.work / "analysis" / "Pulumi.b1.yaml").read_text())
    assert written["secretsprovider"] == "hashivault://state"
    assert written["encryptedkey"] and "encryptionsalt" not in written
    assert "encrypt" in asked
    asked.clear()
    second = make_stacks(replace(first, work=tmp_path / "work of another computer"), {"analysis": declare_items})
    assert second.up(SPEC, ignore)["stack"] == "b1"
    assert "decrypt" in asked
    again = yaml.safe_load((tmp_path / "work of another computer" / "analysis" / "Pulumi.b1.yaml").read_text())
    assert again == written
    third = make_stacks(replace(first, work=tmp_path / "work of a third one"), {"analysis": declare_items})
    assert find_changes(third, SPEC) == set()
    fourth = make_stacks(replace(first, work=tmp_path / "work of a fourth one"), {"analysis": declare_items})
    fourth.destroy("analysis", "b1", ignore)
    fourth.remove("analysis", "b1")
    assert fourth.names("analysis") == []


def google(home: Path, key: str = KEY) -> GoogleCloud:
    environment = {
        "PATH": str(find_cli_bin()),
        "HOME": str(home),
        "PULUMI_BACKEND_URL": (home / "state").as_uri(),
        "GOOGLE_APPLICATION_CREDENTIALS": str(home / "none.json"),
    }
    return GoogleCloud(Settings(target="google", project="my-project", secrets_provider=key), home, environment)


def test_the_setting_reaches_the_engine_and_no_passphrase_is_created(tmp_path: Path) -> None:
    cloud = google(tmp_path)
    assert not {*PASSPHRASE} & set(cloud.pulumi_environment())
    with pytest.raises(StackError, match=r"creation of base/base") as caught:
        cloud.stacks.up(StackSpec(project="base", name="base", config={}), ignore)
    assert "none.json" in str(caught.value), "the engine wants Google's credentials, to ask for the key"
    assert [found for found in tmp_path.rglob("*") if "passphrase" in found.name] == []


def test_an_earlier_passphrase_is_kept_for_older_stacks(tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text("older")
    assert google(tmp_path).pulumi_environment()[PASSPHRASE[1]] == str(tmp_path / "passphrase")


def test_on_the_embedded_cloud_there_is_no_such_key(tmp_path: Path) -> None:
    cloud = LocalCloud(Settings(secrets_provider=KEY), tmp_path, {})
    assert (cloud.secrets_provider, cloud.passphrase_file()) == ("", tmp_path / "passphrase")


@pytest.mark.parametrize(
    "key", ["awskms://x", "gcpkms://projects/p/keys/k", f"{KEY}/cryptoKeyVersions/1", "passphrase"]
)
def test_other_than_a_key_of_cloud_kms_is_refused(key: str) -> None:
    with pytest.raises(InputError, match="secrets_provider"):
        read_settings(f"secrets_provider: {key}", None, {})
    with pytest.raises(InputError, match="OPENSEES_HPC_SECRETS_PROVIDER"):
        read_settings("", None, {"OPENSEES_HPC_SECRETS_PROVIDER": key})


def test_a_key_is_read_from_file_and_environment() -> None:
    assert read_settings(f"secrets_provider: {KEY}", None, {}).secrets_provider == KEY
    assert read_settings("", None, {"OPENSEES_HPC_SECRETS_PROVIDER": KEY}).secrets_provider == KEY
    assert Settings().secrets_provider == ""
