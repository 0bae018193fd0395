"""Secrets are removed from a text; everything else stays."""

from __future__ import annotations

import time

import pytest

from runner.model.redaction import HIDDEN, Redaction, is_secret_name

SECRET = "s3cr3tValue0123456789"
KEY = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{SECRET}\n{SECRET}\n-----END OPENSSH PRIVATE KEY-----"
PLANTED = {
    "a bearer token": f"Authorization: Bearer {SECRET}",
    "headers as Python writes them": f"{{'Authorization': 'Bearer {SECRET}', 'Accept': '*/*'}}",
    "headers as JSON": f'{{"authorization": "Basic {SECRET}"}}',
    "a token that is named without a header": f"the answer to bearer {SECRET} was 401",
    "Google's access token": f"refreshed ya29.{SECRET}",
    "a JSON web token": f"assertion eyJhbGciOiJSUzI1NiJ9.{SECRET}.{SECRET}",
    "a private key": f"read {KEY} and more",
    "a private key that was cut off": f"read -----BEGIN RSA PRIVATE KEY-----\n{SECRET}",
    "a private key in JSON": f'"private_key": "{SECRET}"',
    "a signed URL": f"GET https://storage.googleapis.com/b/o?X-Goog-Credential={SECRET}&X-Goog-Signature={SECRET}&a=b",
    "a resumable upload": f"PUT https://storage.googleapis.com/upload?uploadType=resumable&upload_id={SECRET}",
    "a URL with a token": f"https://host/path?access_token={SECRET}",
    "a password in a URL": f"proxy http://somebody:{SECRET}@proxy.example:3128",
    "a passphrase": f"PULUMI_CONFIG_PASSPHRASE={SECRET}",
    "a refresh token": f"refresh_token: '{SECRET}'",
    "a client's secret": f'{{"client_secret": "{SECRET}", "type": "authorized_user"}}',
    "a quote inside a password": f'{{"password": "a\\"bc {SECRET}", "user": "me"}}',
    "cookies": f"Cookie: a=b; c={SECRET}",
    "cookies as Python writes them": f"{{'Cookie': 'a=b; c={SECRET}', 'Accept': '*/*'}}",
    "cookies that are set": f"Set-Cookie: a=b; HttpOnly; c={SECRET}",
    "an @ in a password in a URL": f"https://somebody:p@{SECRET}@host/path",
    "a / in a password in a URL": f"https://somebody:p/{SECRET}@host/path",
    "a password without a name in a URL": f"redis://:{SECRET}@host:6379/0",
    "a variable that ends in PASSWORD": f"PGPASSWORD={SECRET}",
    "a variable that ends in PASS": f"SMTPPASS={SECRET} DB_PASS={SECRET}",
    "a variable that ends in PWD": f"MYSQL_PWD={SECRET}",
    "a variable that ends in PASSPHRASE": f"BORG_PASSPHRASE='{SECRET} {SECRET}'",
    "a key that ends in pass": f'{{"smtp_pass": "{SECRET}"}}',
    "a password in a sentence": f"password = {SECRET}",
}
PLAIN = (
    "GET https://compute.googleapis.com/compute/v1/projects/p/zones/europe-west4-a/instances/b-0: 200, 0.123 s",
    "PULUMI_CONFIG_PASSPHRASE_FILE and the key pair",
    "operation-1795817525804286046 at 127.185.34.182:22",
    "pageToken next, filter labels.batch=b1",
    "GET http://127.0.0.1:43210/oslogin/v1/users/somebody@example.org/loginProfile: 200",
    "GET http://[::1]:43210/oslogin/v1/users/somebody@example.org: 200",
    "PWD=/home/somebody OLDPWD=/home SSH_ASKPASS=/usr/bin/ask",
    "the tests pass: 12, bypass: yes",
    "key id_ed25519 of somebody@example.org",
)


@pytest.mark.parametrize("what", PLANTED)
def test_a_secret_is_hidden(what: str) -> None:
    shown = Redaction().apply(f"before\n{PLANTED[what]}\nafter")
    assert SECRET not in shown
    assert HIDDEN in shown
    assert shown.startswith("before\n")


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Redaction().apply(text) == text


def test_what_is_beside_a_password_in_a_url_stays() -> None:
    shown = Redaction().apply(f"GET https://me:p@{SECRET}@host/path?mail=somebody@example.org")
    assert shown == f"GET https://{HIDDEN}@host/path?mail=somebody@example.org"


def test_a_long_text_takes_no_long_time() -> None:
    for text in (
        "a" * 300_000,
        "://" * 100_000,
        "://a:" + "b/" * 100_000,
        "password" * 40_000,
        'password="' + "\\" * 200_000,
    ):
        began = time.monotonic()
        Redaction().apply(text)
        assert time.monotonic() - began < 20, text[:20]


def test_known_values_are_hidden_wherever_they_are() -> None:
    redaction = Redaction(["correct horse", "short"])
    redaction.learn(["correct horse battery"])
    assert redaction.apply("x correct horse battery y correct horse z short") == f"x {HIDDEN} y {HIDDEN} z short"


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("PULUMI_CONFIG_PASSPHRASE", True),
        ("GOOGLE_OAUTH_ACCESS_TOKEN", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("PULUMI_CONFIG_PASSPHRASE_FILE", False),
        ("GOOGLE_APPLICATION_CREDENTIALS", False),
        ("PATH", False),
        ("PGPASSWORD", True),
        ("SMTP_PASS", True),
        ("SMTPPASS", True),
        ("MYSQL_PWD", True),
        ("BORG_PASSPHRASE", True),
        ("PWD", False),
        ("OLDPWD", False),
        ("SSH_ASKPASS", False),
        ("TOKENIZER", False),
    ],
)
def test_secret_variables_are_known_by_their_names(name: str, is_secret: bool) -> None:
    assert is_secret_name(name) is is_secret
