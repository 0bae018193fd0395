"""Startup and shutdown scripts out of an instance's metadata, as the guest agent runs them: as root, their output on the serial port."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from runner.emulator.machines import metadata_tree
from runner.emulator.machines.guest import Command, Ending, Guest
from runner.emulator.machines.login import Surroundings, find_shell, login_environment
from runner.emulator.machines.seam import Cloud

AGENT = "google_metadata_script_runner"
LINE_LIMIT_BYTES = 64 * 1024


Keep = Callable[[asyncio.Task[None]], None]


async def run_metadata_script(name: str, *, around: Surroundings, guest: Guest, cloud: Cloud, keep: Keep) -> None:
    """Run the script under this metadata key to its end, if there is one. Cancelling leaves the script running.

    ``keep`` is given what copies the output, which goes on for as long as the script leaves something in the background.
    """
    spec = around.spec
    text = metadata_tree.attribute(cloud.metadata(spec.key), name)
    if not text:
        return
    log = SerialLog(cloud=cloud, key=spec.key, script=name)
    log.add(f"Found {name} in metadata.")
    script = write_script(spec.root, name, text)
    ending = await run_script(script, around=around, guest=guest, log=log, keep=keep)
    log.add(f"{name} {describe(ending)}")
    script.unlink(missing_ok=True)


def write_script(root: Path, name: str, text: str) -> Path:
    """Put a script where it can be executed."""
    folder = root / "tmp/metadata-scripts"
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / name
    script.write_text(text)
    script.chmod(0o700)
    return script


def describe(ending: Ending) -> str:
    """How a script ended, in the guest agent's words."""
    return f"was killed by signal {ending.signal}" if ending.signal else f"exit status {ending.code}"


async def run_script(script: Path, *, around: Surroundings, guest: Guest, log: SerialLog, keep: Keep) -> Ending:
    """Run an executable file through the shell, so that it may do without a first line that names its interpreter."""
    shell = find_shell()
    env = login_environment(around, "root", {})
    command = Command(path=str(shell), argv=[shell.name, "-c", str(script)], cwd=around.spec.root, env=env)
    ours, theirs = os.pipe()
    reader = asyncio.StreamReader(limit=LINE_LIMIT_BYTES)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb", 0))
    with Path(os.devnull).open("rb") as nothing:
        try:
            process = await guest.spawn(command, (nothing.fileno(), theirs, theirs))
        finally:
            os.close(theirs)
    copying = asyncio.create_task(copy_lines(reader, log))
    keep(copying)  # the loop itself would forget a task that waits for a pipe
    copying.add_done_callback(lambda _task: transport.close())
    ending = await process.wait()
    # What it left in the background may hold the pipe for as long as it lives; what the script itself said is there already.
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(copying), 0.2)
    return ending


class SerialLog:
    """The serial port, as one script writes to it."""

    def __init__(self, *, cloud: Cloud, key: str, script: str) -> None:
        self._cloud = cloud
        self._key = key
        self._script = script

    def add(self, line: str) -> None:
        """Add a line."""
        self._cloud.append_serial(self._key, f"{AGENT}: {self._script}: {line}\n")


async def copy_lines(reader: asyncio.StreamReader, log: SerialLog) -> None:
    """Copy output by lines as they come, until its end."""
    while True:
        try:
            line = await reader.readuntil()
        except asyncio.IncompleteReadError as end:
            if end.partial:
                log.add(end.partial.decode(errors="replace"))
            return
        except asyncio.LimitOverrunError:
            line = await reader.read(LINE_LIMIT_BYTES)
        log.add(line.decode(errors="replace").rstrip("\n"))
