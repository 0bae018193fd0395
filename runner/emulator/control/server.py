"""Assembles the cloud: store, clock, access, lifecycle, APIs, object store, machines; one loop, one process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette

from runner.emulator.compute import (
    DiskRoots,
    Disks,
    GuestView,
    Hypervisor,
    Images,
    InstancePlanner,
    InstancePolicies,
    Instances,
    Lifecycle,
    Operations,
    OperationsApi,
    Parts,
    Quotas,
    References,
    RootTools,
    address_rules,
    network_rules,
    project_rules,
    put_default_network,
    put_public_images,
)
from runner.emulator.control.admin import Admin
from runner.emulator.control.door import Door
from runner.emulator.control.front import Front
from runner.emulator.control.recovery import Recovery, sweep_folders
from runner.emulator.control.scenario import Scenario
from runner.emulator.faults import Faults
from runner.emulator.http import Rule, build_routes, error_handlers
from runner.emulator.iam import Access
from runner.emulator.identity import (
    CustomRoles,
    OsLogin,
    ProjectPolicy,
    ServiceAccounts,
    ServiceUsage,
    put_default_account,
    put_enabled_services,
)
from runner.emulator.state import Alarms, Clock, CloudSettings, Document, Store, make_owner_token
from runner.emulator.storage import Buckets, ObjectMetadata, ObjectProxy, ObjectStore, UploadSessions
from runner.emulator.wire import RequestIds

DATABASE = "cloud.sqlite"
KEEP_ALIVE_S = 75

#: Creates the hypervisor from its view of the cloud, the front's URL, and the owner.
MakeHypervisor = Callable[[GuestView, str, str], Hypervisor]


def _kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(kw_only=True)
class EmbeddedCloud:
    """All running parts of the cloud; ``kill`` is a fault."""

    settings: CloudSettings
    parts: Parts
    alarms: Alarms
    objects: ObjectStore
    lifecycle: Lifecycle
    hypervisor: Hypervisor
    tools: RootTools
    app: Front
    endpoint: Document = field(default_factory=dict)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    kill: Callable[[], None] = field(default=_kill_this_process)

    def describe(self) -> Document:
        """Return what ``/_local/status`` reports in addition to the instances."""
        return {**self.endpoint, "objects_closed": self.objects.is_closed}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Recover the state of the last process, start the object store and the alarms; stop them afterwards."""
        recovery = Recovery(
            settings=self.settings,
            store=self.parts.store,
            clock=self.parts.clock,
            operations=self.parts.operations,
            lifecycle=self.lifecycle,
        )
        await recovery.run()
        self.parts.operations.forget_old(self.settings.project)
        await self.objects.start()
        background = [
            asyncio.create_task(self.alarms.run()),
            asyncio.create_task(sweep_folders(self.settings.state, self.parts.store, self.tools)),
        ]
        try:
            yield
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await self.parts.operations.settle()
            await self.hypervisor.close()
            await self.objects.stop()
            self.parts.store.close()


def build_cloud(
    settings: CloudSettings, *, url: str, ssh_port: int, make_hypervisor: MakeHypervisor, tools: RootTools
) -> EmbeddedCloud:
    """Assemble all parts without starting them. ``url`` is the front's, ``http://127.0.0.1:PORT``."""
    parts = _build_parts(settings)
    _put_what_is_always_there(parts)
    alarms = Alarms(parts.store, parts.clock)
    view = GuestView(parts)
    hypervisor = make_hypervisor(view, url, settings.user)
    roots = DiskRoots(settings.state, parts.store, tools)
    lifecycle = Lifecycle(
        settings=settings,
        store=parts.store,
        clock=parts.clock,
        alarms=alarms,
        faults=parts.faults,
        operations=parts.operations,
        quotas=parts.quotas,
        disks=roots,
        hypervisor=hypervisor,
        ssh_port=ssh_port,
    )
    view.on_power_off = lifecycle.guest_powered_off
    objects = ObjectStore(settings.state / "objects", public_host=url.removeprefix("http://"))
    cloud = EmbeddedCloud(
        settings=settings,
        parts=parts,
        alarms=alarms,
        objects=objects,
        lifecycle=lifecycle,
        hypervisor=hypervisor,
        tools=tools,
        app=_build_front(Starlette(), parts, UploadSessions(parts.clock)),
    )
    cloud.app = _build_app(cloud, roots)
    return cloud


def _build_parts(settings: CloudSettings) -> Parts:
    store = Store(settings.state / DATABASE)
    clock = Clock(store)
    faults = Faults(store)
    return Parts(
        settings=settings,
        store=store,
        clock=clock,
        faults=faults,
        operations=Operations(store, clock, faults),
        access=Access(store, clock, faults, settings, owner_token=make_owner_token(settings.state)),
        quotas=Quotas(store, settings.project),
        references=References(store, settings),
    )


def _put_what_is_always_there(parts: Parts) -> None:
    put_public_images(parts.store)
    put_default_account(parts.store, parts.settings)
    put_enabled_services(parts.store, parts.settings)
    put_default_network(parts)


def _build_app(cloud: EmbeddedCloud, roots: DiskRoots) -> Front:
    parts, settings = cloud.parts, cloud.settings
    sessions = UploadSessions(parts.clock)
    metadata = ObjectMetadata(parts.store, parts.clock.now)
    proxy = ObjectProxy(parts.store, parts.access, settings, cloud.objects, sessions, metadata)
    app = Starlette(
        routes=[*proxy.routes(), *build_routes(_rules(cloud, roots), parts.access, settings, RequestIds(parts.store))],
        exception_handlers=error_handlers(settings),
    )
    app.router.redirect_slashes = False
    return _build_front(app, parts, sessions)


def _build_front(app: Starlette, parts: Parts, sessions: UploadSessions) -> Front:
    door = Door(parts.access, sessions)
    return Front(app, store=parts.store, door=door, faults=parts.faults, settings=parts.settings)


def _rules(cloud: EmbeddedCloud, roots: DiskRoots) -> Sequence[Rule]:
    parts, settings = cloud.parts, cloud.settings
    planner = InstancePlanner(
        store=parts.store,
        settings=settings,
        references=parts.references,
        now=parts.clock.now,
        free_address=cloud.lifecycle.free_address,
    )
    admin = Admin(
        parts,
        cloud.lifecycle,
        Scenario(parts, cloud.lifecycle, cloud.alarms, kill=lambda: cloud.kill()),
        describe=cloud.describe,
        stop=cloud.stopping.set,
        empty=lambda: _empty(cloud, roots),
    )
    return [
        *admin.rules(),
        *OperationsApi(parts).rules(),
        *Instances(parts, cloud.lifecycle, planner).rules(),
        *InstancePolicies(parts).rules(),
        *Disks(parts, roots).rules(),
        *Images(parts, roots).rules(),
        *network_rules(parts),
        *address_rules(parts),
        *project_rules(parts),
        *Buckets(parts.store, parts.clock, parts.access, settings, cloud.objects).rules(),
        *ServiceAccounts(parts.store, parts.access, settings).rules(),
        *CustomRoles(parts.store).rules(),
        *ProjectPolicy(parts.access, settings).rules(),
        *ServiceUsage(parts.store, settings).rules(),
        *OsLogin(parts.store, parts.clock, settings).rules(),
    ]


async def _empty(cloud: EmbeddedCloud, roots: DiskRoots) -> None:
    """Delete everything that was created; the folders of public images stay, as they never change."""
    parts = cloud.parts
    for _, document in parts.store.items("buckets/"):
        await cloud.objects.empty_bucket(document["name"])
        await cloud.objects.remove_bucket(document["name"])
    public = {key: document for key, document in parts.store.items("projects/") if not key.startswith(_own(cloud))}
    parts.store.clear()
    for key, document in public.items():
        parts.store.put(key, document)
    parts.clock.reset()
    _put_what_is_always_there(parts)
    await sweep_folders(cloud.settings.state, parts.store, cloud.tools)


def _own(cloud: EmbeddedCloud) -> str:
    return f"projects/{cloud.settings.project}/"


async def serve(cloud: EmbeddedCloud, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve until ``cloud.stopping`` is set (admin API, signal). ``on_ready`` is called when requests are answered."""
    config = uvicorn.Config(
        cloud.app,
        http="h11",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=2,
    )
    server = _QuietServer(config)
    async with cloud.running():
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        stopped = asyncio.create_task(cloud.stopping.wait())
        while not server.started and not serving.done():
            await asyncio.sleep(0.005)
        on_ready()
        await asyncio.wait([serving, stopped], return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        stopped.cancel()
        await serving


class _QuietServer(uvicorn.Server):
    """A server that leaves signals to the owner of the event loop."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield
