"""The objects of one bucket: list, read, write, delete, and download, also from where a download was cut off."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from runner.errors import CloudError, ConflictError, NotFoundError, UnreachableError
from runner.google.retry import FIRST_DELAY_S, LONGEST_DELAY_S, RETRY_BUDGET_S, RetryPolicy, is_worth_a_retry
from runner.google.storage_errors import mapped_errors
from runner.model.foreign import MOST_BYTES
from runner.system.backoff import Backoff
from runner.system.files import download_error

if TYPE_CHECKING:
    from google.cloud.storage import Bucket, Client

_log = logging.getLogger(__name__)

ANSWER_LIMIT_S = (10.0, 60.0)  # connect, silence
PIECE_BYTES = 8 << 20  # of an upload; Google asks for a multiple of 256 KiB
LISTED_FIELDS = "items(name,size,crc32c,generation),prefixes,nextPageToken"


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """An object as the bucket's list has it. ``crc32c`` is the server's own: base64 of four bytes, big-endian."""

    name: str
    size: int
    crc32c: str
    generation: int


def _ignore_bytes(count: int) -> None:
    return None


class Objects:
    """The objects of one bucket. Safe for several threads. Every call may raise CloudError.

    Answers 429 and 5xx and broken connections are tried again, with jitter, until ``retry_budget_s`` is spent.
    """

    def __init__(
        self, new_client: Callable[[], Client], bucket: str, *, retry_budget_s: float = RETRY_BUDGET_S
    ) -> None:
        self._new_client = new_client
        self._client: Client | None = None
        self._retry_budget_s = retry_budget_s
        self.bucket = bucket

    def exists(self) -> bool:
        """Return whether the bucket exists."""
        with mapped_errors(f"bucket {self.bucket}"):
            return bool(self._opened().exists(**self._tries()))

    def listed(self, prefix: str) -> Iterator[StoredObject]:
        """Yield all objects with this prefix, in the order of their names."""
        with mapped_errors(f"bucket {self.bucket}"):
            for blob in self._opened().list_blobs(prefix=prefix, fields=LISTED_FIELDS, **self._tries()):
                yield StoredObject(
                    name=str(blob.name),
                    size=int(blob.size or 0),
                    crc32c=str(blob.crc32c or ""),
                    generation=int(blob.generation or 0),
                )

    def folders(self, prefix: str) -> list[str]:
        """Return the parts of names that follow this prefix, up to the next slash."""
        with mapped_errors(f"bucket {self.bucket}"):
            pages = self._opened().list_blobs(prefix=prefix, delimiter="/", fields=LISTED_FIELDS, **self._tries())
            list(pages)  # prefixes are known when all pages have been read
            return sorted(str(found).removeprefix(prefix).rstrip("/") for found in pages.prefixes)

    def read(self, name: str, *, generation: int = 0) -> tuple[bytes, int]:
        """Return content and generation of a small object. ``generation``: only this one.

        Raises:
            NotFoundError: there is none, or none of this generation any more.
            CloudError: it is too big.
        """
        # The client's own retries leave the connections of refusals that it has not read open.
        policy = RetryPolicy(budget_s=self._retry_budget_s)
        return policy.run(lambda: self._read_once(name, generation), is_idempotent=True)

    def _read_once(self, name: str, generation: int) -> tuple[bytes, int]:
        with mapped_errors(name):
            blob = self._opened().blob(name, generation=generation or None)
            sink = _Memory(name)
            blob.download_to_file(sink, checksum="crc32c", raw_download=True, timeout=ANSWER_LIMIT_S, retry=None)
            return bytes(sink.content), int(blob.generation or 0)

    def write(self, name: str, content: bytes, *, if_generation: int | None = None) -> int:
        """Write a small object; return its new generation. ``if_generation``: only over this one, 0: only if there is none.

        Raises:
            ConflictError: it is of another generation, with other content.
        """
        blob = self._opened().blob(name)
        try:
            with mapped_errors(name):
                blob.upload_from_string(content, checksum="crc32c", if_generation_match=if_generation, **self._tries())
                return int(blob.generation or 0)
        except ConflictError:
            # An answer that was lost on its way makes the repeated request fail on what the first one wrote.
            found, generation = self.read(name)
            if found != content:
                raise
            return generation

    def write_file(self, name: str, content: IO[bytes]) -> None:
        """Write an object of any size, piece by piece: the whole file ``content``."""
        size = content.seek(0, os.SEEK_END)
        with mapped_errors(name):
            blob = self._opened().blob(name, chunk_size=PIECE_BYTES)
            blob.upload_from_file(content, rewind=True, size=size, checksum="crc32c", **self._tries())

    def delete(self, name: str) -> bool:
        """Delete an object; return whether there was one."""
        try:
            with mapped_errors(name):
                self._opened().blob(name).delete(**self._tries())
        except NotFoundError:
            return False
        return True

    def delete_all(self, names: Sequence[str]) -> None:
        """Delete a few objects in one request; those that no longer exist are no error."""
        try:
            with mapped_errors(f"bucket {self.bucket}"):
                bucket = self._opened()
                with bucket.client.batch():
                    for name in names:
                        bucket.blob(name).delete(timeout=ANSWER_LIMIT_S)
        except CloudError:
            for name in names:  # one error hides the others
                self.delete(name)

    def copy_down(self, found: StoredObject, into: Path, *, on_bytes: Callable[[int], None] = _ignore_bytes) -> None:
        """Download an object to the file ``into``, continuing after what the file has, which must be of this generation.

        ``on_bytes`` gets the number of new bytes; an exception of it ends the download, and the bytes so far stay.

        Raises:
            DiskError: the file cannot be written.
            NotFoundError: this generation no longer exists.
        """
        backoff = Backoff(budget_s=self._retry_budget_s, first_s=FIRST_DELAY_S, longest_s=LONGEST_DELAY_S)
        with _opened_file(into) as file:
            if file.tell() > found.size:
                file.truncate(0)
            while (begun := file.seek(0, 2)) < found.size:
                try:
                    with mapped_errors(found.name):
                        self._copy_rest(found, _Sink(file, on_bytes), begun)
                    if file.tell() == begun:
                        raise UnreachableError(f"{found.name}: empty answer")
                except CloudError as error:
                    _close_answer(error)
                    if file.tell() > begun:
                        backoff.renew()
                    _log.info(
                        "%s: the download broke off at %d of %d bytes: %s", found.name, file.tell(), found.size, error
                    )
                    if not is_worth_a_retry(error, is_idempotent=True) or not backoff.pause():
                        raise

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _copy_rest(self, found: StoredObject, sink: _Sink, begun: int) -> None:
        blob = self._opened().blob(found.name, generation=found.generation or None)
        blob.download_to_file(
            sink,
            start=begun or None,
            raw_download=True,
            checksum=None,  # a part has none; the whole file is checked when it is complete
            timeout=ANSWER_LIMIT_S,
            retry=None,
        )

    def _tries(self) -> dict[str, Any]:
        """Return time limit and retries of a call to the client."""
        from google.cloud.storage.retry import DEFAULT_RETRY

        paced = DEFAULT_RETRY.with_delay(initial=FIRST_DELAY_S, maximum=LONGEST_DELAY_S, multiplier=2.0)
        return {"timeout": ANSWER_LIMIT_S, "retry": paced.with_timeout(self._retry_budget_s)}

    def _opened(self) -> Bucket:
        if self._client is None:
            self._client = self._new_client()
        return self._client.bucket(self.bucket)


class _Sink:
    """A file for the storage client to write to, whose own errors are distinguished from those of the connection."""

    def __init__(self, file: IO[bytes], on_bytes: Callable[[int], None]) -> None:
        self._file = file
        self._on_bytes = on_bytes

    def write(self, content: bytes) -> int:
        """Write all of it."""
        rest = memoryview(content)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise download_error(error, getattr(self._file, "name", "")) from error
        self._on_bytes(len(content))
        return len(content)


class _Memory:
    """Memory for a small object. A big one was put into the bucket by an attacker."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.content = bytearray()

    def write(self, content: bytes) -> int:
        """Add the bytes, unless the object becomes too big."""
        if len(self.content) + len(content) > MOST_BYTES:
            raise CloudError(f"{self._name} has more than {MOST_BYTES} bytes, so it is not read")
        self.content += content
        return len(content)


def _close_answer(error: CloudError) -> None:
    """Close an answer that is not read to its end: it would keep its connection."""
    answer = getattr(error.__cause__, "response", None)
    if answer is not None:
        answer.close()


def _opened_file(path: Path) -> IO[bytes]:
    """Open without a buffer: the part of a broken download is on the disk, and a full disk is noticed when it is written to."""
    try:
        return path.open("ab", buffering=0)
    except OSError as error:
        raise download_error(error, path) from error
