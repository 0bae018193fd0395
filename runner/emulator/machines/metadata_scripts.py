"""Startup and shutdown scripts from an instance's metadata, run like the guest agent does: as root, with output to the serial port."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

from runner.emulator.machines import metadata_tree
from runner.emulator.machines.background import BackgroundTasks
from runner.emulator.machines.guest import Command, Ending, Guest
from runner.emulator.machines.interface import Cloud
from runner.emulator.machines.login import GuestSettings, find_shell, login_environment

AGENT = "google_metadata_script_runner"
LINE_LIMIT_BYTES = 64 * 1024


async def run_metadata_script(
    name: str, *, settings: GuestSettings, guest: Guest, cloud: Cloud, tasks: BackgroundTasks
) -> None:
    """Run the script under this metadata key to its end, if there is one. Cancelling leaves the script running.

    ``tasks`` gets the one that copies the output, which lasts as long as the script's background processes.
    """
    spec = settings.spec
    text = metadata_tree.attribute(cloud.metadata(spec.key), name)
    if not text:
        return
    log = SerialLog(cloud=cloud, key=spec.key, script=name)
    log.add(f"Found {name} in metadata.")
    script = write_script(spec.root, name, text)
    ending = await run_script(script, settings=settings, guest=guest, log=log, tasks=tasks)
    log.add(f"{name} {describe(ending)}")
    script.unlink(missing_ok=True)


def write_script(root: Path, name: str, text: str) -> Path:
    """Write a script to an executable file."""
    folder = root / "tmp/metadata-scripts"
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / name
    script.write_text(text)
    script.chmod(0o700)
    return script


def describe(ending: Ending) -> str:
    """Describe the end of a script in the guest agent's words."""
    return f"was killed by signal {ending.signal}" if ending.signal else f"exit status {ending.code}"


async def run_script(
    script: Path, *, settings: GuestSettings, guest: Guest, log: SerialLog, tasks: BackgroundTasks
) -> Ending:
    """Run an executable file through the shell, so that it works without a shebang line."""
    shell = find_shell()
    env = login_environment(settings, "root", {})
    command = Command(path=str(shell), argv=[shell.name, "-c", str(script)], cwd=settings.spec.root, env=env)
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
    tasks.add(copying)  # the event loop alone would not keep a task that waits for a pipe
    copying.add_done_callback(lambda _task: transport.close())
    ending = await process.wait()
    # Background processes may keep the pipe open as long as they live; the script's own output has already arrived.
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(copying), 0.2)
    return ending


class SerialLog:
    """The serial port output of one script."""

    def __init__(self, *, cloud: Cloud, key: str, script: str) -> None:
        self._cloud = cloud
        self._key = key
        self._script = script

    def add(self, line: str) -> None:
        """Add a line."""
        self._cloud.append_serial(self._key, f"{AGENT}: {self._script}: {line}\n")


async def copy_lines(reader: asyncio.StreamReader, log: SerialLog) -> None:
    """Copy output line by line until its end."""
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
