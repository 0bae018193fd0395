"""Google's application default credentials: those of a person, of a file that a variable names, or of the machine itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.errors import PermissionDeniedError
from runner.google import LOGIN

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
FILE_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"


def find_credentials(project: str, environment: Mapping[str, str]) -> Any:
    """The credentials, whose requests ``project`` pays for where they name no other.

    Raises:
        PermissionDeniedError: there are none, or those that a variable names cannot be used.
    """
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError
    from google.oauth2.credentials import Credentials

    try:
        credentials, _ = google.auth.default(scopes=[SCOPE])
    except (DefaultCredentialsError, OSError, ValueError, TypeError, AttributeError) as error:
        # The latter are what google-auth stumbles over when the file is a folder, or has JSON of another kind.
        raise _explain(error, environment.get(FILE_VARIABLE, "")) from error
    if isinstance(credentials, Credentials) and not credentials.quota_project_id:
        # A person's credentials may name no project for quotas, without which some APIs (OS Login) refuse them.
        return credentials.with_quota_project(project)
    return credentials


def _explain(error: Exception, file: str) -> PermissionDeniedError:
    """In Google's words. A login is no remedy where a variable names a file, which comes first."""
    if isinstance(error, OSError) and error.strerror:
        told = error.strerror
    else:
        told = ": ".join(str(part) for part in error.args)
    if not file:
        return PermissionDeniedError(f"no Google credentials on this machine: {told}", remedy=LOGIN)
    return PermissionDeniedError(
        f"{FILE_VARIABLE}={file} names no credentials that can be used: {told}",
        remedy=f"correct {FILE_VARIABLE}, or unset it and {LOGIN}",
    )
