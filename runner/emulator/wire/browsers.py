"""Web pages are turned away. A browser sends what any page asks of it, to loopback too, as the user in front of it.

It is known by the name under which it came (DNS rebinding), and by what browsers alone send along.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from runner.errors import CloudError

#: What a browser says of a request that nobody typed. ``none`` is one that its user typed.
_PAGES = ("cross-site", "same-site", "same-origin")


def refuse_foreign_names(host: str) -> None:
    """Raises: CloudError, if the request is for a name that is not this computer's own."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    if name.lower() not in ("localhost", "[::1]") and not _is_loopback(name):
        raise CloudError(f"The server does not answer for '{name}'.", reason="misdirected", status=421)


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.IPv4Address(name).is_loopback
    except ValueError:
        return False


def refuse_web_pages(headers: Mapping[str, str]) -> None:
    """Raises: CloudError, if a browser sent this for a page."""
    if "origin" in headers or headers.get("sec-fetch-site", "none") in _PAGES:
        raise CloudError("Web pages are not served here.", reason="forbidden", status=403)
