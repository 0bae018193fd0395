"""Text without secrets: what a log or a crash report may hold. Pure.

Two nets: values that are known to be secret, and whatever looks like one wherever it comes from. Our own code logs no secret; this
is for what others put into their messages: an URL that was signed, a header, a key, the text of an answer.
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
# Whatever stands before them: PGPASSWORD, DB_PASS. A shell has its folders in PWD and OLDPWD, and programs that ask in *_ASKPASS.
_ENDS = r"password|passwd|passphrase|(?<=[_-])(?:pass|pwd)|(?-i:\B(?<!ASK)PASS|\B(?<!\bOLD)PWD)"
_QUOTED = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
_PATTERNS = (
    (
        re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        HIDDEN,
    ),
    # Authorization headers, in any of the ways in which a header is written down.
    (
        re.compile(r"(?i)(authorization['\"]?\s*[:=,]\s*['\"]?)(?:(?:bearer|basic|digest)\s+)?[^\s'\",)}]+"),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/-]{6,}=*"), rf"\1 {HIDDEN}"),
    # The query of a signed URL, or of one that bears a token.
    (
        re.compile(
            r"(?i)([?&;](?:x-goog-[a-z-]+|x-amz-[a-z-]+|googleaccessid|signature|sig|upload_id|key|code|"
            + _NAMES
            + r")=)[^&\s'\"<>)]+"
        ),
        rf"\1{HIDDEN}",
    ),
    # Somebody's name and password before a host. A password may have @ and / in it; what follows a port has nothing to hide.
    (
        re.compile(r"(?<=://)[^/\s@:\[]{0,200}:(?:[^/\s'\"<>]{1,500}|(?!\d{1,5}/)[^\s'\"<>]{1,500})(?=@)"),
        HIDDEN,
    ),
    # A header of cookies, to the end of its line: they have semicolons and spaces between them.
    (re.compile(r"(?i)\b((?:set-)?cookie\s*[:=](?!\s*['\"])\s*)[^\r\n]+"), rf"\1{HIDDEN}"),
    # Google's own: access tokens, refresh tokens, API keys, and JSON Web Tokens.
    (re.compile(r"\bya29\.[\w.-]+|\b1//[\w-]{20,}|\bAIza[\w-]{30,}|\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"), HIDDEN),
    # ``name: value``, ``name=value`` and their like in JSON, of everything that is named as a secret.
    (
        re.compile(rf"(?i)((?:(?:\b|_)(?:{_NAMES})|{_ENDS})['\"]?\s*[:=]\s*)({_QUOTED}|[^\s,;&)}}\]]+)", re.DOTALL),
        rf"\1{HIDDEN}",
    ),
)
SECRET_NAME = re.compile(rf"(?i)(?:^|[_-])(?:{_NAMES})(?:$|[_-])|(?:password|passwd|passphrase|(?<!ask)pass|pwd)$")
NO_SECRETS = frozenset({"PWD", "OLDPWD"})


class Redaction:
    """Takes secrets out of texts. ``known``: values that are secret, besides what looks like one."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known: tuple[str, ...] = ()
        self.learn(known)

    def learn(self, values: Iterable[str]) -> None:
        """Further values that are secret. Those that are too short to be one are not heeded."""
        found = {value.strip() for value in (*self._known, *values)}
        self._known = tuple(sorted((value for value in found if len(value) >= LEAST_LENGTH), key=len, reverse=True))

    def apply(self, text: str) -> str:
        """``text`` without them."""
        for value in self._known:
            text = text.replace(value, HIDDEN)
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        return text


def is_secret_name(name: str) -> bool:
    """Return whether what has this name, such as an environment variable, is a secret. One that names a file is not."""
    upper = name.upper()
    names_a_file = upper in NO_SECRETS or upper.endswith(("_FILE", "_PATH", "_DIR", "_CREDENTIALS"))
    return SECRET_NAME.search(name) is not None and not names_a_file
