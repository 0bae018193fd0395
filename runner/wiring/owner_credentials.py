"""Credentials of the embedded cloud's owner for Google's client libraries.

``owner_session`` does the same for plain requests, without loading Google's libraries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.auth.credentials import Credentials
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import AuthorizedSession

if TYPE_CHECKING:
    from runner.emulator.control import Endpoint


class OwnerCredentials(Credentials):
    """The token of an embedded cloud, read from its file when it is first needed, and again when it is rejected."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._endpoint = endpoint

    def refresh(self, request: Any) -> None:
        """Read the token.

        Raises:
            RefreshError: the embedded cloud was deleted, and its token with it.
        """
        try:
            self.token = self._endpoint.read_token()
        except OSError as error:
            raise RefreshError(f"the embedded cloud's token cannot be read: {error}") from error


def new_credentialed_session(endpoint: Endpoint) -> AuthorizedSession:
    """Return a session of the owner for Google's client libraries."""
    session = AuthorizedSession(OwnerCredentials(endpoint))
    session.trust_env = False  # a proxy cannot reach our loopback address
    return session
