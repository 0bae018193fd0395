"""A results bucket on an embedded cloud of the test's own, with result sets as push-results writes them."""

from __future__ import annotations

import base64
import io
import json
import secrets
import tarfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import zstandard
from google.api_core.client_options import ClientOptions
from google.cloud.storage import Client
from google.oauth2.credentials import Credentials

from runner import wiring
from runner.context import Context
from runner.emulator import control
from runner.emulator.control.endpoint import Endpoint
from runner.model import names
from runner.results.store import ResultStore

FILES: Mapping[str, bytes] = {"out/drift.txt": b"1 2 3\n", "log": b"ended\n", "empty": b""}


def storage_client(endpoint: Endpoint, url: str = "") -> Client:
    """Return the owner's client for the storage of an embedded cloud; ``url``: of a proxy in front of it."""
    options = ClientOptions(api_endpoint=url or endpoint.url)
    credentials = Credentials(token=endpoint.read_token())
    return Client(project="local-project", credentials=credentials, client_options=options)


def crc32c(content: bytes) -> str:
    checksum: Any = google_crc32c.Checksum(content)
    return base64.b64encode(checksum.digest()).decode()


def compress(content: bytes) -> bytes:
    """Compress like push-results: in a stream, whose length is not known at its beginning."""
    stream = zstandard.ZstdCompressor(level=3, write_checksum=True).compressobj()
    return stream.compress(content) + stream.flush()


def pack(files: Mapping[str, bytes]) -> tuple[bytes, dict[str, Any]]:
    """Return an archive and its manifest's values."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    packed = compress(plain.getvalue())
    listed = [{"path": name, "size": len(content), "crc32c": crc32c(content)} for name, content in files.items()]
    return packed, {"format": 1, "archive": {"size": len(packed), "crc32c": crc32c(packed)}, "files": listed}


def read_tree(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@dataclass(frozen=True, kw_only=True)
class Site:
    """An embedded cloud with an empty results bucket, for one worker."""

    home: Path
    endpoint: Endpoint

    def context(self, results: Path) -> Context:
        """Return a context as commands get it."""
        environment = {"OPENSEES_HPC_HOME": str(self.home), "OPENSEES_HPC_TARGET": "local"}
        return wiring.make_context(environment, results_folder=results)

    def fault(self, **fault: Any) -> None:
        """Arm a fault of the embedded cloud."""
        self._ask("POST", "faults", fault)

    def clear_faults(self) -> None:
        self._ask("DELETE", "faults", None)

    def _ask(self, method: str, what: str, body: Any) -> None:
        url = f"{self.endpoint.url}/_local/{what}"
        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **self.endpoint.headers}
        with urllib.request.urlopen(urllib.request.Request(url, content, headers, method=method)) as answer:
            answer.read()


@contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    """Start the cloud, create the bucket, and stop the cloud at the end."""
    state = folder / "local" / "cloud"
    endpoint = control.start(state, timeout_s=60.0)
    try:
        site = Site(home=folder, endpoint=endpoint)
        store = site.context(folder / "results").cloud.results
        store.objects._opened().create(location="europe-west4")
        store.close()
        yield site
    finally:
        control.stop(state)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch of its own in the bucket, and its downloaded results."""

    site: Site
    name: str
    context: Context

    @property
    def store(self) -> ResultStore:
        return self.context.cloud.results

    @property
    def folder(self) -> Path:
        """The folder of the batch's downloaded results."""
        return self.context.results_folder / self.name

    def objects(self) -> list[str]:
        """Return the objects in the bucket below the batch's name."""
        return [item.name.removeprefix(f"{self.name}/") for item in self.store.objects.listed(f"{self.name}/")]

    def put(self, job: str, name: str, content: bytes, *, attempt: int = 1, push: int = 1) -> None:
        """Create one object of a set."""
        self.store.objects.write(names.result_prefix(self.name, job, attempt, push) + name, content)

    def push(
        self,
        job: str,
        files: Mapping[str, bytes] = FILES,
        *,
        attempt: int = 1,
        push: int = 1,
        parts: str = "amc",
        how: str = "ended",
    ) -> None:
        """Push a set, or only some ``parts`` of it: archive, manifest, commit marker. ``how``: how the job ended."""
        archive, manifest = pack(files)
        manifest["end"] = {"how": how, "exit_code": 0, "wall_s": 1.0, "core_s": 1.0}
        contents = {
            "a": (names.RESULTS_ARCHIVE, archive),
            "m": (names.MANIFEST, json.dumps(manifest).encode()),
            "c": (names.COMMIT_MARKER, b""),
        }
        for part in parts:
            self.put(job, *contents[part], attempt=attempt, push=push)

    def at_home(self) -> dict[str, dict[str, bytes]]:
        """Return the folders that a user sees, and the files in each."""
        visible = [path for path in self.folder.glob("*") if not path.name.startswith(".")]
        return {path.name: read_tree(path) for path in visible}


def new_batch(site: Site, results: Path) -> Batch:
    return Batch(site=site, name=f"b{secrets.token_hex(6)}", context=site.context(results))
