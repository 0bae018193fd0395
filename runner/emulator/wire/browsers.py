"""Rejects requests of web pages. A browser sends any page's requests, to loopback too, in the name of its user.

Such a request is recognised by its host name (DNS rebinding), and by headers that only browsers send.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from runner.errors import CloudError

#: ``Sec-Fetch-Site`` of requests that a page sends. ``none`` is a request that the user typed.
_PAGES = ("cross-site", "same-site", "same-origin")


def refuse_foreign_names(host: str) -> None:
    """Raise CloudError if the request is for a host name other than this computer's own."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    if name.lower() not in ("localhost", "[::1]") and not _is_loopback(name):
        raise CloudError(f"The server does not answer for '{name}'.", reason="misdirected", status=421)


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.IPv4Address(name).is_loopback
    except ValueError:
        return False


def refuse_web_pages(headers: Mapping[str, str]) -> None:
    """Raise CloudError if a browser sent this for a page."""
    if "origin" in headers or headers.get("sec-fetch-site", "none") in _PAGES:
        raise CloudError("Web pages are not served here.", reason="forbidden", status=403)
