"""The remains of a program whose engine has ended, in a thread like that of the Automation API; the next engine."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from pulumi.runtime.proto import engine_pb2
from pulumi.runtime.settings import Settings

from runner.stacks.program import InlineProgram
from runner.stacks.sdk import use_own_connections

LIMIT_S = 60.0


def test_a_program_that_waits_for_ever_is_ended() -> None:
    async def wait_for_ever() -> None:
        await asyncio.get_running_loop().create_future()

    assert ends(wait_for_ever)


def test_so_is_one_that_continues_after_it_was_cancelled_once() -> None:
    async def wait_twice() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            await asyncio.get_running_loop().create_future()

    assert ends(wait_twice)


def test_an_engine_at_the_port_of_a_dead_one_is_called() -> None:
    use_own_connections()
    port = free_port()
    with pytest.raises(grpc.RpcError, match="UNAVAILABLE"):
        ask_engine(port)
    server = grpc.server(ThreadPoolExecutor(1))
    assert server.add_insecure_port(f"127.0.0.1:{port}") == port
    server.start()
    try:
        with pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"):  # the answer of this server, which serves nothing
            ask_engine(port)
    finally:
        server.stop(None).wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def ask_engine(port: int) -> None:
    """As a program of the SDK asks it."""
    engine = Settings("p", "s", engine=f"127.0.0.1:{port}").engine
    assert engine is not None
    engine.GetRootResource(engine_pb2.GetRootResourceRequest())


def ends(wait: Callable[[], Awaitable[None]]) -> bool:
    """Whether a program that then waits is over once ``end`` has returned, and its thread too."""
    has_begun = threading.Event()
    program = InlineProgram(lambda: has_begun.set)
    thread = threading.Thread(target=run_program, args=(program, wait), daemon=True)
    thread.start()
    assert has_begun.wait(LIMIT_S)
    program.end()
    thread.join(LIMIT_S)
    return not thread.is_alive()


def run_program(program: InlineProgram, wait: Callable[[], Awaitable[None]]) -> None:
    """As the Automation API does it: the loop's thread finishes what is left, and closes it."""

    async def declare_and_wait() -> None:
        program()
        await wait()

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(declare_and_wait())
    except asyncio.CancelledError:
        pass
    finally:
        loop.close()
