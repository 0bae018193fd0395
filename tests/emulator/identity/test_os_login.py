"""OS Login: profiles, keys, expiry, and who may log in."""

from __future__ import annotations

import base64
import os

from runner.emulator.machines.interface import LoginUser
from tests.emulator.conftest import CloudUnderTest, Json

ME = "/oslogin/v1/users/you@example.com"


def new_key(size: int = 32) -> str:
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + os.urandom(size)
    return f"ssh-ed25519 {base64.b64encode(blob).decode()} me"


def import_key(cloud: CloudUnderTest, key: str, **more: object) -> Json:
    answer = cloud.ask("POST", f"{ME}:importSshPublicKey", {"key": key, **more})
    assert answer.status_code == 200, answer.text
    profile: Json = answer.json()["loginProfile"]
    return profile


def in_usec(cloud: CloudUnderTest, after_s: float) -> str:
    return str(int((cloud.cloud.parts.clock.now() + after_s) * 1e6))


def test_profile_names_the_posix_account(cloud: CloudUnderTest) -> None:
    key = new_key()
    profile = import_key(cloud, key)
    assert profile["posixAccounts"][0]["username"] == "you_example_com"
    assert [known["key"] for known in profile["sshPublicKeys"].values()] == [key]
    assert cloud.get(f"{ME}/loginProfile") == profile
    assert cloud.hypervisor.view.login_users() == [LoginUser(username="you_example_com", keys=(key,), sudo=True)]


def test_key_expires(cloud: CloudUnderTest) -> None:
    profile = import_key(cloud, new_key(), expirationTimeUsec=in_usec(cloud, 60))
    (fingerprint,) = profile["sshPublicKeys"]
    later = cloud.ask("PATCH", f"{ME}/sshPublicKeys/{fingerprint}", {"expirationTimeUsec": in_usec(cloud, 120)})
    assert later.status_code == 200
    cloud.advance(90)
    assert len(cloud.hypervisor.view.login_users()) == 1
    cloud.advance(60)
    assert cloud.hypervisor.view.login_users() == []
    past = {"key": new_key(), "expirationTimeUsec": in_usec(cloud, -1)}
    assert cloud.refused("POST", f"{ME}:importSshPublicKey", past)[0] == 400


def test_key_is_deleted(cloud: CloudUnderTest) -> None:
    (fingerprint,) = import_key(cloud, new_key())["sshPublicKeys"]
    assert cloud.ask("DELETE", f"{ME}/sshPublicKeys/{fingerprint}/").status_code == 200
    assert cloud.refused("DELETE", f"{ME}/sshPublicKeys/{fingerprint}/")[0] == 404
    assert cloud.hypervisor.view.login_users() == []


def test_profile_holds_32_kib(cloud: CloudUnderTest) -> None:
    for _ in range(7):
        import_key(cloud, new_key(3300))
    status, _, message = cloud.refused("POST", f"{ME}:importSshPublicKey", {"key": new_key(3300)})
    assert status == 400
    assert message.startswith("Login profile size exceeds 32 KiB")


def test_another_user_needs_a_role(cloud: CloudUnderTest) -> None:
    key = new_key()
    cloud.ask("POST", "/oslogin/v1/users/eve@example.com:importSshPublicKey", {"key": key})
    assert cloud.hypervisor.view.login_users() == []
    binding = {"role": "roles/compute.osLogin", "members": ["user:eve@example.com"]}
    project = "/cloudresourcemanager/v1/projects/local-project"
    cloud.ask("POST", f"{project}:setIamPolicy", {"policy": {"bindings": [binding]}})
    assert cloud.hypervisor.view.login_users() == [LoginUser(username="eve_example_com", keys=(key,), sudo=False)]
