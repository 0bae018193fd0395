"""Routers, and the NAT gateways inside them."""

from __future__ import annotations

from collections.abc import Callable

from runner.emulator.provider.compute import ROOT, ComputeOperations, wait_for, without_empty
from runner.emulator.provider.compute_network import network_link, region_link
from runner.emulator.provider.links import same_link, same_name
from runner.emulator.provider.resource import Cloud, Edit, Operations, ProviderError, ResourceType
from runner.emulator.provider.rest import Answer, ApiError
from runner.emulator.provider.schema import (
    all_fields,
    block,
    collection,
    flag,
    location,
    number,
    outputs,
    project,
    resource_name,
    text,
)
from runner.emulator.provider.values import Properties


class RouterOperations(ComputeOperations):
    """compute.Router."""

    collection, level, noun = "routers", "region", "Router"

    def body(self, cloud: Cloud, news: Properties) -> Answer:
        links = {"network": network_link(cloud, news), "region": region_link(cloud, news)}
        return without_empty({"name": news["name"], "description": news.get("description")} | links)

    def state(self, cloud: Cloud, found: Answer, prior: Properties) -> Properties:
        return {key: found.get(key) for key in ("description", "network", "creationTimestamp")}

    def update(self, cloud: Cloud, id: str, edit: Edit) -> None:
        if edit.touches("description"):
            self.patch(cloud, id, {"description": edit.news.get("description", "")})


ROUTER = ResourceType(
    token="gcp:compute/router:Router",  # noqa: S106
    operations=RouterOperations(),
    fields=all_fields(
        resource_name(),
        project(),
        location("region", same_name),
        {"network": text(required=True, replace=True, same=same_link), "description": text()},
        outputs("selfLink", "creationTimestamp"),
    ),
)

_TIMEOUTS_S = {
    "icmpIdleTimeoutSec": 30,
    "tcpEstablishedIdleTimeoutSec": 1200,
    "tcpTimeWaitTimeoutSec": 120,
    "tcpTransitoryIdleTimeoutSec": 30,
    "udpIdleTimeoutSec": 30,
}
_PLAIN = ("natIpAllocateOption", "sourceSubnetworkIpRangesToNat", "type", "natIps", "minPortsPerVm", "maxPortsPerVm")
Change = Callable[[list[Answer]], list[Answer]]
_ALWAYS_LISTS = ("drainNatIps", "initialNatIps", "nat64Subnetworks", "natIps", "rules", "subnetworks")


class RouterNatOperations(Operations):
    """compute.RouterNat: one entry of its router's ``nats``, written by read, modify, write."""

    def create(self, cloud: Cloud, news: Properties) -> str:
        project, region = cloud.location_of(news, "project"), cloud.location_of(news, "region")
        router, name = news["router"].rsplit("/", 1)[-1], news["name"]

        def add(nats: list[Answer]) -> list[Answer]:
            if any(nat.get("name") == name for nat in nats):
                raise ProviderError(f"Error creating RouterNat: {name!r} already exists in router {router!r}")
            return [*nats, self._entry(news)]

        self._rewrite(cloud, _router_path(project, region, router), "creating", add)
        return f"{project}/{region}/{router}/{name}"

    def _entry(self, news: Properties) -> Answer:
        settings = {key: news[key] for key in (*_PLAIN, *_TIMEOUTS_S, "endpointTypes") if key in news}
        log = {"logConfig": news["logConfig"]} if news.get("logConfig") else {}
        empty: Answer = {key: [] for key in _ALWAYS_LISTS}
        return {"name": news["name"], **empty, **settings, **log}

    def _rewrite(self, cloud: Cloud, path: str, doing: str, change: Change) -> None:
        with cloud.locks.hold(path):
            try:
                nats = cloud.rest.get(ROOT + path).get("nats", [])
                operation = cloud.rest.patch(ROOT + path, {"nats": change(nats)})
            except ApiError as error:
                raise ProviderError(f"Error {doing} RouterNat: {error}") from error
            wait_for(cloud, operation, f"{doing} RouterNat")

    def read(self, cloud: Cloud, id: str, prior: Properties) -> Properties | None:
        project, region, router, name = _parts(cloud, id)
        found = cloud.rest.find(ROOT + _router_path(project, region, router))
        nat = next((nat for nat in (found or {}).get("nats", []) if nat.get("name") == name), None)
        if nat is None:
            return None
        outputs = {key: nat.get(key) for key in (*_PLAIN, *_TIMEOUTS_S, "endpointTypes")}
        log = nat.get("logConfig")
        logged = {"enable": log.get("enable"), "filter": log.get("filter")} if log else None
        parents = {"project": project, "region": region, "router": router}
        return {"id": "/".join([*parents.values(), name]), "name": name, **parents, **outputs, "logConfig": logged}

    def update(self, cloud: Cloud, id: str, edit: Edit) -> None:
        project, region, router, name = _parts(cloud, id)
        entry = self._entry(edit.news)
        self._rewrite(
            cloud,
            _router_path(project, region, router),
            "updating",
            lambda nats: [entry if nat.get("name") == name else nat for nat in nats],
        )

    def delete(self, cloud: Cloud, id: str, state: Properties) -> None:
        project, region, router, name = _parts(cloud, id)
        path = _router_path(project, region, router)
        if cloud.rest.find(ROOT + path) is not None:
            self._rewrite(cloud, path, "deleting", lambda nats: [nat for nat in nats if nat.get("name") != name])


def _parts(cloud: Cloud, id: str) -> list[str]:
    parts = [part for part in id.split("/") if part not in ("projects", "regions", "routers")]
    return [*[cloud.settings.project, cloud.settings.region][: 4 - len(parts)], *parts]


def _router_path(project: str, region: str, router: str) -> str:
    return f"projects/{project}/regions/{region}/routers/{router}"


ROUTER_NAT = ResourceType(
    token="gcp:compute/routerNat:RouterNat",  # noqa: S106
    operations=RouterNatOperations(),
    fields=all_fields(
        resource_name(),
        project(),
        location("region", same_name),
        {
            "router": text(required=True, replace=True, same=same_name),
            "sourceSubnetworkIpRangesToNat": text(required=True),
            "natIpAllocateOption": text(computed=True, choices=("AUTO_ONLY", "MANUAL_ONLY")),
            "natIps": collection(text(), computed=True),
            "type": text(default="PUBLIC", replace=True),
            "endpointTypes": collection(text(), computed=True, replace=True),
            "minPortsPerVm": number(computed=True),
            "maxPortsPerVm": number(),
            "logConfig": block({"enable": flag(required=True), "filter": text(required=True)}),
        },
        {name: number(default=seconds) for name, seconds in _TIMEOUTS_S.items()},
    ),
)
