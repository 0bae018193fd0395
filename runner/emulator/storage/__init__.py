"""The Cloud Storage API in front of the object store: buckets, objects, uploads.

Objects themselves are kept by the object store, a process of its own.
"""

from runner.emulator.storage.buckets import Buckets
from runner.emulator.storage.object_metadata import ObjectMetadata
from runner.emulator.storage.object_proxy import ObjectProxy
from runner.emulator.storage.object_store import ObjectStore
from runner.emulator.storage.upload_sessions import UploadSessions

__all__ = [
    "Buckets",
    "ObjectMetadata",
    "ObjectProxy",
    "ObjectStore",
    "UploadSessions",
]
