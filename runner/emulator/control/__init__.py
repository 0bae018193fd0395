"""The embedded cloud as a process: put together, started, stopped, looked at, told to fail.

``start``, ``stop``, ``status``, ``reset`` and ``kill`` work from any process, by the cloud's state folder. Nothing of an API is here.
"""

from runner.emulator.control.process import kill, reset, start, status, stop

__all__ = ["kill", "reset", "start", "status", "stop"]
