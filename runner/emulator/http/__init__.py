"""Translates HTTP requests to calls and results to responses, batch requests included.

Nothing here knows of an API; the outermost layer is ``control.front``.
"""

from runner.emulator.http.batch_requests import serve_batch
from runner.emulator.http.transport import (
    CLIENT_IS_GONE,
    Act,
    Answer,
    Call,
    Rule,
    build_routes,
    error_handlers,
    render_error,
    require_json,
)

__all__ = [
    "CLIENT_IS_GONE",
    "Act",
    "Answer",
    "Call",
    "Rule",
    "build_routes",
    "error_handlers",
    "render_error",
    "require_json",
    "serve_batch",
]
