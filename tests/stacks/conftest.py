"""The bucket that these tests use."""

from tests.support.bucket_fixtures import batch, bucket_site

__all__ = ["batch", "bucket_site"]
