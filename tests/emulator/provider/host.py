"""Runs a program of the test's process for the engine, and leaves nothing behind when it fails."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from pulumi.automation._server import LanguageServer
from pulumi.runtime.proto import language_pb2_grpc

from runner.stacks.program import InlineProgram, Program


@contextmanager
def host_program(program: Program) -> Iterator[int]:
    """Yield the port at which the engine finds the program; leave the block when the engine has ended."""
    inline = InlineProgram(lambda: program)
    with ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads)
        language_pb2_grpc.add_LanguageRuntimeServicer_to_server(LanguageServer(inline), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield port
        finally:
            inline.end()
            server.stop(None).wait()
