"""The gRPC service: answers the engine's calls from the tables and the cloud, with errors in the stock plugin's form."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import grpc
from google.protobuf import any_pb2, empty_pb2
from google.rpc import status_pb2  # type: ignore[import-untyped]

from runner.emulator.provider.check import Naming, check_inputs
from runner.emulator.provider.configuration import Connections, find_config_problems
from runner.emulator.provider.diff import Change, diff_resource, needs_delete_first
from runner.emulator.provider.plan import inputs_from_state, plan_create, plan_update
from runner.emulator.provider.registry import find_function, find_type
from runner.emulator.provider.resource import (
    Cloud,
    Edit,
    Locks,
    ProviderError,
    ResourceType,
    UnfinishedError,
    plan_labels,
)
from runner.emulator.provider.rest import ApiError, Rest
from runner.emulator.provider.stubs import plugin_pb2, provider_pb2, provider_pb2_grpc
from runner.emulator.provider.values import Properties, decode, encode, has_unknown, prune, reveal

PLUGIN_VERSION = "10.2.0"
_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")
Context = grpc.ServicerContext


class PartlyCreatedError(Exception):
    """The resource exists, but is not as declared or could not be read: the engine has to record it."""

    def __init__(self, id: str, known: Properties, reason: str) -> None:
        super().__init__(reason)
        self.id = id
        self.known = known


def _token(urn: str) -> str:
    return urn.split("::")[2].split("$")[-1]


def _name(urn: str) -> str:
    return urn.split("::", 3)[3]


def _one_error(words: object) -> str:
    return f"1 error occurred:\n\t* {str(words).rstrip()}\n\n"


class Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """The resource provider ``gcp``."""

    def __init__(self, rest: Rest, connections: Connections, *, pace: float) -> None:
        self._rest = rest
        self._connections = connections
        self._pace = pace
        self._locks = Locks()

    def _cloud(self, context: Context) -> Cloud:
        settings, cancelled = self._connections.find(context.peer())
        return Cloud(rest=self._rest, settings=settings, locks=self._locks, cancelled=cancelled, pace=self._pace)

    def _run(self, context: Context, work: Callable[[Cloud], _Answer], prefix: str = "") -> _Answer:
        """Do ``work``, with its errors reported to the engine."""
        try:
            return work(self._cloud(context))
        except PartlyCreatedError as error:
            _abort_partly(context, error)
        except (ProviderError, ApiError) as error:
            context.abort(grpc.StatusCode.UNKNOWN, prefix + _one_error(error))
        except Exception as error:
            _log.exception("the provider failed")
            context.abort(grpc.StatusCode.INTERNAL, f"{prefix}the embedded cloud's provider failed: {error!r}")

    # the engine's handshake

    def Handshake(self, request: Any, context: Context) -> Any:  # noqa: N802
        return provider_pb2.ProviderHandshakeResponse(supports_autonaming_configuration=True)

    def GetPluginInfo(self, request: Any, context: Context) -> Any:  # noqa: N802
        return plugin_pb2.PluginInfo(version=PLUGIN_VERSION)

    def Attach(self, request: Any, context: Context) -> Any:  # noqa: N802
        return empty_pb2.Empty()

    def GetSchema(self, request: Any, context: Context) -> Any:  # noqa: N802
        return provider_pb2.GetSchemaResponse(schema=f'{{"name": "gcp", "version": "{PLUGIN_VERSION}"}}')

    def CheckConfig(self, request: Any, context: Context) -> Any:  # noqa: N802
        failures = [
            provider_pb2.CheckFailure(property=key, reason=reason)
            for key, reason in find_config_problems(decode(request.news))
        ]
        return provider_pb2.CheckResponse(inputs=request.news, failures=failures)

    def DiffConfig(self, request: Any, context: Context) -> Any:  # noqa: N802
        some = decode(request.olds) != decode(request.news)
        return provider_pb2.DiffResponse(changes=_diff_kind(some))

    def Configure(self, request: Any, context: Context) -> Any:  # noqa: N802
        self._connections.configure(context.peer(), decode(request.args))
        return provider_pb2.ConfigureResponse(supportsPreview=True, supports_autonaming_configuration=True)

    def Cancel(self, request: Any, context: Context) -> Any:  # noqa: N802
        self._connections.find(context.peer())[1].set()
        return empty_pb2.Empty()

    # functions

    def Invoke(self, request: Any, context: Context) -> Any:  # noqa: N802
        def work(cloud: Cloud) -> Any:
            result = find_function(request.tok)(cloud, decode(request.args))
            response = provider_pb2.InvokeResponse()
            getattr(response, "return").CopyFrom(encode(reveal(result)))
            return response

        return self._run(context, work, f"invoking {request.tok}: ")

    # resources

    def Check(self, request: Any, context: Context) -> Any:  # noqa: N802
        def work(cloud: Cloud) -> Any:
            kind = find_type(_token(request.urn))
            inputs, problems = check_inputs(kind, decode(request.olds), decode(request.news), _naming(request))
            failures = [provider_pb2.CheckFailure(reason=problem) for problem in problems]
            return provider_pb2.CheckResponse(inputs=encode(inputs), failures=failures)

        return self._run(context, work)

    def Diff(self, request: Any, context: Context) -> Any:  # noqa: N802
        def work(cloud: Cloud) -> Any:
            kind = find_type(_token(request.urn))
            olds, news = decode(request.olds), decode(request.news)
            changes = diff_resource(kind, olds, news, cloud.settings)
            changes = [change for change in changes if not _is_ignored(change, request.ignoreChanges)]
            first = needs_delete_first(kind, olds, decode(request.old_inputs), news)
            return _diff_response(changes, delete_first=first)

        return self._run(context, work)

    def Create(self, request: Any, context: Context) -> Any:  # noqa: N802
        def work(cloud: Cloud) -> Any:
            kind, news = find_type(_token(request.urn)), decode(request.properties)
            refused = kind.operations.refuse_create(news)
            if refused:
                raise ProviderError(refused)
            if request.preview:
                return provider_pb2.CreateResponse(properties=encode(plan_create(kind, news, cloud.settings)))
            id, state = _create(kind, cloud, request.urn, prune(news))
            return provider_pb2.CreateResponse(id=id, properties=encode(state))

        return self._run(context, work)

    def Read(self, request: Any, context: Context) -> Any:  # noqa: N802
        def work(cloud: Cloud) -> Any:
            kind = find_type(_token(request.urn))
            state = kind.read_state(cloud, request.id, decode(request.properties))
            if state is None:
                return provider_pb2.ReadResponse()
            inputs = inputs_from_state(kind, state, decode(request.inputs))
            return provider_pb2.ReadResponse(id=state["id"], properties=encode(state), inputs=encode(inputs))

        return self._run(context, work)

    def Update(self, request: Any, context: Context) -> Any:  # noqa: N802
        def work(cloud: Cloud) -> Any:
            kind, olds, news = find_type(_token(request.urn)), decode(request.olds), decode(request.news)
            planned = plan_update(kind, olds, news, cloud.settings)
            if not request.preview:
                planned = _update(kind, cloud, request, olds, news, planned)
            return provider_pb2.UpdateResponse(properties=encode(planned))

        return self._run(context, work, f"updating {request.urn}: ")

    def Delete(self, request: Any, context: Context) -> Any:  # noqa: N802
        def work(cloud: Cloud) -> Any:
            state = decode(request.properties)
            policy = state.get("deletionPolicy", "DELETE")
            if policy == "PREVENT":
                raise ProviderError(f"cannot destroy {request.id}: its deletionPolicy is PREVENT")
            if policy == "DELETE":
                find_type(_token(request.urn)).operations.delete(cloud, request.id, state)
            return empty_pb2.Empty()

        return self._run(context, work, f"deleting {request.urn}: ")


def _naming(request: Any) -> Naming:
    modes = provider_pb2.CheckRequest.AutonamingOptions
    named = request.autonaming
    return Naming(
        logical_name=_name(request.urn),
        seed=request.randomSeed,
        proposed=named.proposed_name if request.HasField("autonaming") else "",
        allowed=not (request.HasField("autonaming") and named.mode == modes.DISABLE),
    )


def _create(kind: ResourceType, cloud: Cloud, urn: str, news: Properties) -> tuple[str, Properties]:
    if has_unknown(news):
        raise ProviderError("an input is still unknown")
    ours, there = plan_labels(cloud.settings, news, {}) or ({}, {})
    known = news | ({"pulumiLabels": ours, "effectiveLabels": there} if "labels" in kind.fields else {})
    try:
        id = kind.operations.create(cloud, news)
    except UnfinishedError as error:
        raise PartlyCreatedError(error.id, known, str(error)) from error
    try:
        state = kind.read_state(cloud, id, known)
    except (ProviderError, ApiError, KeyError) as error:
        raise PartlyCreatedError(id, known, f"created, but could not be read: {error}") from error
    if state is None:
        raise ProviderError(f"expected non-empty ID for new state during Create of {urn}")
    return str(state["id"]), state


def _update(
    kind: ResourceType, cloud: Cloud, request: Any, olds: Properties, news: Properties, planned: Properties
) -> Properties:
    changes = diff_resource(kind, olds, news, cloud.settings)
    paths = [change.path for change in changes if not _is_ignored(change, request.ignoreChanges)]
    edit = Edit(olds=olds, news=prune(news), paths=paths, labels=planned.get("effectiveLabels", {}))
    kind.operations.update(cloud, request.id, edit)
    state = kind.read_state(cloud, request.id, planned)
    if state is None:
        raise ProviderError(f"Resource provider reported that the resource did not exist while updating {request.urn}.")
    return state


def _is_ignored(change: Change, ignored: Any) -> bool:
    return any(change.path == path or change.path.startswith((f"{path}.", f"{path}[")) for path in ignored)


def _diff_kind(some: bool) -> Any:
    return provider_pb2.DiffResponse.DIFF_SOME if some else provider_pb2.DiffResponse.DIFF_NONE


def _diff_response(changes: list[Change], *, delete_first: bool) -> Any:
    replaces = sorted({change.top for change in changes if change.replace})
    kinds = provider_pb2.PropertyDiff.Kind
    detailed = {
        change.path: provider_pb2.PropertyDiff(kind=kinds.Value(change.verb.value + "_REPLACE" * change.replace))
        for change in changes
    }
    return provider_pb2.DiffResponse(
        changes=_diff_kind(bool(changes)),
        diffs=sorted({change.top for change in changes}),
        replaces=replaces,
        deleteBeforeReplace=bool(replaces) and delete_first,
        detailedDiff=detailed,
        hasDetailedDiff=True,
    )


def _abort_partly(context: Context, error: PartlyCreatedError) -> NoReturn:
    """Report to the engine that a resource exists although its creation failed."""
    properties = encode(error.known)
    failed = provider_pb2.ErrorResourceInitFailed(
        id=error.id, properties=properties, inputs=properties, reasons=[str(error)]
    )
    detail = any_pb2.Any()
    detail.Pack(failed)
    code = grpc.StatusCode.UNKNOWN
    status = status_pb2.Status(code=code.value[0], message=_one_error(error), details=[detail])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, status.message)
