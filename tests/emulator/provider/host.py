"""Runs a program of the test's process for the engine, and leaves nothing behind when it fails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import grpc
from pulumi.automation._server import LanguageServer
from pulumi.runtime.proto import language_pb2, language_pb2_grpc

Program = Callable[[], object]

_LIMIT_S, _PAUSE_S = 60.0, 0.05


@contextmanager
def host_program(program: Program) -> Iterator[int]:
    """The port at which the engine finds the program; to be left when the engine has ended."""
    host = ProgramHost(program)
    with ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads)
        language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield port
        finally:
            host.end()
            server.stop(None).wait()


class ProgramHost(LanguageServer):
    """The SDK's host, but with an end: after a failure that one may wait for ever for a value, or leave its loop open."""

    def __init__(self, program: Program) -> None:
        super().__init__(self._run_program)
        self._program = program
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle = threading.Event()
        self._idle.set()

    def Run(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Run it once; the engine asks."""
        run: Callable[[Any, Any], Any] = super().Run
        self._idle.clear()
        try:
            return run(request, context)
        except Exception as error:
            return language_pb2.RunResponse(error=str(error))
        finally:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.run_until_complete(_cancel_others())
                self._loop.close()
            self._idle.set()

    def end(self) -> None:
        """The engine is gone: what the program still waits for does not come."""
        for _ in range(round(_LIMIT_S / _PAUSE_S)):
            if self._idle.wait(_PAUSE_S):
                return
            if self._loop is not None:
                with suppress(RuntimeError):  # it is closed by now
                    self._loop.call_soon_threadsafe(self._cancel_tasks)
        raise AssertionError("the program does not end")

    def _run_program(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._program()

    def _cancel_tasks(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()


async def _cancel_others() -> None:
    """End all tasks of this loop."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
