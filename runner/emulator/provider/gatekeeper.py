"""Access to the provider: engines of its own user only. An engine that attaches to a port can send no token, so the kernel is asked."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import grpc

from runner.emulator.iam import is_own_connection

_PEER = re.compile(r"ipv4:(?P<host>[0-9.]+):(?P<port>[0-9]+)")
_REFUSAL = "the embedded cloud's provider serves the user who started it"


class Gatekeeper(grpc.ServerInterceptor):  # type: ignore[type-arg]  # it is not generic at run time
    """Checks every call: the connection belongs to the user who has it open, and its port may be another user's afterwards."""

    def __init__(self, uid: int | None) -> None:
        self._uid = uid
        self.port = 0

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """Return the handler with the check before it; the engine's protocol has only unary calls."""
        handler = continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return None

        def ask_first(request: Any, context: grpc.ServicerContext) -> Any:
            if not self._is_own(context.peer()):
                context.abort(grpc.StatusCode.PERMISSION_DENIED, _REFUSAL)
            return handler.unary_unary(request, context)

        return grpc.unary_unary_rpc_method_handler(
            ask_first,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _is_own(self, peer: str) -> bool:
        found = _PEER.fullmatch(peer)
        if found is None:
            return False
        return is_own_connection((found["host"], int(found["port"])), ("127.0.0.1", self.port), uid=self._uid)
