"""A VM's requests to the cloud: its metadata, small objects in the bucket, its own deletion.

Only the standard library is used: these programs must start at boot, in little memory, even if the image's packages are damaged.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

METADATA_TIMEOUT_S = 5.0
API_TIMEOUT_S = 10.0
TOKEN_MARGIN_S = 120.0
STORAGE_URL = "https://storage.googleapis.com"
COMPUTE_URL = "https://compute.googleapis.com/compute/v1/"


class UnreachableError(Exception):
    """No answer, or one that does not decide the request: a network error, 429, 5xx."""


class RefusedError(Exception):
    """The request was rejected. ``status`` as in HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer. ``served_s``: the server's clock, in seconds since 1970; None if the answer has no date."""

    body: bytes
    served_s: float | None


class Metadata:
    """The metadata server. Raises UnreachableError."""

    def __init__(self) -> None:
        self._url = f"http://{os.environ.get('GCE_METADATA_HOST', 'metadata.google.internal')}/computeMetadata/v1"

    def read(self, path: str) -> str | None:
        """Return a value, None if no value has that name."""
        request = urllib.request.Request(f"{self._url}/{path}", headers={"Metadata-Flavor": "Google"})  # noqa: S310
        try:
            return send(request, METADATA_TIMEOUT_S).body.decode()
        except RefusedError as error:
            if error.status == http.client.NOT_FOUND:
                return None
            raise UnreachableError(f"metadata {path}: {error}") from error

    def attribute(self, name: str) -> str:
        """Return a custom value of the instance, empty if it is not set."""
        return self.read(f"instance/attributes/{name}") or ""


class VmCloud:
    """Storage and Compute as the VM's service account. Every call raises UnreachableError or RefusedError."""

    def __init__(self, metadata: Metadata) -> None:
        self.metadata = metadata
        self._token = ""
        self._token_until = 0.0

    def read_object(self, bucket: str, name: str, **query: str) -> Reply:
        """Return what Cloud Storage says about an object; its content with ``alt="media"``."""
        asked = "".join(f"&{key}={quote(value, safe='')}" for key, value in query.items())
        return self._call("GET", f"{_storage_url()}/storage/v1/b/{bucket}/o/{quote(name, safe='')}?{asked[1:]}")

    def create_object(self, bucket: str, name: str, content: bytes) -> None:
        """Create a small object. RefusedError 412: one of that name exists, and stays as it is."""
        url = f"{_storage_url()}/upload/storage/v1/b/{bucket}/o"
        query = f"uploadType=media&name={quote(name, safe='')}&ifGenerationMatch=0"
        self._call("POST", f"{url}?{query}", content, {"Content-Type": "application/json"})

    def delete_own_vm(self) -> None:
        """Request the deletion of this VM; the answer comes before it begins."""
        self._call("DELETE", own_url(self.metadata))

    def _call(self, method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Reply:
        own = {"Authorization": f"Bearer {self._fresh_token()}"} | (headers or {})
        request = urllib.request.Request(url, data=body, method=method, headers=own)  # noqa: S310 (our own addresses)
        try:
            return send(request, API_TIMEOUT_S)
        except RefusedError as error:
            if error.status == http.client.UNAUTHORIZED:
                self._token = ""
            raise

    def _fresh_token(self) -> str:
        if not self._token or time.monotonic() > self._token_until:
            text = self.metadata.read("instance/service-accounts/default/token")
            if text is None:
                raise RefusedError(http.client.NOT_FOUND, "this VM has no service account")
            answer: dict[str, Any] = json.loads(text)
            self._token = str(answer["access_token"])
            self._token_until = time.monotonic() + float(answer["expires_in"]) - TOKEN_MARGIN_S
        return self._token


def own_url(metadata: Metadata) -> str:
    """Return the URL of this VM in the Compute API.

    Raises:
        UnreachableError: the metadata server does not return this VM's project, zone and name.
    """
    project, zone, name = (metadata.read(path) for path in ("project/project-id", "instance/zone", "instance/name"))
    if not (project and zone and name):
        raise UnreachableError("the metadata server does not return this VM's project, zone and name")
    base = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", COMPUTE_URL)
    return f"{base}projects/{project}/zones/{zone.rsplit('/', 1)[-1]}/instances/{name}"


def send(request: urllib.request.Request, timeout_s: float) -> Reply:
    """Send a request without any proxy: Google's own addresses need none, and the metadata server has none."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            return Reply(body=answer.read(), served_s=_served(answer.headers.get("Date")))
    except urllib.error.HTTPError as error:
        with error:
            message = f"{request.get_method()} {request.full_url}: {error.read(2000).decode(errors='replace')}"
        if error.code >= http.client.INTERNAL_SERVER_ERROR or error.code == http.client.TOO_MANY_REQUESTS:
            raise UnreachableError(f"{error.code}: {message}") from error
        raise RefusedError(error.code, message) from error
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(f"{request.get_method()} {request.full_url}: {error}") from error


def _served(date: str | None) -> float | None:
    return None if date is None else parsedate_to_datetime(date).timestamp()


def _storage_url() -> str:
    return os.environ.get("STORAGE_EMULATOR_HOST", STORAGE_URL).rstrip("/")
