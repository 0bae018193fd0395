"""The bucket that these tests use."""

from tests.support.bucket_fixtures import batch, site

__all__ = ["batch", "site"]
