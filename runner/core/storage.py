"""Result sets in the bucket: which are there, bring one home verified, delete it there.

A result set is what one attempt of a job left: an archive, a manifest with sizes and CRC32C, a commit marker written last.
Without the marker it is not there for us.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.core.rest import RETRY_BUDGET_S
from runner.core.results import Manifest, read_manifest, unpack_archive
from runner.errors import CloudError, NotFoundError, UnreachableError
from runner.model import names

if TYPE_CHECKING:
    from google.cloud.storage import Bucket, Client


@dataclass(frozen=True, kw_only=True)
class ResultSet:
    """One attempt's committed results. ``prefix`` ends with a slash."""

    batch: str
    job: str
    attempt: int
    prefix: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class BucketUse:
    """What a batch has in the bucket."""

    batch: str
    objects: int
    size_bytes: int


class Buckets:
    """Buckets of a project by name. Every call may raise CloudError."""

    def __init__(self, new_client: Callable[[], Client]) -> None:
        self._new_client = new_client

    def exists(self, name: str) -> bool:
        """Whether the bucket is there."""
        with _mapped_errors(f"bucket {name}"):
            return bool(self._new_client().bucket(name).exists(timeout=RETRY_BUDGET_S))

    def make_state_bucket(self, name: str, location: str) -> None:
        """A private bucket that keeps old versions: a lost or half-written state can be taken back."""
        with _mapped_errors(f"bucket {name}"):
            bucket = self._new_client().bucket(name)
            bucket.versioning_enabled = True
            bucket.iam_configuration.uniform_bucket_level_access_enabled = True
            bucket.iam_configuration.public_access_prevention = "enforced"
            bucket.labels = {"app": names.APP}
            bucket.create(location=location, timeout=RETRY_BUDGET_S)


class ResultStore:
    """The results bucket of a project.

    Listing and downloading are idempotent. ``delete`` is idempotent: what is gone already is no error. Safe for several
    threads. Every call may raise CloudError; broken connections and 5xx are retried by the client library.
    """

    def __init__(self, new_client: Callable[[], Client], bucket: str) -> None:
        self._new_client = new_client
        self._client: Client | None = None
        self.bucket = bucket

    def exists(self) -> bool:
        """Whether the bucket is there."""
        with _mapped_errors(f"bucket {self.bucket}"):
            return bool(self._opened().exists(timeout=RETRY_BUDGET_S))

    def result_sets(self, batch: str) -> list[ResultSet]:
        """The committed result sets of a batch."""
        sizes: dict[str, int] = {}
        committed: list[str] = []
        for name, size in self._objects(f"{batch}/"):
            prefix, _, last = name.rpartition("/")
            sizes[prefix] = sizes.get(prefix, 0) + size
            if last == names.COMMIT_MARKER:
                committed.append(prefix)
        found = (_result_set(prefix, sizes[prefix]) for prefix in committed)
        return sorted((item for item in found if item), key=lambda item: (item.job, item.attempt))

    def download(self, found: ResultSet, into: Path) -> Manifest:
        """Bring a result set home to the folder ``into``, which is whole afterwards or not there.

        Raises:
            CorruptResultsError: size or CRC32C is not what the manifest says, or a file's name is hostile.
        """
        manifest = read_manifest(json.loads(self._read(found.prefix + names.MANIFEST)))
        into.parent.mkdir(parents=True, exist_ok=True)
        archive = into.parent / f".{into.name}.{names.RESULTS_ARCHIVE}"
        try:
            with _mapped_errors(found.prefix), archive.open("wb") as file:
                blob = self._opened().blob(found.prefix + names.RESULTS_ARCHIVE)
                blob.download_to_file(file, checksum="crc32c", timeout=RETRY_BUDGET_S)
            unpack_archive(archive, manifest, into)
        finally:
            archive.unlink(missing_ok=True)
        return manifest

    def delete(self, found: ResultSet) -> None:
        """Delete a result set in the bucket: marker first, so that a half deleted set is never taken for a whole one."""
        for name in (names.COMMIT_MARKER, names.RESULTS_ARCHIVE, names.MANIFEST):
            try:
                with _mapped_errors(found.prefix + name):
                    self._opened().blob(found.prefix + name).delete(timeout=RETRY_BUDGET_S)
            except NotFoundError:
                continue

    def discard_unfinished(self, batch: str) -> list[str]:
        """Delete what a push of this batch left without a commit marker; the prefixes. Only when no VM can go on with it."""
        prefixes = {item.prefix for item in self.result_sets(batch)}
        unfinished = [name for name, _ in self._objects(f"{batch}/") if name.rpartition("/")[0] + "/" not in prefixes]
        for name in unfinished:
            try:
                with _mapped_errors(name):
                    self._opened().blob(name).delete(timeout=RETRY_BUDGET_S)
            except NotFoundError:
                continue
        return sorted({name.rpartition("/")[0] for name in unfinished})

    def preempted(self, batch: str) -> list[str]:
        """The VMs of a batch that were told to go and said so, as their last act."""
        prefix = names.preemption_marker(batch, "")
        return [name.removeprefix(prefix) for name, _ in self._objects(prefix)]

    def batches(self) -> list[str]:
        """The batches that have something in the bucket."""
        with _mapped_errors(f"bucket {self.bucket}"):
            found = self._opened().list_blobs(delimiter="/", timeout=RETRY_BUDGET_S)
            list(found)  # prefixes are known when all pages have been read
            return sorted(str(prefix).rstrip("/") for prefix in found.prefixes)

    def use(self) -> list[BucketUse]:
        """What each batch has in the bucket."""
        found: dict[str, tuple[int, int]] = {}
        for name, size in self._objects(""):
            batch = name.split("/", 1)[0]
            objects, total = found.get(batch, (0, 0))
            found[batch] = (objects + 1, total + size)
        return [BucketUse(batch=batch, objects=n, size_bytes=size) for batch, (n, size) in sorted(found.items())]

    def _objects(self, prefix: str) -> Iterator[tuple[str, int]]:
        with _mapped_errors(f"bucket {self.bucket}"):
            for blob in self._opened().list_blobs(prefix=prefix, timeout=RETRY_BUDGET_S):
                yield str(blob.name), int(blob.size or 0)

    def _read(self, name: str) -> bytes:
        with _mapped_errors(name):
            return bytes(self._opened().blob(name).download_as_bytes(checksum="crc32c", timeout=RETRY_BUDGET_S))

    def _opened(self) -> Bucket:
        if self._client is None:
            self._client = self._new_client()
        return self._client.bucket(self.bucket)


def _result_set(prefix: str, size_bytes: int) -> ResultSet | None:
    """The set below ``prefix``, or None if the prefix is not one of ours."""
    parts = prefix.split("/")
    if len(parts) != 3 or not parts[2].removeprefix("attempt-").isdecimal():
        return None
    batch, job, attempt = parts
    if not (names.is_batch_name(batch) and names.is_job_name(job)):
        return None
    number = int(attempt.removeprefix("attempt-"))
    return ResultSet(batch=batch, job=job, attempt=number, prefix=prefix + "/", size_bytes=size_bytes)


@contextmanager
def _mapped_errors(what: str) -> Iterator[None]:
    """Errors of the storage client as ours."""
    import requests
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from google.auth.exceptions import GoogleAuthError

    from runner.core.rest import cloud_error

    try:
        yield
    except GoogleAPICallError as error:
        raise cloud_error(int(error.code or 0), _as_json(error), what) from error
    except (RetryError, requests.RequestException) as error:
        raise UnreachableError(f"{what}: no answer from Cloud Storage: {error}") from error
    except GoogleAuthError as error:
        raise CloudError(f"{what}: {error}", remedy="run `gcloud auth application-default login`") from error


def _as_json(error: Any) -> str:
    details: list[Mapping[str, Any]] = list(getattr(error, "errors", None) or [])
    return json.dumps({"error": {"message": error.message, "errors": details}}, default=str)
