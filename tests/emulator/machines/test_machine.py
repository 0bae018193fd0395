"""The life of an emulated instance: boot, what runs in it, its end in every way."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest

from runner.emulator.machines.seam import MachineSpec
from runner.errors import CloudError, ConflictError

from .lab import USERNAME, Lab, is_alive, open_lab, wait_until

HOSTILE = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
def note():
    with open(sys.argv[1], "a") as stream:
        stream.write(f"{os.getpid()}\\n")
    while True:
        time.sleep(1)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        note()
    if os.fork() == 0:
        os.setsid()
        note()
    os._exit(0)
note()
"""
"""Three processes that ignore SIGTERM: one with its parent, two orphans in sessions of their own."""


@contextlib.asynccontextmanager
async def hostile_processes(lab: Lab, spec: MachineSpec) -> AsyncIterator[list[int]]:
    """Three processes that do not want to end, started over SSH, of which nobody has a hold any more."""
    home = spec.root / "home" / USERNAME
    (home / "hostile.py").write_text(HOSTILE)
    async with lab.connect(spec) as connection:
        command = f"nohup {sys.executable} -I hostile.py pids </dev/null >/dev/null 2>&1 &"
        await connection.run(command)
    pids = home / "pids"
    await wait_until(lambda: pids.exists() and pids.read_text().count("\n") == 3)
    yield [int(line) for line in pids.read_text().split()]


def test_nothing_survives_the_end_of_the_machine(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab:
            spec = await lab.boot()
            async with hostile_processes(lab, spec) as pids:
                assert all(map(is_alive, pids))
                await lab.room.shut_down(spec.key, notice_s=0)
                assert not any(map(is_alive, pids))
            await lab.room.shut_down(spec.key, notice_s=0)
            with pytest.raises((OSError, asyncssh.Error)):
                await lab.connect(spec)

    asyncio.run(scenario())


def test_nothing_survives_an_init_that_is_killed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab:
            spec = await lab.boot()
            async with hostile_processes(lab, spec) as pids:
                os.kill(int((spec.root / "run/init.pid").read_text()), signal.SIGKILL)
                await wait_until(lambda: lab.cloud.powered_off == [spec.key])
                assert not any(map(is_alive, pids))

    asyncio.run(scenario())


EMULATOR = """
import asyncio, sys
from pathlib import Path
from tests.emulator.machines.lab import open_lab
from tests.emulator.machines.test_machine import hostile_processes
async def main():
    async with open_lab(Path(sys.argv[1])) as lab:
        spec = await lab.boot()
        async with hostile_processes(lab, spec) as pids:
            init = (spec.root / "run/init.pid").read_text().strip()
            print(init, *pids, flush=True)
            await asyncio.sleep(1000)
asyncio.run(main())
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_survives_an_emulator_that_is_killed(tmp_path: Path, end: signal.Signals) -> None:
    repository = Path(__file__).parents[3]
    argv = [sys.executable, "-c", EMULATOR, str(tmp_path)]
    with subprocess.Popen(argv, cwd=repository, stdout=subprocess.PIPE, text=True) as emulator:
        assert emulator.stdout is not None
        pids = [int(text) for text in emulator.stdout.readline().split()]
        assert len(pids) == 4
        assert all(map(is_alive, pids))
        emulator.send_signal(end)
        emulator.wait()

    async def scenario() -> None:
        await wait_until(lambda: not any(map(is_alive, pids)))

    asyncio.run(scenario())


def test_shutdown_script_runs_within_the_notice(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab:
            lab.cloud.attributes["shutdown-script"] = "#!/bin/sh\necho saving; echo saved >$HOME/saved\n"
            spec = await lab.boot()
            await lab.room.shut_down(spec.key, notice_s=60)
            assert (spec.root / "root/saved").read_text() == "saved\n"
            assert "shutdown-script: saving\n" in lab.cloud.serial[spec.key]
            assert "shutdown-script: shutdown-script exit status 0\n" in lab.cloud.serial[spec.key]

    asyncio.run(scenario())


def test_jobs_are_asked_to_end_and_may_use_the_notice(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab:
            spec = await lab.boot()
            async with lab.connect(spec) as connection:
                command = "trap 'sleep 0.3; echo pushed >pushed; exit' TERM; echo ready; while :; do sleep 0.05; done"
                job = await connection.create_process(f"nohup setsid bash -c {quote(command)} 2>/dev/null & wait")
                await job.stdout.readline()
                await lab.room.shut_down(spec.key, notice_s=60)
            assert (spec.root / "home" / USERNAME / "pushed").exists()

    asyncio.run(scenario())


def quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def test_a_second_call_shortens_the_notice(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab:
            lab.cloud.attributes["shutdown-script"] = "touch $HOME/begun; sleep 10000"
            spec = await lab.boot()
            patient = asyncio.create_task(lab.room.shut_down(spec.key, notice_s=10000))
            await wait_until((spec.root / "root/begun").exists)
            assert not patient.done()
            await lab.room.shut_down(spec.key, notice_s=0)
            await patient
            assert "Power down" in lab.cloud.serial[spec.key]

    asyncio.run(scenario())


def test_startup_script_runs_as_root_and_talks_to_the_serial_port(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab:
            lab.cloud.attributes["startup-script"] = "echo I am $USER in $HOSTNAME; printf end; exit 3"
            spec = await lab.boot()
            await wait_until(lambda: "startup-script exit status 3" in lab.cloud.serial[spec.key])
            assert "startup-script: I am root in m-0\n" in lab.cloud.serial[spec.key]
            assert "startup-script: end\n" in lab.cloud.serial[spec.key]

    asyncio.run(scenario())


def test_what_a_startup_script_leaves_behind_goes_on_talking(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab:
            go = tmp_path / "go"
            waiting = f"(until [ -e '{go}' ]; do sleep 0.05; done; echo still here) &"
            lab.cloud.attributes["startup-script"] = waiting
            spec = await lab.boot()
            await wait_until(lambda: "startup-script exit status 0" in lab.cloud.serial[spec.key])
            gc.collect()
            go.touch()
            await wait_until(lambda: "startup-script: still here\n" in lab.cloud.serial[spec.key])

    asyncio.run(scenario())


@pytest.mark.parametrize("command", ["sudo poweroff", "sudo shutdown -h now", "sudo systemctl poweroff"])
def test_machine_switches_itself_off(tmp_path: Path, command: str) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab:
            spec = await lab.boot()
            async with lab.connect(spec) as connection:
                await connection.run(f"{command}; sleep 1000")
            await wait_until(lambda: lab.cloud.powered_off == [spec.key])
            await lab.room.boot(spec)  # which is refused for one that runs

    asyncio.run(scenario())


def test_planned_shutdown_can_be_cancelled(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab:
            spec = await lab.boot()
            async with lab.connect(spec) as connection:
                done = await connection.run(
                    "sudo shutdown -P +60 && test -s ../../run/shutdown.pid && sudo shutdown -c"
                )
                assert done.exit_status == 0
            assert not (spec.root / "run/shutdown.pid").exists()
            async with lab.connect(spec) as connection:
                assert (await connection.run("true")).exit_status == 0

    asyncio.run(scenario())


def test_host_key_survives_a_stop_and_differs_between_clones(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab:
            spec = await lab.boot("m-0")
            first = lab.cloud.guest[spec.key]["hostkeys"]["ssh-ed25519"]
            await lab.room.shut_down(spec.key, notice_s=0)
            await lab.boot("m-0")
            assert lab.cloud.guest[spec.key]["hostkeys"]["ssh-ed25519"] == first
            other = await lab.boot("m-1")
            assert lab.cloud.guest[other.key]["hostkeys"]["ssh-ed25519"] != first

    asyncio.run(scenario())


def test_host_key_is_not_published_without_guest_attributes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab:
            lab.cloud.attributes["enable-guest-attributes"] = "FALSE"
            await lab.boot()
            assert lab.cloud.guest == {}

    asyncio.run(scenario())


def test_boot_of_what_runs_and_on_a_taken_address(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab:
            spec = await lab.boot()
            with pytest.raises(ConflictError):
                await lab.room.boot(spec)
            twin = MachineSpec(
                key="projects/p/zones/z/instances/twin", name="twin", root=tmp_path / "twin", address=spec.address,
                ssh_port=spec.ssh_port, vcpus=1,
            )  # fmt: skip
            (tmp_path / "twin/etc/skel").mkdir(parents=True)
            for _ in range(2):  # the second time too: it is not remembered as one that runs
                with pytest.raises(CloudError, match="cannot listen"):
                    await lab.room.boot(twin)

    asyncio.run(scenario())


def test_two_rooms_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path / "a") as one, open_lab(tmp_path / "b") as two:
            specs = [await one.boot("m-0"), await two.boot("m-0")]
            assert specs[0].address != specs[1].address
            await one.room.close()
            async with two.connect(specs[1]) as connection:
                assert (await connection.run("hostname")).stdout == "m-0\n"

    asyncio.run(scenario())


def test_free_address_is_not_one_that_is_taken_or_listened_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab:
            spec = await lab.boot()
            from runner.emulator.machines.room import listening_addresses

            if sys.platform.startswith("linux"):
                assert spec.address in listening_addresses()
            assert lab.room.free_address(()) != spec.address

    asyncio.run(scenario())
