"""The provider's Python modules, loaded where they are imported: by default ``pulumi_gcp`` loads them when they are first used.

So a program's import can be done ahead, in a thread. The provider's own deprecations, of which it warns while it is being
imported, are none of ours.
"""

from __future__ import annotations

import warnings

import pulumi_gcp as gcp

__all__ = ["gcp"]

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    LOADED = (gcp.compute.Instance, gcp.projects.Service, gcp.serviceaccount.Account, gcp.storage.Bucket)
