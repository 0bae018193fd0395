"""Plain requests with the token of the embedded cloud's owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import requests

if TYPE_CHECKING:
    from runner.emulator.control import Endpoint


def new_owner_session(endpoint: Endpoint) -> requests.Session:
    """Return a session that sends the owner's token, for requests to the embedded cloud only."""
    session = requests.Session()
    session.trust_env = False  # a proxy cannot reach our loopback address
    session.auth = _Owner(endpoint)
    return session


class _Owner(requests.auth.AuthBase):
    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the token.

        Raises:
            requests.ConnectionError: the embedded cloud was deleted, and its token with it.
        """
        try:
            request.headers.update(self._endpoint.headers)
        except OSError as error:
            raise requests.ConnectionError(f"the embedded cloud's token cannot be read: {error}") from error
        return request
