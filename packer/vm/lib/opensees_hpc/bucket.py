"""The results bucket as the VM sees it: objects are created, never overwritten. Only this module uses Google's client."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import google.auth.exceptions
import requests.exceptions
from google.api_core import exceptions as api
from google.api_core.retry import Retry
from google.auth.compute_engine import Credentials
from google.cloud import storage
from google.cloud.storage import exceptions as media

from .archive import Checked, Sink

ARCHIVE_TYPE = "application/zstd"
UPLOAD_CHUNK_BYTES = 8 << 20
REQUEST_TIMEOUT_S = 60
QUICK_RETRY_S = 20.0
"""For one request inside the client; after that the push's own retry takes over, which counts against its budget."""


class PushError(Exception):
    """A push failed. ``exit_code`` as in packer/README.md."""

    exit_code = 1
    is_transient = False


class UnreachableError(PushError):
    """No answer, a server error, or an answer whose checksum is not ours."""

    exit_code = 6
    is_transient = True


class DeniedError(PushError):
    """401 or 403. A grant may take minutes to arrive, so it is tried again."""

    exit_code = 4
    is_transient = True


class MissingBucketError(PushError):
    """404."""

    exit_code = 4


class ExistsError(PushError):
    """An object of that name already exists."""

    exit_code = 5


class Bucket:
    """One bucket, with the VM's own service account from the metadata server."""

    def __init__(self, name: str) -> None:
        credentials = Credentials(universe_domain="googleapis.com")
        # Requests about objects need no project.
        self._bucket = storage.Client(project="none", credentials=credentials).bucket(name)

    def create_streamed(self, name: str, fill: Callable[[Sink], None]) -> None:
        """Create an object from the bytes that ``fill`` writes: in one request if it is small, else as a resumable upload.

        The client compares the server's CRC32C with its own at the end.
        """
        blob = self._bucket.blob(name)
        upload = _Upload(lambda: _open_writer(blob))
        if not _call(name, lambda: _fill(upload, fill)):
            self.create(name, upload.held(), ARCHIVE_TYPE)

    def create(self, name: str, content: bytes, content_type: str) -> None:
        """Create a small object."""
        blob = self._bucket.blob(name)
        _call(
            name,
            lambda: blob.upload_from_string(
                content,
                content_type=content_type,
                if_generation_match=0,
                checksum="crc32c",
                timeout=REQUEST_TIMEOUT_S,
                retry=_quick_retry(),
            ),
        )

    def look_at(self, name: str) -> Checked | None:
        """Return size and checksum of an object, None if it does not exist or may not be read."""
        try:
            blob = _call(name, lambda: self._bucket.get_blob(name, timeout=REQUEST_TIMEOUT_S, retry=_quick_retry()))
        except DeniedError:
            return None
        return None if blob is None else Checked(size=int(blob.size), crc32c=str(blob.crc32c))


class _Upload:
    """A sink that buffers the first bytes, and opens the resumable upload only when there are more."""

    def __init__(self, open_writer: Callable[[], Any]) -> None:
        self._open_writer = open_writer
        self._held = bytearray()
        self.writer: Any = None

    def write(self, data: bytes, /) -> int:
        if self.writer is None:
            self._held += data
            if len(self._held) > UPLOAD_CHUNK_BYTES:
                self.writer = self._open_writer()
                self.writer.write(bytes(self._held))
                self._held.clear()
        else:
            self.writer.write(data)
        return len(data)

    def held(self) -> bytes:
        return bytes(self._held)


def _fill(upload: _Upload, fill: Callable[[Sink], None]) -> bool:
    """Return whether everything went into a resumable upload, which is then closed; after an error it is cancelled."""
    try:
        fill(upload)
    except BaseException:
        if upload.writer is not None:
            # The bytes sent so far must not become an object. The first error counts, not one while cancelling.
            with contextlib.suppress(Exception):
                upload.writer.terminate()
        raise
    if upload.writer is None:
        return False
    upload.writer.close()
    return True


def _open_writer(blob: storage.Blob) -> Any:
    """Open a resumable upload after checking that the object does not exist, so that no large upload is wasted."""
    with contextlib.suppress(api.Forbidden):
        if blob.exists(timeout=REQUEST_TIMEOUT_S, retry=_quick_retry()):
            raise ExistsError(f"{blob.name} already exists")
    return blob.open(
        "wb",
        chunk_size=UPLOAD_CHUNK_BYTES,
        ignore_flush=True,
        if_generation_match=0,
        checksum="crc32c",
        content_type=ARCHIVE_TYPE,
        timeout=REQUEST_TIMEOUT_S,
        retry=_quick_retry(),
    )


def _quick_retry() -> Retry:
    from google.cloud.storage.retry import DEFAULT_RETRY

    retry: Retry = DEFAULT_RETRY.with_timeout(QUICK_RETRY_S)
    return retry


def _call(name: str, request: Callable[[], Any]) -> Any:
    """Send a request and raise the client's errors as ours."""
    try:
        return request()
    except api.GoogleAPICallError as error:
        raise _by_status(int(error.code or 0), name, error) from error
    except media.InvalidResponse as error:
        raise _by_status(error.response.status_code, name, error) from error
    except google.auth.exceptions.GoogleAuthError as error:
        raise UnreachableError(f"no token from the metadata server: {error}") from error
    except (requests.exceptions.RequestException, media.DataCorruption, api.RetryError, OSError) as error:
        raise UnreachableError(f"{name}: {error}") from error


def _by_status(status: int, name: str, error: Exception) -> PushError:
    if status in (401, 403):
        return DeniedError(f"{name}: the service account may not do this: {error}")
    if status == 404:
        return MissingBucketError(f"{name}: no such bucket: {error}")
    if status in (409, 412):
        return ExistsError(f"{name} already exists")
    return UnreachableError(f"{name}: {error}")
