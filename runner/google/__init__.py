"""Google's REST APIs and Cloud Storage, as this project needs them: Compute, OS Login, objects, retries, errors.

Nothing here knows of batches, jobs or results. What is created is Pulumi's business, but for the bucket that holds Pulumi's state.
"""

from runner.google.buckets import Buckets
from runner.google.compute import Compute, Image, Instance, Operation
from runner.google.objects import Objects, StoredObject
from runner.google.operations import GONE_ALREADY, Operations
from runner.google.os_login import KEY_COMMENT, Login, OsLogin
from runner.google.rest import LOGIN, NOT_JSON, Api, Endpoints, Json, log_answers, segment
from runner.google.retry import RETRY_BUDGET_S, is_worth_a_retry
from runner.google.storage_errors import mapped_errors

__all__ = [
    "GONE_ALREADY",
    "KEY_COMMENT",
    "LOGIN",
    "NOT_JSON",
    "RETRY_BUDGET_S",
    "Api",
    "Buckets",
    "Compute",
    "Endpoints",
    "Image",
    "Instance",
    "Json",
    "Login",
    "Objects",
    "Operation",
    "Operations",
    "OsLogin",
    "StoredObject",
    "is_worth_a_retry",
    "log_answers",
    "mapped_errors",
    "segment",
]
