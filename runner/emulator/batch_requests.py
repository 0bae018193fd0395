"""The parts of a batch (``multipart/mixed`` of ``application/http``): what each of them asks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

_REQUEST_LINE = re.compile(rb"^(GET|HEAD|POST|PUT|PATCH|DELETE) (\S+)(?: HTTP/1\.[01])?\r?$", re.MULTILINE)


def read_batch_parts(body: bytes) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Method, raw path and query of each part, in order."""
    for method, target in _REQUEST_LINE.findall(body):
        parts = urlsplit(target.decode("ascii", errors="replace"))
        yield method.decode(), parts.path, dict(parse_qsl(parts.query, keep_blank_values=True))
