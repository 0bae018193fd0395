"""The results bucket of tests/core, for commands that work on it."""

from tests.core.conftest import batch, site

__all__ = ["batch", "site"]
