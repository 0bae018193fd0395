"""Google's application default credentials: a person's, or those in the file that a variable names, or those of the VM that this runs on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.errors import PermissionDeniedError
from runner.google import LOGIN

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
FILE_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"


def find_credentials(project: str, environment: Mapping[str, str]) -> Any:
    """Find the credentials. If they name no project for quotas and billing, set ``project``.

    Raises:
        PermissionDeniedError: there are none, or those that a variable names cannot be used.
    """
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError
    from google.oauth2.credentials import Credentials

    try:
        credentials, _ = google.auth.default(scopes=[SCOPE])
    except (DefaultCredentialsError, OSError, ValueError, TypeError, AttributeError) as error:
        # The last three are what google-auth raises when the file is a folder, or is JSON of another kind.
        raise _explain(error, environment.get(FILE_VARIABLE, "")) from error
    if isinstance(credentials, Credentials) and not credentials.quota_project_id:
        # A person's credentials may have no project for quotas; then some APIs (OS Login) refuse them.
        return credentials.with_quota_project(project)
    return credentials


def _explain(error: Exception, file: str) -> PermissionDeniedError:
    """Return the error with Google's message. If a variable names a file, that takes precedence, so a login would not help."""
    if isinstance(error, OSError) and error.strerror:
        message = error.strerror
    else:
        message = ": ".join(str(part) for part in error.args)
    if not file:
        return PermissionDeniedError(f"no Google credentials on this computer: {message}", remedy=LOGIN)
    return PermissionDeniedError(
        f"{FILE_VARIABLE}={file} does not have usable credentials: {message}",
        remedy=f"correct {FILE_VARIABLE}, or unset it and {LOGIN}",
    )
