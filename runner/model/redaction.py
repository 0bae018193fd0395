"""Removes secrets from texts for logs and crash reports. Pure.

It hides values that are known to be secret, and everything that looks like one. Our own code logs no secrets; this
is for the messages of other code: a signed URL, a header, a key, the text of an answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

HIDDEN = "[hidden]"
LEAST_LENGTH = 6  # of a known value; shorter ones would hide words
_NAMES = (
    r"access[_-]?token|refresh[_-]?token|id[_-]?token|auth[_-]?token|client[_-]?secret|private[_-]?key(?:[_-]?data)?|"
    r"pass[_-]?phrase|password|passwd|secret|token|credentials?|api[_-]?key|cookie|set-cookie"
)
# With any prefix: PGPASSWORD, DB_PASS. But PWD and OLDPWD are folders, and *_ASKPASS are programs.
_ENDS = r"password|passwd|passphrase|(?<=[_-])(?:pass|pwd)|(?-i:\B(?<!ASK)PASS|\B(?<!\bOLD)PWD)"
_QUOTED = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
_PATTERNS = (
    (
        re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        HIDDEN,
    ),
    # Authorization headers, in any of the usual notations.
    (
        re.compile(r"(?i)(authorization['\"]?\s*[:=,]\s*['\"]?)(?:(?:bearer|basic|digest)\s+)?[^\s'\",)}]+"),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/-]{6,}=*"), rf"\1 {HIDDEN}"),
    # The query of a signed URL, or of one with a token.
    (
        re.compile(
            r"(?i)([?&;](?:x-goog-[a-z-]+|x-amz-[a-z-]+|googleaccessid|signature|sig|upload_id|key|code|"
            + _NAMES
            + r")=)[^&\s'\"<>)]+"
        ),
        rf"\1{HIDDEN}",
    ),
    # A user name and password before a host. A password may contain @ and /; what follows a port is not secret.
    (
        re.compile(r"(?<=://)[^/\s@:\[]{0,200}:(?:[^/\s'\"<>]{1,500}|(?!\d{1,5}/)[^\s'\"<>]{1,500})(?=@)"),
        HIDDEN,
    ),
    # A header of cookies, to the end of its line, with semicolons and spaces between cookies.
    (re.compile(r"(?i)\b((?:set-)?cookie\s*[:=](?!\s*['\"])\s*)[^\r\n]+"), rf"\1{HIDDEN}"),
    # Google's own: access tokens, refresh tokens, API keys, and JSON Web Tokens.
    (re.compile(r"\bya29\.[\w.-]+|\b1//[\w-]{20,}|\bAIza[\w-]{30,}|\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"), HIDDEN),
    # ``name: value``, ``name=value`` and the same in JSON, for every name of a secret.
    (
        re.compile(rf"(?i)((?:(?:\b|_)(?:{_NAMES})|{_ENDS})['\"]?\s*[:=]\s*)({_QUOTED}|[^\s,;&)}}\]]+)", re.DOTALL),
        rf"\1{HIDDEN}",
    ),
)
SECRET_NAME = re.compile(rf"(?i)(?:^|[_-])(?:{_NAMES})(?:$|[_-])|(?:password|passwd|passphrase|(?<!ask)pass|pwd)$")
NO_SECRETS = frozenset({"PWD", "OLDPWD"})


class Redaction:
    """Takes secrets out of texts. ``known``: values that are secret even if they do not look like it."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known: tuple[str, ...] = ()
        self.learn(known)

    def learn(self, values: Iterable[str]) -> None:
        """Add values that are secret. Those that are too short to be secrets are ignored."""
        found = {value.strip() for value in (*self._known, *values)}
        self._known = tuple(sorted((value for value in found if len(value) >= LEAST_LENGTH), key=len, reverse=True))

    def apply(self, text: str) -> str:
        """Return ``text`` without secrets."""
        for value in self._known:
            text = text.replace(value, HIDDEN)
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        return text


def is_secret_name(name: str) -> bool:
    """Return whether this is the name of a secret, such as of an environment variable. The path of a file is not a secret."""
    upper = name.upper()
    names_a_file = upper in NO_SECRETS or upper.endswith(("_FILE", "_PATH", "_DIR", "_CREDENTIALS"))
    return SECRET_NAME.search(name) is not None and not names_a_file
