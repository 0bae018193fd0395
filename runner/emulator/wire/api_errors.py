"""The errors of Google's APIs, with Google's messages. Each function returns the error; the caller raises it."""

from __future__ import annotations

from runner.errors import CloudError, ConflictError, NotFoundError, PermissionDeniedError, QuotaError


def not_found(resource: str) -> NotFoundError:
    return NotFoundError(f"The resource '{resource}' was not found", reason="notFound", status=404)


def missing(message: str) -> NotFoundError:
    """Return a 404 with a message of its own, for APIs other than Compute."""
    return NotFoundError(message, reason="notFound", status=404)


def already_exists(resource: str) -> ConflictError:
    return ConflictError(f"The resource '{resource}' already exists", reason="alreadyExists", status=409)


def conflict(message: str, *, reason: str = "alreadyExists") -> ConflictError:
    return ConflictError(message, reason=reason, status=409)


def invalid(message: str) -> CloudError:
    return CloudError(message, reason="invalid", status=400)


def invalid_field(field: str, value: object, why: str) -> CloudError:
    """Return a 400 about one field, named as Google does, e.g. ``resource.scheduling.preemptible``."""
    shown = str(value).lower() if isinstance(value, bool) else value
    return invalid(f"Invalid value for field '{field}': '{shown}'. {why}")


def unknown_parameter(name: str) -> CloudError:
    return CloudError(
        f"Invalid JSON payload received. Unknown name \"{name}\": Cannot bind query parameter. Field '{name}' could not be "
        "found in request message.",
        reason="badRequest",
        status=400,
    )


def required(field: str) -> CloudError:
    return CloudError(f"Required field '{field}' not specified", reason="required", status=400)


def in_use(kind: str, resource: str, user: str) -> CloudError:
    return CloudError(
        f"The {kind} resource '{resource}' is already being used by '{user}'",
        reason="resourceInUseByAnotherResource",
        status=400,
    )


def not_ready(resource: str) -> CloudError:
    return CloudError(f"The resource '{resource}' is not ready", reason="resourceNotReady", status=400)


def stale_metadata() -> ConflictError:
    return condition_not_met("Supplied fingerprint does not match current metadata fingerprint.")


def stale_labels() -> ConflictError:
    return condition_not_met("Labels fingerprint either invalid or resource labels have changed")


def condition_not_met(message: str) -> ConflictError:
    return ConflictError(message, reason="conditionNotMet", status=412)


def forbidden(message: str) -> PermissionDeniedError:
    return PermissionDeniedError(message, reason="forbidden", status=403)


def permission_denied(permission: str, resource: str) -> PermissionDeniedError:
    return forbidden(f"Required '{permission}' permission for '{resource}'")


def unauthenticated() -> PermissionDeniedError:
    return PermissionDeniedError(
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
        "authentication credential.",
        reason="authError",
        status=401,
    )


def no_credential() -> PermissionDeniedError:
    return PermissionDeniedError(
        "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or other "
        "valid authentication credential.",
        reason="required",
        status=401,
    )


def wrong_content_type(content_type: str) -> CloudError:
    """Return a 400 for a body that is not JSON. The form of any web page can send text, but JSON only if the server allows it."""
    return CloudError(f"Unsupported content with type: {content_type or 'none'}", reason="badContent", status=400)


def quota_exceeded(metric: str, limit: float, region: str) -> QuotaError:
    return QuotaError(
        f"Quota '{metric}' exceeded.  Limit: {limit:.1f} in region {region}.", reason="quotaExceeded", status=403
    )


def api_disabled(title: str, service: str, project_number: str) -> PermissionDeniedError:
    page = f"https://console.developers.google.com/apis/api/{service}/overview?project={project_number}"
    return PermissionDeniedError(
        f"{title} has not been used in project {project_number} before or it is disabled. "
        f"Enable it by visiting {page} then retry.",
        reason="accessNotConfigured",
        status=403,
    )
