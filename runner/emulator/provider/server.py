"""Starts and stops the provider."""

from __future__ import annotations

from concurrent import futures

import grpc

from runner.emulator.provider.configuration import Connections
from runner.emulator.provider.gatekeeper import Gatekeeper
from runner.emulator.provider.resource import ATTRIBUTION_LABELS, Settings
from runner.emulator.provider.rest import Rest
from runner.emulator.provider.servicer import Servicer
from runner.emulator.provider.stubs import provider_pb2_grpc

#: Our pauses as a share of the stock plugin's: as many polls, without the 5 s that it waits for each VM.
DEFAULT_PACE = 0.02
_THREADS = 64
_GRACE_S = 2.0
# Without the last, two servers could listen on one port, and each get some of the calls.
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]


class ProviderServer:
    """A running provider; the engine attaches with ``PULUMI_DEBUG_PROVIDERS=gcp:PORT``."""

    def __init__(self, server: grpc.Server, port: int, rest: Rest) -> None:
        self._server = server
        self._rest = rest
        self.port = port

    def stop(self) -> None:
        """Stop it; running calls get a moment to end."""
        self._server.stop(_GRACE_S).wait()
        self._rest.close()


def start(
    url: str,
    *,
    token: str,
    project: str,
    region: str,
    zone: str,
    last_port: int = 0,
    pace: float = DEFAULT_PACE,
    uid: int | None = None,
) -> ProviderServer:
    """Serve on 127.0.0.1 for the cloud at ``url``, whose owner has ``token``: on the last port if it is free, so that an
    engine's environment stays valid after a restart; else on any. Project, region and zone are the defaults of programs.
    ``pace``: 1 for the stock plugin's own pauses. Only engines of the user ``uid`` (None: of this process) are served.
    """
    rest = Rest(url, token)
    defaults = Settings(project=project, region=region, zone=zone, default_labels=ATTRIBUTION_LABELS)
    gatekeeper = Gatekeeper(uid)
    server = grpc.server(
        futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="provider"),
        interceptors=[gatekeeper],
        options=_OPTIONS,
    )
    servicer = Servicer(rest, Connections(defaults), pace=pace)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
    port = gatekeeper.port = _bind(server, last_port)
    server.start()
    return ProviderServer(server, port, rest)


def _bind(server: grpc.Server, last_port: int) -> int:
    try:
        return int(server.add_insecure_port(f"127.0.0.1:{last_port}"))
    except RuntimeError:
        return int(server.add_insecure_port("127.0.0.1:0"))
