"""Starts and stops the provider."""

from __future__ import annotations

from concurrent import futures

import grpc

from runner.emulator.provider.configuration import Connections
from runner.emulator.provider.resource import ATTRIBUTION_LABELS, Settings
from runner.emulator.provider.rest import Rest
from runner.emulator.provider.servicer import Servicer
from runner.emulator.provider.stubs import provider_pb2_grpc

_THREADS = 64
_GRACE_S = 2.0
_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class ProviderServer:
    """A running provider; the engine attaches with ``PULUMI_DEBUG_PROVIDERS=gcp:PORT``."""

    def __init__(self, server: grpc.Server, port: int, rest: Rest) -> None:
        self._server = server
        self._rest = rest
        self.port = port

    def stop(self) -> None:
        """Stop it; calls under way get a moment to end."""
        self._server.stop(_GRACE_S).wait()
        self._rest.close()


def start(url: str, *, project: str, region: str, zone: str) -> ProviderServer:
    """Serve on a free port of 127.0.0.1 for the cloud at ``url``. The places stand in where a program names none."""
    rest = Rest(url)
    defaults = Settings(project=project, region=region, zone=zone, default_labels=ATTRIBUTION_LABELS)
    server = grpc.server(futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="provider"), options=_UNLIMITED)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Servicer(rest, Connections(defaults)), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return ProviderServer(server, port, rest)
