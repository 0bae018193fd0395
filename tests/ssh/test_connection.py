"""Plain SSH connections, against a real OpenSSH server, and against AsyncSSH's own where a password is needed."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from runner.errors import HostKeyError, RemoteCommandError, RemoteError
from runner.ssh.connection import Connection, wait_for_ssh
from runner.ssh.line import announce_command, quote
from runner.ssh.target import SshTarget, split_host
from tests.hardware.hosts import Host, LoopInThread, openssh_host, wait_until
from tests.hardware.sshd import Sshd, free_port, make_key
from tests.needs import need

ODD_WORDS = ["", " ", "a b", "it's", '"', "$HOME", "`id`", "\\", "*", "~", "new\nline\n", "-n", "ü", "!x", "#", "\t"]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with openssh_host(tmp_path_factory.mktemp("host") / "h") as made:
        yield made


@pytest.fixture(scope="module")
def connection(host: Host) -> Iterator[Connection]:
    with Connection(host.target()) as made:
        yield made


def test_words_arrive_as_they_are(connection: Connection) -> None:
    result = connection.run(["printf", "%s|", *ODD_WORDS])
    assert result.text == "|".join(ODD_WORDS) + "|"
    assert (result.exit_code, result.stderr, result.tries) == (0, b"", 1)


def test_streams_and_exit_code_are_apart(connection: Connection) -> None:
    result = connection.run_script('echo out; echo "$1" >&2; exit 7', "err")
    assert (result.exit_code, result.stdout, result.stderr) == (7, b"out\n", b"err\n")
    with pytest.raises(RemoteCommandError, match="exit code 3: sorry") as caught:
        connection.run(["sh", "-c", "echo sorry >&2; exit 3"], check=True)
    assert (caught.value.exit_code_remote, caught.value.last_lines) == (3, ("sorry",))


def test_killed_command_is_reported(connection: Connection) -> None:
    result = connection.run_script("kill -9 $$")
    assert (result.exit_code, result.signal) == (None, "KILL")


def test_much_goes_in_and_out(connection: Connection) -> None:
    content = bytes(range(256)) * 40_000
    assert connection.run(["cat"], stdin=content).stdout == content
    assert connection.run(["cat"], stdin=lambda: [content, content]).stdout == content * 2
    # A command that does not read all it is given is no error.
    assert connection.run(["true"], stdin=content).exit_code == 0
    assert connection.run(["head", "-c", "3"], stdin=content).stdout == content[:3]


def test_failing_source_of_stdin_is_the_callers_error(connection: Connection, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        connection.run(["cat"], stdin=lambda: iter([(tmp_path / "none").read_bytes()]))
    assert connection.run(["true"]).exit_code == 0


def test_output_as_it_comes(connection: Connection) -> None:
    seen: list[tuple[int, bytes]] = []
    result = connection.run(
        ["sh", "-c", "echo a; read x; echo b >&2"], stdin=b"\n", on_output=lambda *what: seen.append(what)
    )
    assert result.stdout == b""
    assert sorted(seen) == [(1, b"a\n"), (2, b"b\n")]


def test_folder_and_home(connection: Connection, host: Host) -> None:
    (host.home / "sub dir").mkdir(exist_ok=True)
    assert connection.run(["pwd"], folder="~/sub dir").text.strip() == str(host.home / "sub dir")
    assert connection.run(["pwd"], folder=str(host.folder)).text.strip() == str(host.folder)
    assert connection.run(["pwd"], folder="/no/such/folder").exit_code != 0


def test_many_calls_from_many_threads(connection: Connection) -> None:
    results: list[str] = []
    threads = [
        threading.Thread(
            target=lambda number=number: results.append(connection.run(["echo", str(number)]).text.strip())
        )
        for number in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, results)) == list(range(40))


def test_closed_connection_says_so(host: Host) -> None:
    connection = Connection(host.target())
    connection.close()
    connection.close()
    with pytest.raises(RemoteError, match="closed"):
        connection.run(["true"])


def test_nul_in_a_word_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        quote("a\0b")
    with pytest.raises(ValueError, match="marker"):
        announce_command("a; rm")


def test_unknown_host_key_is_refused_and_says_how_to_accept_it(host: Host, tmp_path: Path) -> None:
    known = tmp_path / "ssh/known_hosts"
    target = host.target(host_keys=(), known_hosts=(known,))
    with pytest.raises(HostKeyError, match="is not known") as caught:
        Connection(target)
    assert f"ssh-keyscan -p {host.port}" in caught.value.remedy
    assert not known.exists()


def test_new_host_key_is_accepted_when_asked_for_and_then_known(host: Host, tmp_path: Path) -> None:
    known = tmp_path / "ssh/known_hosts"
    target = host.target(host_keys=(), known_hosts=(known,), accept_new_host_keys=True)
    Connection(target).close()
    assert known.read_text().split()[0] == f"[127.0.0.1]:{host.port}"
    Connection(dataclasses.replace(target, accept_new_host_keys=False)).close()
    # OpenSSH reads what was written.
    options = [
        "-F",
        "none",
        "-o",
        f"UserKnownHostsFile={known}",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "BatchMode=yes",
    ]
    need("ssh")
    command = ["ssh", *options, "-i", str(host.key), "-p", str(host.port), f"{host.user}@127.0.0.1", "true"]
    assert subprocess.run(command, capture_output=True).returncode == 0


def test_changed_host_key_is_refused_although_new_ones_are_accepted(host: Host, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other").with_suffix(".pub").read_text().split()
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{host.port} {other[0]} {other[1]}\n")
    with pytest.raises(HostKeyError, match="has changed") as caught:
        Connection(host.target(host_keys=(), known_hosts=(known,), accept_new_host_keys=True))
    assert "ssh-keygen" in caught.value.remedy


def test_host_key_that_was_not_published_is_refused(host: Host, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other").with_suffix(".pub").read_text()
    with pytest.raises(HostKeyError, match="not one of the host keys"):
        Connection(host.target(host_keys=(other,)))
    with pytest.raises(HostKeyError, match="cannot be read"):
        Connection(host.target(host_keys=("ssh-ed25519 nonsense",)))


def test_refused_login(host: Host, tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="refused the login"):
        Connection(host.target(key_filename=make_key(tmp_path / "other")))
    with pytest.raises(RemoteError, match="cannot log in"):
        Connection(host.target(key_filename=tmp_path / "none"))


def test_no_server() -> None:
    with pytest.raises(RemoteError, match="cannot connect") as caught:
        Connection(SshTarget(host="127.0.0.1", port=free_port(), user="x", connect_timeout_s=5))
    assert caught.value.remedy


def test_agent(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        wait_until(socket.exists, "the agent")
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        monkeypatch.setenv("HOME", str(tmp_path))
        with pytest.raises(RemoteError, match="refused the login"):
            Connection(host.target(key_filename=None, use_ssh_agent=True))
        subprocess.run(["ssh-add", "-q", str(host.key)], check=True)
        with Connection(host.target(key_filename=None, use_ssh_agent=True)) as connection:
            assert connection.run(["true"]).exit_code == 0
    finally:
        agent.terminate()
        agent.wait()


def test_config_file(host: Host, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{host.port} {host.host_key}")
    config = tmp_path / "config"
    config.write_text(
        f'Host somewhere\n  HostName 127.0.0.1\n  Port {host.port}\n  IdentityFile "{host.key}"\n  UserKnownHostsFile {known}\n'
    )
    target = SshTarget(host="somewhere", user=host.user, ssh_config_path=config, known_hosts=(known,))
    with Connection(target) as connection:
        assert connection.run(["echo", "hello"]).text == "hello\n"


@pytest.mark.parametrize("alias", ["", "the-server"])
def test_changed_host_key_is_refused_when_a_config_file_says_where_the_host_is(
    host: Host, tmp_path: Path, alias: str
) -> None:
    other = make_key(tmp_path / "other").with_suffix(".pub").read_text().split()
    known = tmp_path / "known_hosts"
    known.write_text(f"[{alias or '127.0.0.1'}]:{host.port} {other[0]} {other[1]}\n")
    target = _target_of_config(host, tmp_path, alias)
    with pytest.raises(HostKeyError, match="has changed") as caught:
        Connection(target)
    assert f"-R '[{alias or '127.0.0.1'}]:{host.port}'" in caught.value.remedy
    known.unlink()
    Connection(target).close()
    assert known.read_text().split()[0] == f"[{alias or '127.0.0.1'}]:{host.port}"
    Connection(dataclasses.replace(target, accept_new_host_keys=False)).close()


def _target_of_config(host: Host, folder: Path, alias: str) -> SshTarget:
    config = folder / "config"
    lines = ["Host somewhere", "HostName 127.0.0.1", f"Port {host.port}", f'IdentityFile "{host.key}"']
    config.write_text("\n".join(lines + ([f"HostKeyAlias {alias}"] if alias else [])) + "\n")
    known = (folder / "known_hosts",)
    return SshTarget(
        host="somewhere", user=host.user, ssh_config_path=config, known_hosts=known, accept_new_host_keys=True
    )


def test_waiting_for_a_vm_that_boots(tmp_path: Path) -> None:
    server = Sshd(folder=tmp_path / "sshd")
    server.prepare()
    target = SshTarget(
        host="127.0.0.1", port=server.port, user=server.user, key_filename=server.key, host_keys=(server.host_key_line,)
    )
    reasons: list[str] = []
    announced: list[SshTarget] = []

    def on_wait(reason: str) -> None:
        reasons.append(reason)
        if len(reasons) == 2:
            announced.append(target)
        if len(reasons) == 4:
            server.start()

    try:
        with wait_for_ssh(lambda: announced[0] if announced else None, timeout_s=60, on_wait=on_wait) as connection:
            assert connection.run(["true"]).exit_code == 0
    finally:
        server.stop()
    assert "has not published" in reasons[0]
    assert "cannot connect" in reasons[3]


def test_vm_that_never_answers() -> None:
    target = SshTarget(host="127.0.0.1", port=free_port(), user="x")
    with pytest.raises(RemoteError, match=r"did not answer over SSH within 0\.3 s: cannot connect"):
        wait_for_ssh(target, timeout_s=0.3)


def test_account_that_runs_no_commands(tmp_path: Path) -> None:
    with (
        openssh_host(tmp_path / "h", options=("ForceCommand echo This account is not available; exit 1",)) as host,
        Connection(host.target()) as connection,
        pytest.raises(RemoteError, match="This account is not available"),
    ):
        connection.run(["true"])


@pytest.mark.parametrize("most", [1, 2, 3])
def test_server_that_allows_few_sessions(tmp_path: Path, most: int) -> None:
    with (
        openssh_host(tmp_path / "h", options=(f"MaxSessions {most}",)) as host,
        Connection(host.target()) as connection,
    ):
        threads = [threading.Thread(target=connection.run, args=(["sleep", "0.1"],)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert connection.run(["echo", "fine"]).text == "fine\n"


class PasswordServer(asyncssh.SSHServer):
    """Accepts logins with the password."""

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return password == "open sesame"


async def run_process(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Run the command of a session."""
    child = await asyncio.create_subprocess_shell(process.command or "true", stdin=-1, stdout=-1, stderr=-1)

    stdin = child.stdin
    assert stdin is not None

    async def feed() -> None:
        try:
            while piece := await process.stdin.read(4096):
                stdin.write(piece)
        finally:
            stdin.close()

    async def drain(source: asyncio.StreamReader | None, sink: asyncssh.SSHWriter[bytes]) -> None:
        while source and (piece := await source.read(4096)):
            sink.write(piece)

    streams = (feed(), drain(child.stdout, process.stdout), drain(child.stderr, process.stderr))
    # The client may go away at any time.
    await asyncio.gather(*streams, return_exceptions=True)
    process.exit(await child.wait())


@pytest.fixture
def password_target(tmp_path: Path) -> Iterator[SshTarget]:
    thread = LoopInThread()
    key = asyncssh.generate_private_key("ssh-ed25519")

    async def serve() -> asyncssh.SSHAcceptor:
        return await asyncssh.create_server(
            PasswordServer, "127.0.0.1", 0, server_host_keys=[key], process_factory=run_process, encoding=None
        )

    server = thread.run(serve())
    yield SshTarget(
        host="127.0.0.1",
        port=server.get_port(),
        user="x",
        host_keys=(key.export_public_key().decode(),),
        max_attempts=3,
    )
    thread.run(close_server(server))
    thread.close()


async def close_server(server: asyncssh.SSHAcceptor) -> None:
    server.close()
    await server.wait_closed()
    own = asyncio.current_task()
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not own), return_exceptions=True)


def asking(target: SshTarget, answers: list[Any], prompts: list[str]) -> SshTarget:
    def ask(prompt: str) -> str | None:
        prompts.append(prompt)
        answer: str | None = answers.pop(0)
        return answer

    return dataclasses.replace(target, ask_password=ask)


def test_password_is_asked_for_until_it_is_right(password_target: SshTarget) -> None:
    prompts: list[str] = []
    with Connection(asking(password_target, ["no", "open sesame"], prompts)) as connection:
        assert connection.run(["echo", "in"]).text == "in\n"
    assert len(prompts) == 2
    assert prompts[0].startswith("Password for x@127.0.0.1") and "not accepted" in prompts[1]


def test_password_is_asked_for_a_limited_number_of_times(password_target: SshTarget) -> None:
    prompts: list[str] = []
    with pytest.raises(RemoteError, match="refused the login"):
        Connection(asking(password_target, ["a", "b", "c", "d"], prompts))
    assert len(prompts) == 3
    with pytest.raises(RemoteError, match="no password was given"):
        Connection(asking(password_target, [None], prompts))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("host", ("host", None)),
        ("host:2222", ("host", 2222)),
        ("127.0.0.1:22", ("127.0.0.1", 22)),
        ("[::1]:2222", ("::1", 2222)),
        ("::1", ("::1", None)),
        ("[::1]", ("::1", None)),
    ],
)
def test_host_and_port(text: str, parts: tuple[str, int | None]) -> None:
    assert split_host(text) == parts


@pytest.mark.parametrize("text", ["", ":22", "host:", "host:x", "host:0", "host:70000"])
def test_bad_host(text: str) -> None:
    with pytest.raises(ValueError, match=r"HOST|port"):
        split_host(text)


def test_importing_loads_no_ssh_library() -> None:
    check = "import sys, runner.hardware, runner.ssh.connection; sys.exit('asyncssh' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0
