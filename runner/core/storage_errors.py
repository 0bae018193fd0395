"""Errors of the Cloud Storage client as ours."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from runner.errors import CloudError, UnreachableError


@contextmanager
def mapped_errors(what: str) -> Iterator[None]:
    """Inside, errors of the storage client, of its connections and of Google's credentials are CloudErrors."""
    import requests
    import urllib3
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption

    from runner.core.rest import cloud_error

    try:
        yield
    except GoogleAPICallError as error:
        raise cloud_error(int(error.code or 0), _as_json(error), what) from error
    except RetryError as error:
        if isinstance(error.cause, GoogleAPICallError):
            raise cloud_error(int(error.cause.code or 0), _as_json(error.cause), what) from error
        raise UnreachableError(f"{what}: no answer from Cloud Storage: {error.cause}") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError) as error:
        raise UnreachableError(f"{what}: no answer from Cloud Storage: {error}") from error
    except DataCorruption as error:
        raise UnreachableError(f"{what}: arrived damaged: {error}") from error
    except GoogleAuthError as error:
        raise CloudError(f"{what}: {error}", remedy="run `gcloud auth application-default login`") from error


def _as_json(error: Any) -> str:
    details: list[Mapping[str, Any]] = list(getattr(error, "errors", None) or [])
    return json.dumps({"error": {"message": error.message, "errors": details}}, default=str)
