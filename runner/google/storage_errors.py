"""Converts errors of the Cloud Storage client to ours."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from runner.errors import CloudError, UnreachableError

_log = logging.getLogger(__name__)


@contextmanager
def mapped_errors(what: str) -> Iterator[None]:
    """Inside, errors of the storage client, of its connections and of Google's credentials are CloudErrors."""
    try:
        yield
    except Exception as error:
        mapped = _as_ours(what, error)
        if mapped is None:
            raise
        _log.info("%s", mapped)
        raise mapped from error


def _as_ours(what: str, error: Exception) -> CloudError | None:
    import requests
    import urllib3
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from google.auth.exceptions import GoogleAuthError, TransportError
    from google.cloud.storage.exceptions import DataCorruption

    from runner.google.rest import LOGIN, cloud_error

    cause = error.cause if isinstance(error, RetryError) else error
    if isinstance(cause, GoogleAPICallError):
        return cloud_error(int(cause.code or 0), _as_json(cause), what)
    no_answer = RetryError | requests.RequestException | urllib3.exceptions.HTTPError | ConnectionError | TransportError
    if isinstance(error, no_answer):
        return UnreachableError(f"{what}: no answer from Cloud Storage: {cause}")
    if isinstance(error, DataCorruption):
        return UnreachableError(f"{what}: arrived corrupt: {error}")
    if isinstance(error, GoogleAuthError):
        return CloudError(f"{what}: {error}", remedy=LOGIN)
    return None


def _as_json(error: Any) -> str:
    details: list[Mapping[str, Any]] = list(getattr(error, "errors", None) or [])
    return json.dumps({"error": {"message": error.message, "errors": details}}, default=str)
