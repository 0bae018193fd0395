"""Authentication, before anything else is checked: web pages and requests without a credential are rejected."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs

from runner.emulator.iam import Access, Caller
from runner.emulator.storage import UploadSessions
from runner.emulator.wire import refuse_foreign_names, refuse_web_pages


class Door:
    """Checks each request by its headers (names in lower case)."""

    def __init__(self, access: Access, sessions: UploadSessions) -> None:
        self._access = access
        self._sessions = sessions

    def admit(self, headers: Mapping[str, str], path: str, query: str) -> Caller:
        """Return the caller.

        Raises:
            CloudError: 421 for a foreign name, 403 for a web page.
            PermissionDeniedError: 401 without a credential, or with one that is unknown or expired.
        """
        refuse_foreign_names(headers.get("host", ""))
        refuse_web_pages(headers)
        authorization = headers.get("authorization")
        if authorization is None and (starter := self._starter(path, query)) is not None:
            return starter
        return self._access.identify(authorization)

    def _starter(self, path: str, query: str) -> Caller | None:
        """Return the caller that began a resumable upload: its URI is a credential of its own, as at Google."""
        upload_id = parse_qs(query).get("upload_id", [""])[-1]
        session = self._sessions.find(upload_id) if path.startswith("/upload/") else None
        return None if session is None else session.caller
