"""Sites for fault tests: as in the end-to-end tests, base and image are created once for each worker."""

from tests.e2e.conftest import site

__all__ = ["site"]
