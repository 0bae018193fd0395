"""Resumable uploads that have begun: the caller and the object of each. Their IDs are credentials, as at Google."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runner.emulator.iam import Caller
from runner.emulator.state import Clock
from runner.emulator.storage.object_requests import ObjectRequest

LIFETIME_S = 7 * 86400.0


@dataclass(frozen=True, kw_only=True)
class UploadSession:
    """``caller`` began it, and counts as the caller of every part, whoever sends it. ``conditions`` must still hold at the end."""

    caller: Caller
    bucket: str
    name: str
    conditions: Mapping[str, str]
    ends_at: float


class UploadSessions:
    """The uploads by ID, in memory, as in the object store behind us: a restart ends them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sessions: dict[str, UploadSession] = {}

    def begin(self, upload_id: str, caller: Caller, wanted: ObjectRequest) -> None:
        now = self._clock.now()
        self._sessions = {key: one for key, one in self._sessions.items() if one.ends_at > now}
        self._sessions[upload_id] = UploadSession(
            caller=caller,
            bucket=wanted.bucket,
            name=wanted.name,
            conditions=wanted.conditions,
            ends_at=now + LIFETIME_S,
        )

    def find(self, upload_id: str) -> UploadSession | None:
        """Return the upload, None if it is unknown or a week old."""
        session = self._sessions.get(upload_id)
        return session if session is not None and session.ends_at > self._clock.now() else None

    def end(self, upload_id: str) -> None:
        """Remove the upload; no error if it is unknown."""
        self._sessions.pop(upload_id, None)
