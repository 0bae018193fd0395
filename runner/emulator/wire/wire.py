"""The format of values in requests and responses: links, times, fingerprints, and the one form of an error."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from runner.errors import CloudError

LINK_ROOT = "https://www.googleapis.com/compute/v1/"

USAGE_REASONS = frozenset({"quotaExceeded", "rateLimitExceeded", "userRateLimitExceeded", "accessNotConfigured"})

RPC_CODES: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


STORAGE_PATHS = ("/storage/", "/upload/", "/download/", "/resumable/")
RPC_CODES_OF_REASONS: Mapping[str, str] = {"aborted": "ABORTED", "failedPrecondition": "FAILED_PRECONDITION"}


def read_json(body: bytes) -> dict[str, Any]:
    """Read a request's body, {} if it is empty.

    Raises:
        CloudError: the body is not a JSON object.
    """
    try:
        value = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError) as error:
        raise CloudError(f"Parse Error: {error}", reason="parseError", status=400) from error
    if not isinstance(value, dict):
        raise CloudError("Parse Error: the body must be an object", reason="parseError", status=400)
    return value


def compute_time(epoch_s: float) -> str:
    """Format a time as Compute does."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "-00:00"


def zulu_time(epoch_s: float) -> str:
    """Format a time as the other APIs do."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def fresh_fingerprint() -> str:
    """Return a new value for each write, like Google's fingerprints and etags."""
    return base64.b64encode(os.urandom(8)).decode()


def link(path: str) -> str:
    return LINK_ROOT + path


def relative(url: str) -> str:
    """Return any full or partial URL of a Compute resource as ``projects/…``, and everything else unchanged."""
    found = re.search(r"(?:^|/)(projects/.*)$", url)
    return found.group(1) if found else url


def tail(url: str) -> str:
    return url.rstrip("/").rsplit("/", 1)[-1]


def scope_of(path: str) -> str:
    """Return the scope of a path: ``projects/p/zones/z``, or ``projects/p/global`` for global resources and the project."""
    parts = path.split("/")
    return "/".join(parts[:4]) if len(parts) > 3 and parts[2] in ("zones", "regions") else f"projects/{parts[1]}/global"


def without_blanks(value: Any) -> Any:
    """Remove nulls and empty strings: Google does not store them, and responses leave them out."""
    if isinstance(value, dict):
        cleaned = {key: without_blanks(item) for key, item in value.items()}
        return {key: item for key, item in cleaned.items() if item not in (None, "")}
    if isinstance(value, list):
        return [without_blanks(item) for item in value if item is not None]
    return value


def error_document(error: CloudError, *, path: str, project_number: str) -> dict[str, Any]:
    """Build the body of an error. Compute and Storage leave out the RPC status; that of a disabled API names the API."""
    first: dict[str, Any] = {
        "message": error.message,
        "domain": "usageLimits" if error.reason in USAGE_REASONS else "global",
        "reason": error.reason,
    }
    body: dict[str, Any] = {"code": error.status, "message": error.message, "errors": [first]}
    if error.status == 401:
        message = "Login Required." if error.reason == "required" else "Invalid Credentials"
        first.update(message=message, location="Authorization", locationType="header")
    if error.status == 412 and path.startswith(STORAGE_PATHS):
        first.update(location="If-Match", locationType="header")
    if (
        error.status == 401
        or error.reason == "accessNotConfigured"
        or not path.startswith(("/compute/", *STORAGE_PATHS))
    ):
        body["status"] = RPC_CODES_OF_REASONS.get(error.reason) or RPC_CODES.get(error.status, "UNKNOWN")
    if error.reason == "accessNotConfigured":
        first["extendedHelp"] = "https://console.developers.google.com"
        body["details"] = [disabled_api_detail(path, project_number)]
    return {"error": body}


def disabled_api_detail(path: str, project_number: str) -> dict[str, Any]:
    """Build the ``ErrorInfo`` by which clients recognise a disabled API."""
    service = f"{path.split('/')[1]}.googleapis.com"
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "SERVICE_DISABLED",
        "domain": "googleapis.com",
        "metadata": {"service": service, "consumer": f"projects/{project_number}"},
    }
