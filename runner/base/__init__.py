"""The stack ``base`` that all batches share, and the lock that commands take before they change it.

Its resources are declared in ``infra/base``.
"""

from runner.base.lock import base_lock
from runner.base.stack import begin_reading_base, ensure_base, wanted_settings

__all__ = [
    "base_lock",
    "begin_reading_base",
    "ensure_base",
    "wanted_settings",
]
