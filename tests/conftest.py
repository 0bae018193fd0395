"""For all tests: signals as in a terminal.

A background job of a shell and ``nohup`` start their programs with SIGINT or SIGHUP ignored, and children inherit that. Tests
send these signals to themselves and to the commands that they start.
"""

from __future__ import annotations

import signal

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
