"""SSH for plain functions: connections that are restored, shells that wait for commands, checked host keys.

Nothing here knows of jobs or clouds. ``ssh.shell`` loads AsyncSSH: import it late, as a module.
"""

from runner.ssh.connection import Connection, Result, Stdin, wait_for_ssh
from runner.ssh.line import command_line
from runner.ssh.target import SshTarget, split_host

__all__ = [
    "Connection",
    "Result",
    "SshTarget",
    "Stdin",
    "command_line",
    "split_host",
    "wait_for_ssh",
]
