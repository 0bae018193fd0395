"""The cloud that these tests use."""

from tests.support.command_fixtures import cloud_home, fresh_site, inventory, site

__all__ = ["cloud_home", "fresh_site", "inventory", "site"]
