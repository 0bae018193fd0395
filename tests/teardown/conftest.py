"""The cloud that these tests use."""

from tests.support.command_fixtures import cloud_home, estate, fresh_site, site

__all__ = ["cloud_home", "estate", "fresh_site", "site"]
