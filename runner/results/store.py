"""Result sets in the bucket: list, read and delete them; and the control objects of batches.

A result set is what one attempt of a job left: an archive, a manifest with sizes and CRC32C, a commit marker written last.
Without the marker it is incomplete. Nothing in the bucket is ever overwritten: a set that is pushed again has a prefix of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from runner.errors import NotFoundError
from runner.google import RETRY_BUDGET_S, Objects, StoredObject
from runner.model import names
from runner.model.foreign import MOST_BYTES, decode_json
from runner.results.manifest import CorruptResultsError, Manifest, read_manifest

if TYPE_CHECKING:
    from google.cloud.storage import Client


@dataclass(frozen=True, kw_only=True)
class ResultSet:
    """One attempt's results. ``prefix`` ends with a slash; ``push`` counts from 1; above 1 it was pushed again."""

    batch: str
    job: str
    attempt: int
    prefix: str
    size_bytes: int
    push: int = 1
    is_committed: bool = True
    archive: StoredObject | None = None
    manifest: StoredObject | None = None

    def __str__(self) -> str:
        again = f", push {self.push}" if self.push > 1 else ""
        return f"{self.job}, attempt {self.attempt}{again}"


@dataclass(frozen=True, kw_only=True)
class BucketUse:
    """What a batch has in the bucket."""

    batch: str
    objects: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class ControlObject:
    """A small object that controls a batch. ``generation`` changes with each write."""

    content: bytes
    generation: int


class ResultStore:
    """The results bucket of a project.

    Every call is idempotent: deleting what is gone already is no error. Safe for several threads. Every call may raise
    CloudError; before that, broken connections, 429 and 5xx are retried with jitter until ``retry_budget_s`` is spent.
    """

    def __init__(
        self, new_client: Callable[[], Client], bucket: str, *, retry_budget_s: float = RETRY_BUDGET_S
    ) -> None:
        self.objects = Objects(new_client, bucket, retry_budget_s=retry_budget_s)
        self.bucket = bucket

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        self.objects.close()

    def exists(self) -> bool:
        """Return whether the bucket exists."""
        return self.objects.exists()

    def all_sets(self, batch: str, *, job: str = "", attempt: int = 0) -> list[ResultSet]:
        """Return the result sets of a batch, or of one attempt of a job, committed or not, in one listing."""
        prefix = names.result_prefix(batch, job, attempt).rstrip("/") if job else f"{batch}/"
        found = _as_sets(self.objects.listed(prefix))
        mine = [item for item in found if not job or (item.job, item.attempt) == (job, attempt)]
        return sorted(mine, key=lambda item: (item.job, item.attempt, item.push))

    def result_sets(self, batch: str, *, job: str = "", attempt: int = 0) -> list[ResultSet]:
        """Return the committed result sets of a batch, or of one attempt of a job."""
        return [item for item in self.all_sets(batch, job=job, attempt=attempt) if item.is_committed]

    def everything(self) -> list[ResultSet]:
        """Return the result sets of all batches, committed or not."""
        return sorted(
            _as_sets(self.objects.listed("")), key=lambda item: (item.batch, item.job, item.attempt, item.push)
        )

    def read_manifest(self, found: ResultSet) -> Manifest:
        """Read the manifest of a result set.

        Raises:
            CorruptResultsError: the manifest is missing or invalid.
            NotFoundError: since it was listed it is gone, or has been replaced.
        """
        if found.manifest is None:
            raise CorruptResultsError(f"{found}: the manifest is missing")
        if found.manifest.size > MOST_BYTES:
            raise CorruptResultsError(
                f"{found}: the manifest has {found.manifest.size} bytes; at most {MOST_BYTES} are read"
            )
        content, _ = self.objects.read(found.manifest.name, generation=found.manifest.generation)
        try:
            values = decode_json(content)
        except ValueError as error:
            raise CorruptResultsError(f"{found}: the manifest is not JSON: {error}") from error
        return read_manifest(values)

    def delete_marker(self, found: ResultSet) -> None:
        """Delete the commit marker, as the first step: from then on no client takes the set for a complete one."""
        self.objects.delete(found.prefix + names.COMMIT_MARKER)

    def delete(self, found: ResultSet) -> None:
        """Delete a result set, marker first."""
        self.delete_marker(found)
        self.delete_contents(found)

    def delete_contents(self, found: ResultSet) -> None:
        """Delete all but the marker, as the second step."""
        self.objects.delete_all([found.prefix + name for name in (names.RESULTS_ARCHIVE, names.MANIFEST)])

    def discard_unfinished(self, batch: str) -> list[str]:
        """Delete what a push of this batch left without a commit marker; return the prefixes. Only when no VM can continue it."""
        listed = [item.name for item in self.objects.listed(f"{batch}/")]
        committed = {_folder(name) for name in listed if name.endswith("/" + names.COMMIT_MARKER)}
        unfinished = [name for name in listed if _folder(name) not in committed]
        for name in unfinished:
            self.objects.delete(name)
        return sorted({_folder(name) for name in unfinished})

    def batches(self) -> list[str]:
        """Return the names of batches that have objects in the bucket, including control objects."""
        own = (name for name in self.objects.folders("") if names.is_batch_name(name))
        return sorted({*own, *self.controlled_batches()})

    def use(self) -> list[BucketUse]:
        """Return what each batch has in the bucket; control objects are not counted."""
        found: dict[str, tuple[int, int]] = {}
        for item in self.objects.listed(""):
            batch = item.name.split("/", 1)[0]
            if batch != names.CONTROL_PREFIX:
                objects, total = found.get(batch, (0, 0))
                found[batch] = (objects + 1, total + item.size)
        return [BucketUse(batch=batch, objects=n, size_bytes=size) for batch, (n, size) in sorted(found.items())]

    def controlled_batches(self) -> list[str]:
        """Return the batches that have control objects."""
        return self.objects.folders(f"{names.CONTROL_PREFIX}/")

    def list_control(self, batch: str) -> list[str]:
        """Return the names of a batch's control objects, such as ``lease.json`` and ``inputs/a.tar.gz``."""
        prefix = names.control_prefix(batch)
        return [item.name.removeprefix(prefix) for item in self.objects.listed(prefix)]

    def get_control(self, batch: str, name: str) -> ControlObject | None:
        """Read a control object of a batch; None if there is none."""
        try:
            content, generation = self.objects.read(names.control_prefix(batch) + name)
        except NotFoundError:
            return None
        return ControlObject(content=content, generation=generation)

    def put_control(self, batch: str, name: str, content: bytes, *, if_generation: int | None = None) -> int:
        """Write a control object; return its new generation. ``if_generation``: only over this one, 0: only if there is none.

        Raises:
            ConflictError: another client has written other content in the meantime.
        """
        return self.objects.write(names.control_prefix(batch) + name, content, if_generation=if_generation)

    def find_control(self, batch: str, name: str) -> StoredObject | None:
        """Find a control object as it is listed; None if there is none."""
        full = names.control_prefix(batch) + name
        return next((item for item in self.objects.listed(full) if item.name == full), None)

    def put_control_file(self, batch: str, name: str, content: IO[bytes]) -> None:
        """Write a control object that may be big, from a file."""
        self.objects.write_file(names.control_prefix(batch) + name, content)

    def delete_control(self, batch: str) -> None:
        """Delete all control objects of a batch."""
        for item in list(self.objects.listed(names.control_prefix(batch))):
            self.objects.delete(item.name)

    def copy_archive(self, found: ResultSet, into: Path, *, on_bytes: Callable[[int], None]) -> None:
        """Download a set's archive to the file ``into``, or the rest of it; see ``Objects.copy_down``."""
        if found.archive is None:
            raise CorruptResultsError(f"{found}: the archive is missing")
        self.objects.copy_down(found.archive, into, on_bytes=on_bytes)


def _as_sets(listed: Iterable[StoredObject]) -> list[ResultSet]:
    """Group objects into result sets; ignore objects that are not below one of our prefixes."""
    folders: dict[str, dict[str, StoredObject]] = {}
    for item in listed:
        folders.setdefault(_folder(item.name), {})[item.name.rpartition("/")[2]] = item
    found = (_as_set(prefix, items) for prefix, items in folders.items())
    return [item for item in found if item is not None]


def _as_set(prefix: str, items: dict[str, StoredObject]) -> ResultSet | None:
    parts = names.read_result_prefix(prefix)
    if parts is None:
        return None
    batch, job, attempt, push = parts
    return ResultSet(
        batch=batch,
        job=job,
        attempt=attempt,
        push=push,
        prefix=prefix + "/",
        size_bytes=sum(item.size for item in items.values()),
        is_committed=names.COMMIT_MARKER in items,
        archive=items.get(names.RESULTS_ARCHIVE),
        manifest=items.get(names.MANIFEST),
    )


def _folder(name: str) -> str:
    return name.rpartition("/")[0]
