"""The SSH server of an emulated instance, seen by asyncssh's client and by OpenSSH's."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from pathlib import Path

import asyncssh
import pytest

from runner.emulator.machines.interface import LoginUser, MachineSpec
from tests.needs import need

from .lab import USERNAME, Lab, open_lab, wait_until

MEGABYTE = 1024 * 1024


def test_exec_keeps_output_error_and_exit_code_apart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab, lab.connect(await lab.boot()) as connection:
            done = await connection.run("echo out; echo err >&2; exit 7", input="")
            assert (done.stdout, done.stderr, done.exit_status) == ("out\n", "err\n", 7)

    asyncio.run(scenario())


def test_environment_is_exactly_that_of_a_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMULATOR_SECRET", "1")

    async def scenario() -> None:
        async with open_lab(tmp_path) as lab:
            spec = await lab.boot()
            async with lab.connect(spec) as connection:
                done = await connection.run("env -0; pwd", env={"LC_ALL": "C", "BAD_ONE": "x"})
            assert isinstance(done.stdout, str)
            *pairs, cwd = done.stdout.split("\0")
            env = dict(pair.split("=", 1) for pair in pairs)
            home = spec.root / "home" / USERNAME
            assert cwd.strip() == str(home) == env["HOME"]
            assert {"EMULATOR_SECRET", "BAD_ONE"}.isdisjoint(env)
            assert (env["USER"], env["LOGNAME"], env["HOSTNAME"]) == (USERNAME, USERNAME, "m-0")
            assert (env["LC_ALL"], env["OMP_NUM_THREADS"]) == ("C", "1")
            assert env["OPENSEES_HPC_PREFIX"] == str(spec.root / "opt/opensees-hpc")
            assert env["TMPDIR"] == str(spec.root / "tmp")
            assert env["STORAGE_EMULATOR_HOST"] == "http://127.0.0.1:9"
            assert env["GCE_METADATA_HOST"].startswith(f"{spec.address}:")
            assert env["SSH_CONNECTION"].endswith(f"{spec.address} {spec.ssh_port}")
            assert env["PATH"].startswith(
                f"{spec.root}/opt/opensees-hpc/bin:{spec.root}/usr/local/bin:{spec.root}/usr/bin:"
            )

    asyncio.run(scenario())


def test_shims(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab, lab.connect(await lab.boot()) as connection:

            async def say(command: str) -> object:
                done = await connection.run(command)
                return (done.stdout or done.stderr), done.exit_status

            assert await say("nproc; nproc --ignore=1; hostname") == ("2\n1\nm-0\n", 0)
            assert await say("sudo -n -E X=1 sh -c 'echo \"$USER $X $1\"' sh 'a  b'") == ("root 1 a  b\n", 0)
            assert await say("sudo -H -u someone sh -c 'echo ${HOME##*/}'") == ("someone\n", 0)
            assert await say("sudo sudo -n true") == ("", 0)
            (tmp_path / "disks/m-0/root/var/google-sudoers.d" / USERNAME).unlink()
            assert await say("sudo -n true") == ("sudo: a password is required\n", 1)
            assert (await say("systemctl restart sshd"))[1] == 1  # type: ignore[index]

    asyncio.run(scenario())


def test_login_shell_finds_the_instances_programs_first(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab:
            spec = await lab.boot()
            async with lab.connect(spec) as connection:
                done = await connection.run("bash -lc 'command -v sudo'")
            assert done.stdout == f"{spec.root}/usr/bin/sudo\n"

    asyncio.run(scenario())


def test_input_ends_when_the_client_sends_eof(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab, lab.connect(await lab.boot()) as connection:
            done = await connection.run("wc -c; echo after", input="12345")
            assert done.stdout == "5\nafter\n"

    asyncio.run(scenario())


def test_hundred_megabytes_in_both_directions(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab, lab.connect(await lab.boot()) as connection:
            async with connection.create_process("cat", encoding=None) as process:

                async def feed() -> None:
                    for index in range(100):
                        process.stdin.write(bytes([index]) * MEGABYTE)
                        await process.stdin.drain()
                    process.stdin.write_eof()

                feeding = asyncio.create_task(feed())
                expected, came = hashlib.sha256(), hashlib.sha256()
                for index in range(100):
                    expected.update(bytes([index]) * MEGABYTE)
                while data := await process.stdout.read(MEGABYTE):
                    came.update(data)
                assert came.digest() == expected.digest()
                await feeding
            assert process.exit_status == 0

    asyncio.run(scenario())


def test_a_line_arrives_when_it_is_printed_not_when_the_next_one_ends(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab, lab.connect(await lab.boot()) as connection:
            silent = await connection.create_process("printf half; read -r _")
            talking = await connection.create_process("echo one; read -r x; echo two; read -r x")
            assert await silent.stdout.readexactly(4) == "half"
            assert await talking.stdout.readline() == "one\n"
            talking.stdin.write("go\n")
            assert await talking.stdout.readline() == "two\n"
            for process in (silent, talking):
                process.stdin.write_eof()
                await process.wait()

    asyncio.run(scenario())


def test_signals_reach_the_process_group_and_are_reported(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab, lab.connect(await lab.boot()) as connection:
            trapping = await connection.create_process("trap 'echo caught; exit 3' TERM; echo ready; sleep 1000 & wait")
            await trapping.stdout.readline()
            trapping.send_signal("TERM")
            assert (await trapping.wait()).stdout == "caught\n"
            assert trapping.exit_status == 3
            plain = await connection.create_process("echo ready; exec sleep 1000")
            await plain.stdout.readline()
            plain.send_signal("KILL")
            await plain.wait()
            assert plain.exit_signal is not None
            assert plain.exit_signal[0] == "KILL"

    asyncio.run(scenario())


def test_terminal_with_size_and_its_change(tmp_path: Path) -> None:
    need("pty")

    async def scenario() -> None:
        async with open_lab(tmp_path) as lab, lab.connect(await lab.boot()) as connection:
            size = (100, 40)
            process = await connection.create_process(term_type="dumb", term_size=size)
            process.stdin.write("stty -echo; PS1=; echo; echo $TERM-$0; stty size\n")
            await process.stdout.readuntil("dumb--bash\r\n")
            assert await process.stdout.readline() == "40 100\r\n"
            process.change_terminal_size(80, 25)
            process.stdin.write("stty size; test -t 0 && tty\n")
            assert await process.stdout.readline() == "25 80\r\n"
            assert (await process.stdout.readline()).startswith("/dev/")
            process.stdin.write("exit 5\n")
            await process.wait()
            assert process.exit_status == 5

    asyncio.run(scenario())


def test_interrupt_key_interrupts(tmp_path: Path) -> None:
    need("pty")

    async def scenario() -> None:
        async with open_lab(tmp_path) as lab, lab.connect(await lab.boot()) as connection:
            process = await connection.create_process("echo ready; exec sleep 1000", term_type="vt100")
            await process.stdout.readline()
            process.stdin.write("\x03")
            await process.wait()
            assert process.exit_signal is not None
            assert process.exit_signal[0] == "INT"

    asyncio.run(scenario())


def test_background_process_outlives_session_and_connection(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab:
            spec = await lab.boot()
            async with lab.connect(spec) as connection:
                command = "nohup setsid sh -c 'while [ ! -e go ]; do sleep 0.05; done; echo done >left' </dev/null >/dev/null 2>&1 &"
                assert (await connection.run(command)).exit_status == 0
            home = spec.root / "home" / USERNAME
            (home / "go").touch()
            await wait_until((home / "left").exists)

    asyncio.run(scenario())


def test_sftp_starts_in_the_home_folder(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab:
            spec = await lab.boot()
            home = spec.root / "home" / USERNAME
            async with lab.connect(spec) as connection, connection.start_sftp_client() as sftp:
                assert await sftp.getcwd() == str(home)
                await sftp.makedirs("job 1/in")
                name = "job 1/in/new\nline é"
                async with sftp.open(name, "wb") as stream:
                    await stream.write(os.urandom(3 * MEGABYTE))
                assert (home / name).stat().st_size == 3 * MEGABYTE
                await sftp.symlink("in", "job 1/link")
                assert (home / "job 1/link").readlink() == Path("in")
                await sftp.posix_rename(name, "job 1/renamed")
                assert sorted(await sftp.listdir("job 1")) == [".", "..", "in", "link", "renamed"]
                with pytest.raises(asyncssh.SFTPNoSuchFile):
                    await sftp.stat("nowhere")

    asyncio.run(scenario())


def test_scp_of_asyncssh(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab:
            spec = await lab.boot()
            (tmp_path / "tree/sub").mkdir(parents=True)
            (tmp_path / "tree/sub/file").write_text("text")
            async with lab.connect(spec) as connection:
                await asyncssh.scp(tmp_path / "tree", (connection, "~/"), recurse=True)
                await asyncssh.scp((connection, "tree/sub/file"), tmp_path / "back")
            assert (spec.root / "home" / USERNAME / "tree/sub/file").read_text() == "text"
            assert (tmp_path / "back").read_text() == "text"

    asyncio.run(scenario())


def test_only_keys_of_os_login_are_accepted(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab:
            spec = await lab.boot()
            other = asyncssh.generate_private_key("ssh-ed25519")
            with pytest.raises(asyncssh.PermissionDenied):
                await lab.connect(spec, client_keys=[other])
            with pytest.raises(asyncssh.PermissionDenied):
                await lab.connect(spec, username="root")
            with pytest.raises(asyncssh.PermissionDenied):
                await lab.connect(spec, client_keys=None, password="x")
            lab.cloud.users.append(LoginUser(username="new", keys=(other.export_public_key().decode(),), sudo=False))
            async with lab.connect(spec, username="new", client_keys=[other]) as connection:
                assert (await connection.run("id -u && sudo -n true")).exit_status == 1
            lab.cloud.attributes["enable-oslogin"] = "FALSE"
            with pytest.raises(asyncssh.PermissionDenied):
                await lab.connect(spec)

    asyncio.run(scenario())


def test_ten_sessions_at_once_and_not_eleven(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab, lab.connect(await lab.boot()) as connection:
            processes = [await connection.create_process("read -r x") for _ in range(10)]
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.create_process("true")
            processes[0].stdin.write_eof()
            await processes[0].wait()
            assert (await connection.run("true")).exit_status == 0

    asyncio.run(scenario())


def test_faults(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab:
            spec = await lab.boot()
            lab.hypervisor.refuse_ssh(spec.key, duration_s=1000)
            with pytest.raises((OSError, asyncssh.Error)):
                await lab.connect(spec)
            lab.hypervisor.refuse_ssh(spec.key, duration_s=0)
            lab.hypervisor.cut_next_connection(spec.key, after_bytes=MEGABYTE)
            async with lab.connect(spec) as connection:
                done = await connection.run("head -c 100000000 /dev/zero", encoding=None)
                assert isinstance(done.stdout, bytes)
                assert done.exit_status is None
                assert 0 < len(done.stdout) < MEGABYTE
            async with lab.connect(spec) as connection:
                assert (await connection.run("true")).exit_status == 0
                lab.hypervisor.drop_connections(spec.key)
                await connection.wait_closed()

    asyncio.run(scenario())


def test_full_disk(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab:
            spec = await lab.boot()
            async with lab.connect(spec) as connection, connection.start_sftp_client() as sftp:
                running = await connection.create_process("while read -r x; do echo $x >>log || echo failed; done")
                await lab.hypervisor.fill_disk(spec.key, full=True)
                assert (await connection.run("echo text >file")).exit_status == 1
                running.stdin.write("x\n")
                assert await running.stdout.readline() == "failed\n"
                with pytest.raises(asyncssh.SFTPError):
                    async with sftp.open("file", "wb") as stream:
                        await stream.write(b"x")
                await lab.hypervisor.fill_disk(spec.key, full=False)
                assert (await connection.run("echo text >file; cat file")).stdout == "text\n"
                running.stdin.write_eof()
                await running.wait()

    asyncio.run(scenario())


async def run_program(*argv: str | Path, stdin: bytes = b"") -> tuple[int | None, bytes, bytes]:
    process = await asyncio.create_subprocess_exec(*argv, stdin=-1, stdout=-1, stderr=-1)
    out, err = await process.communicate(stdin)
    return process.returncode, out, err


def openssh_options(lab: Lab, spec: MachineSpec) -> list[str]:
    known_hosts = lab.folder / "known_hosts"
    blob = lab.cloud.guest[spec.key]["hostkeys"]["ssh-ed25519"]
    known_hosts.write_text(f"[{spec.address}]:{spec.ssh_port} ssh-ed25519 {blob}\n")
    options = ["BatchMode=yes", "IdentitiesOnly=yes", "IdentityAgent=none", "StrictHostKeyChecking=yes"]
    options += [f"UserKnownHostsFile={known_hosts}", "GlobalKnownHostsFile=/dev/null", "LogLevel=ERROR"]
    options += [f"Port={spec.ssh_port}", f"User={USERNAME}"]
    return ["-F", "none", "-i", str(lab.write_key()), *(part for option in options for part in ("-o", option))]


def test_openssh_client(tmp_path: Path) -> None:
    """Use OpenSSH; the tests above use asyncssh."""
    need("ssh", "pty")

    async def scenario() -> None:
        async with open_lab(tmp_path) as lab:
            spec = await lab.boot()
            options = openssh_options(lab, spec)
            assert await run_program("ssh", *options, spec.address, "cat; echo e >&2; exit 9", stdin=b"in") == (
                9,
                b"in",
                b"e\n",
            )
            code, out, err = await run_program("ssh", "-tt", *options, spec.address, "stty size; tty; exit 4")
            assert (code, err) == (4, b"")
            assert b"/dev/" in out
            assert (await run_program("ssh", *options, spec.address, "kill -TERM $$"))[0] == 255
            (tmp_path / "big").write_bytes(os.urandom(5 * MEGABYTE))
            for mode in ("-s", "-O"):
                up = await run_program("scp", mode, *options, tmp_path / "big", f"{spec.address}:~/up{mode}")
                assert up == (0, b"", b"")
                down = await run_program("scp", mode, *options, f"{spec.address}:up{mode}", tmp_path / "down")
                assert down == (0, b"", b"")
                assert (tmp_path / "down").read_bytes() == (tmp_path / "big").read_bytes()
            code, out, err = await run_program("sftp", *options, "-b", "-", spec.address, stdin=b"pwd\n")
            assert (code, err) == (0, b"")
            assert str(spec.root / "home" / USERNAME) in out.decode()

    asyncio.run(scenario())


def test_exit_by_signal_is_reported_by_name(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab, lab.connect(await lab.boot()) as connection:
            done = await connection.run("kill -SEGV $$")
            assert done.exit_signal is not None
            assert signal.Signals[f"SIG{done.exit_signal[0]}"] is signal.SIGSEGV

    asyncio.run(scenario())
