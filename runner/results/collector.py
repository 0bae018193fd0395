"""Downloads while a batch runs: list the bucket, fetch several sets at once, report what is wrong with each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from runner.errors import CloudError, DiskError, NotFoundError, UnreachableError
from runner.google import is_worth_a_retry
from runner.model.events import Listener, ResultsUnfinished
from runner.results.claims import remove_leftovers
from runner.results.corrupt_pushes import CorruptPushes
from runner.results.delivery import Delivery, no_step
from runner.results.download_status import DownloadStatus
from runner.results.manifest import CorruptResultsError, NoRoomError
from runner.results.store import ResultSet, ResultStore
from runner.results.tracker import DownloadedSet, DownloadTracker
from runner.system.backoff import Backoff
from runner.system.files import download_error

THREADS = 8
SHORTEST_LOOK_S = 0.5
LONGEST_LOOK_S = 10.0
TICK_S = 0.1
FINISH_BUDGET_S = 10 * 60.0


class _Stopped(Exception):  # noqa: N818 (no error: the download continues another time)
    """Stopped in the middle of a download."""


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What is downloaded. ``corrupt``: what is wrong, by prefix in the bucket; ``unfinished``: prefixes of unfinished pushes."""

    downloaded: tuple[DownloadedSet, ...]
    corrupt: dict[str, str]
    unfinished: tuple[str, ...]


def _ignore_downloaded(downloaded: DownloadedSet) -> None:
    return None


class Collector:
    """Downloads the result sets of a batch, each once, whatever is interrupted. Safe for several threads and processes.

    ``on_downloaded(set)``: called when it is downloaded, and not yet deleted in the bucket; after a crash perhaps again. ``on_step``,
    ``keeps_remote``: see ``Delivery``.
    """

    def __init__(
        self,
        store: ResultStore,
        batch: str,
        tracker: DownloadTracker,
        listener: Listener,
        *,
        on_downloaded: Callable[[DownloadedSet], None] = _ignore_downloaded,
        on_step: Callable[[str, ResultSet], None] = no_step,
        keeps_remote: bool = False,
    ) -> None:
        self._store = store
        self._batch = batch
        self._tracker = tracker
        self._listener = listener
        self._status = DownloadStatus(listener)
        self._corrupt = CorruptPushes(listener)
        self._delivery = Delivery(
            store=self._store,
            tracker=tracker,
            on_downloaded=on_downloaded,
            on_step=on_step,
            keeps_remote=keeps_remote,
        )
        self._changed = threading.Condition()
        self._wanted: set[tuple[str, int]] = set()
        self._given_up: set[tuple[str, int]] = set()
        self._busy: set[str] = set()

    def wanted(self, job: str, attempt: int) -> None:
        """Let ``run`` fetch this attempt at once: it has been pushed."""
        with self._changed:
            self._wanted.add((job, attempt))
            self._changed.notify_all()

    def wait_downloaded(self, job: str, attempt: int, *, timeout_s: float, least_push: int = 1) -> DownloadedSet | None:
        """Wait until ``run``, in another thread, has downloaded this attempt; return None if that takes too long, or it is given up.

        Raises:
            CorruptPushError: this push of it, or a later one, is corrupt; it stays in the bucket.
            DiskError: no room on the disk; it stays in the bucket.
        """
        self.wanted(job, attempt)
        with self._changed:
            self._changed.wait_for(lambda: self._is_decided(job, attempt, least_push), timeout_s)
        downloaded = self._tracker.find(job, attempt)
        if downloaded is None and (disk := self._status.find_disk(job, attempt)):
            raise disk
        if downloaded is None and (corrupt := self._corrupt.find(job, attempt, least_push=least_push)):
            raise corrupt
        return downloaded

    def find_downloaded(self, job: str, attempt: int) -> DownloadedSet | None:
        """Return this attempt, if it is downloaded."""
        return self._tracker.find(job, attempt)

    def find_attempts(self, job: str) -> set[int]:
        """Return the attempts of a job that are complete in the bucket, or downloaded. All others are not pushed yet.

        Raises:
            CloudError: the bucket cannot be listed.
        """
        pushed = {found.attempt for found in self._store.result_sets(self._batch) if found.job == job}
        return pushed | {downloaded.attempt for downloaded in self._tracker.downloaded_sets() if downloaded.job == job}

    def give_up(self, job: str, attempt: int) -> None:
        """Release the threads that wait for this attempt: it is not needed any more."""
        with self._changed:
            self._given_up.add((job, attempt))
            self._changed.notify_all()

    def run(self, stop: threading.Event) -> None:
        """Poll and download until ``stop`` is set: wanted sets at once, others with pauses that grow while nothing is downloaded.

        Failures are reported, and retried for as long as it runs. The next call continues downloads that ``stop`` interrupted.
        """
        while not stop.is_set():
            try:
                self._poll(stop)
            except DiskError as error:
                self._status.note_disk(error)
                stop.wait(LONGEST_LOOK_S)
            except Exception as error:  # a fault of ours, or of a library: the other sets are still downloaded
                self._status.note_defect(error)
                stop.wait(LONGEST_LOOK_S)

    def _poll(self, stop: threading.Event) -> None:
        running: set[Future[DownloadedSet | None]] = set()
        backoff = Backoff(first_s=SHORTEST_LOOK_S, longest_s=LONGEST_LOOK_S, factor=1.5)
        look_at = time.monotonic()
        with ThreadPoolExecutor(THREADS, thread_name_prefix="download") as pool:
            while not stop.is_set():
                is_time = time.monotonic() >= look_at
                running |= self._begin(pool, self._look(is_time=is_time), stop)
                ended = {future for future in running if future.done()}
                running -= ended
                results = [future.result() for future in ended]
                came = any(result is not None for result in results)
                if came:
                    backoff.renew()
                if is_time or came:
                    look_at = time.monotonic() + backoff.next_delay_s()
                self._rest(stop)

    def _begin(
        self, pool: ThreadPoolExecutor, chosen: Sequence[ResultSet], stop: threading.Event
    ) -> set[Future[DownloadedSet | None]]:
        """Fetch these. Those for which no thread can be started are released, as no thread would do that later."""
        left = list(reversed(chosen))
        begun: set[Future[DownloadedSet | None]] = set()
        try:
            while left:
                begun.add(pool.submit(self._try, left[-1], stop))
                left.pop()
        except BaseException:
            self._release(left)
            raise
        return begun

    def _release(self, sets: Iterable[ResultSet]) -> None:
        with self._changed:
            self._busy -= {found.prefix for found in sets}
            self._changed.notify_all()

    def finish(self, *, is_over: bool = True, hurry: threading.Event | None = None) -> Collected:
        """Download everything that was committed, and report what was not.

        ``is_over``: no VM can push any more. A set without its marker is then downloaded if it is complete and no newer set of
        its job is, else it is deleted. ``hurry``: as soon as it is set, the rest stays in the bucket.

        Raises:
            DiskError: no room on the disk; what is missing stays in the bucket.
            CloudError: Google Cloud API error, or no progress for a long time; what is missing stays in the bucket.
        """
        hurry = hurry or threading.Event()
        self._wait_until_idle(hurry)
        backoff = _new_backoff()
        while not hurry.is_set() and (due := self._due(self._store.all_sets(self._batch), is_over=is_over)):
            self._fetch_round(due, backoff, hurry)
        return self._close(is_over=is_over and not hurry.is_set())

    def _wait_until_idle(self, hurry: threading.Event) -> None:
        """Wait for downloads of ``run`` that were stopped: they may still be tidying up, or finish after all. Only then is it known
        what is downloaded and what is due."""
        with self._changed:
            while self._busy and not hurry.is_set():
                self._changed.wait(TICK_S)  # a signal that sets ``hurry`` does not notify

    def _fetch_round(self, due: Sequence[ResultSet], backoff: Backoff, hurry: threading.Event) -> None:
        """Fetch one round, cut short by ``hurry``. After a round without progress, wait or give up.

        Raises:
            DiskError: no room on the disk.
            CloudError: another round would not help.
        """
        came = self._fetch_all(due, hurry)
        if hurry.is_set():
            return
        if self._status.disk is not None:
            raise self._status.disk
        if came or any(self._corrupt.is_known(found) for found in due):
            backoff.renew()
            return
        disks = [self._status.find_disk(found.job, found.attempt) for found in due]
        if all(disks) and disks[0] is not None:
            raise disks[0]
        trouble = self._status.trouble or UnreachableError(f"{len(due)} result sets cannot be downloaded")
        if not (is_worth_a_retry(trouble, is_idempotent=True) and backoff.pause()):
            raise trouble

    def _close(self, *, is_over: bool) -> Collected:
        left = self._store.all_sets(self._batch)
        unfinished = tuple(found.prefix for found in left if not found.is_committed)
        if is_over:
            unfinished = tuple(f"{prefix}/" for prefix in self._store.discard_unfinished(self._batch))
        what = "its VM was gone before that; discarded" if is_over else "it may still continue"
        for prefix in unfinished:
            self._listener.report(ResultsUnfinished(prefix=prefix, message=f"the push is not finished: {what}"))
        remove_leftovers(self._tracker.folder)
        prefixes = {found.prefix for found in left}
        corrupt = {prefix: why for prefix, why in self._corrupt.problems().items() if prefix in prefixes}
        return Collected(downloaded=tuple(self._tracker.downloaded_sets()), corrupt=corrupt, unfinished=unfinished)

    def _look(self, *, is_time: bool) -> list[ResultSet]:
        """Choose what ``run`` starts to fetch now. After an error nothing is requested before the next look."""
        with self._changed:
            is_calm = self._status.trouble is None and not self._status.is_paused
            if not (is_time or (self._wanted and is_calm)):
                return []
            wanted, self._wanted = self._wanted, set()
        try:
            if is_time:
                sets = self._store.all_sets(self._batch)
            else:
                sets = [found for job, n in wanted for found in self._store.all_sets(self._batch, job=job, attempt=n)]
        except CloudError as error:
            self._status.note_trouble(error)
            with self._changed:
                self._wanted |= wanted
            return []
        with self._changed:
            self._changed.notify_all()  # another process may have downloaded what a thread waits for
        with self._changed:
            free = [found for found in sets if found.prefix not in self._busy]
        return self._choose(self._due(free))

    def _choose(self, due: Sequence[ResultSet]) -> list[ResultSet]:
        """Choose all; after the disk was full only the smallest, to find out whether it has room again."""
        if not due:
            self._status.note_calm()
        most = 1 if self._status.unpause() else None
        chosen = sorted(due, key=lambda found: found.size_bytes)[:most]
        with self._changed:
            self._busy |= {found.prefix for found in chosen}
        return chosen

    def _due(self, sets: Iterable[ResultSet], *, is_over: bool = False) -> list[ResultSet]:
        """Return the sets to fetch, or only to delete in the bucket because they are downloaded. Some may be in progress."""
        return [found for found in sets if self._is_due(found, is_over=is_over)]

    def _is_due(self, found: ResultSet, *, is_over: bool) -> bool:
        if self._delivery.keeps_remote and self._is_downloaded(found):
            return False
        if self._corrupt.is_known(found):
            return self._delivery.is_superseded(found)
        if found.is_committed or found.archive is None:
            return found.is_committed
        archive = found.archive
        if self._tracker.find_same(found.job, found.attempt, archive.size, archive.crc32c) is not None:
            return True  # a deletion was interrupted after its marker
        known = self._tracker.find(found.job)
        return is_over and found.manifest is not None and (known is None or known.attempt < found.attempt)

    def _is_downloaded(self, found: ResultSet) -> bool:
        return self._delivery.find_on_disk(found) is not None or self._delivery.is_superseded(found)

    def _fetch_all(self, due: Sequence[ResultSet], hurry: threading.Event) -> list[DownloadedSet]:
        """Fetch these, several at once. ``hurry``, or an exception in this thread, interrupts the downloads."""
        self._status.try_again()
        cut = threading.Event()
        with ThreadPoolExecutor(THREADS, thread_name_prefix="download") as pool:
            try:
                return [
                    downloaded
                    for downloaded in pool.map(lambda found: self._try(found, hurry, cut), due)
                    if downloaded is not None
                ]
            except BaseException:
                cut.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _try(self, found: ResultSet, *stops: threading.Event) -> DownloadedSet | None:
        """Fetch one set, unless and until one of ``stops`` is set; report what went wrong."""
        check = _ended_by(stops)
        try:
            if self._status.is_paused or any(stop.is_set() for stop in stops):
                return None
            delivery = replace(self._delivery, on_bytes=lambda count: check(), on_file=check)
            downloaded = delivery.download(found)
            return downloaded if downloaded is not None and self._status.note_downloaded(downloaded) else None
        except (_Stopped, NotFoundError):
            return None  # it continues later, or it is gone since it was listed
        except CorruptResultsError as error:
            self._corrupt.note(found, error)
        except NoRoomError as error:
            self._status.note_too_big(found, error)
        except DiskError as error:
            self._status.note_disk(error)
        except OSError as error:
            self._status.note_disk(download_error(error, self._tracker.folder / found.job))
        except CloudError as error:
            self._status.note_trouble(error)
        finally:
            self._release([found])
        return None

    def _is_decided(self, job: str, attempt: int, least_push: int) -> bool:
        is_downloaded = self._tracker.find(job, attempt) is not None
        is_corrupt = self._corrupt.find(job, attempt, least_push=least_push) is not None
        is_given_up = (job, attempt) in self._given_up
        return is_downloaded or is_corrupt or is_given_up or self._status.find_disk(job, attempt) is not None

    def _rest(self, stop: threading.Event) -> None:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._wanted) or stop.is_set(), TICK_S)


def _ended_by(stops: Sequence[threading.Event]) -> Callable[[], None]:
    """Return a check that ends a download as soon as one of these is set. Each download has its own, as others may continue."""

    def check() -> None:
        if any(stop.is_set() for stop in stops):
            raise _Stopped

    return check


def _new_backoff() -> Backoff:
    return Backoff(budget_s=FINISH_BUDGET_S, first_s=SHORTEST_LOOK_S, longest_s=LONGEST_LOOK_S)
