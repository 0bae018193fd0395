"""The cloud, and the bucket, that these tests use."""

from tests.support.bucket_fixtures import batch, bucket_site
from tests.support.command_fixtures import cloud_home, fresh_site, inventory, site

__all__ = ["batch", "bucket_site", "cloud_home", "fresh_site", "inventory", "site"]
