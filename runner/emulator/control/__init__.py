"""The process of the embedded cloud: assembly, start, stop, status, scenarios of faults.

Only the admin API is served from here. ``start``, ``stop``, ``status``, ``reset`` and ``kill`` work from any process, given the
cloud's state folder. ``control.server`` loads Starlette: import it late, as a module.
"""

from runner.emulator.control.cloud_log import log_file, read_tracebacks
from runner.emulator.control.endpoint import Endpoint, endpoint_file, remove_endpoint, write_endpoint
from runner.emulator.control.process import kill, reset, start, status, stop

__all__ = [
    "Endpoint",
    "endpoint_file",
    "kill",
    "log_file",
    "read_tracebacks",
    "remove_endpoint",
    "reset",
    "start",
    "status",
    "stop",
    "write_endpoint",
]
