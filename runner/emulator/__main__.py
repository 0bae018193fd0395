"""``python -m runner.emulator --state DIR``: the embedded cloud as one process on loopback.

Once it serves requests it writes ``DIR/endpoint.json`` (atomically); on an orderly end it removes the file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from requests.utils import should_bypass_proxies

from runner.emulator.compute import GuestView, Hypervisor, RootTools
from runner.emulator.control import endpoint_file, remove_endpoint, write_endpoint
from runner.emulator.control.server import EmbeddedCloud, build_cloud, serve
from runner.emulator.machines import (
    LocalHypervisor,
    clone_root,
    copy_image_root,
    make_base_root,
    remove_root,
    seal_root,
)
from runner.emulator.state import REGIONS, CloudSettings, owner_token_file, read_owner_token
from runner.emulator.wire import LOOPBACK, bind_port, choose_ssh_port
from runner.system.files import make_private_folder, write_private

_PORTS = "ports.json"

_log = logging.getLogger("runner.emulator")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    default = CloudSettings(state=Path())
    parser = argparse.ArgumentParser(prog="python -m runner.emulator", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="the state folder")
    parser.add_argument("--port", type=int, default=0, help="0: the last one if it is free, else any")
    parser.add_argument("--project", default=default.project)
    parser.add_argument("--region", default=default.region, choices=sorted(REGIONS))
    parser.add_argument("--zone", default="")
    parser.add_argument("--user", default=default.user, help="the owner of the project")
    parser.add_argument(
        "--pace", type=float, help="the provider's pauses as a fraction of the stock plugin's (1: equal)"
    )
    return parser.parse_args(arguments)


def make_settings(arguments: argparse.Namespace) -> CloudSettings:
    zone = arguments.zone or f"{arguments.region}-{REGIONS[arguments.region][0]}"
    state = arguments.state.resolve()
    make_private_folder(state)
    return replace(
        CloudSettings(state=state),
        project=arguments.project,
        region=arguments.region,
        zone=zone,
        user=arguments.user,
    )


def read_ports(state: Path) -> dict[str, int]:
    try:
        ports: dict[str, int] = json.loads((state / _PORTS).read_text())
    except (OSError, ValueError):
        return {}
    return ports


def make_hypervisor(view: GuestView, url: str, user: str) -> Hypervisor:
    return LocalHypervisor(view, url=url, user=user, from_host=package_index(os.environ, Path.home()))


def package_index(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return variables for pip on an instance, from this host's pip: an instance uses the host's Python, but has another home.

    Proxy and certificates become settings of pip itself: other programs of an instance must reach our loopback without a proxy.
    """
    cache = {"PIP_CACHE_DIR": str(home / ".cache/pip")}
    file = next((file for file in (home / ".config/pip/pip.conf", home / ".pip/pip.conf") if file.exists()), None)
    config = {} if file is None else {"PIP_CONFIG_FILE": str(file)}
    ways = {
        "PIP_PROXY": find_proxy(environment),
        "PIP_CERT": environment.get("REQUESTS_CA_BUNDLE") or environment.get("CURL_CA_BUNDLE"),
    }
    found = {key: value for key, value in ways.items() if value}
    return cache | config | found | {key: value for key, value in environment.items() if key.startswith("PIP_")}


def find_proxy(environment: Mapping[str, str]) -> str:
    """Return the host's proxy, unless its package index is reached without one."""
    proxy = environment.get("https_proxy") or environment.get("HTTPS_PROXY") or ""
    direct = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    index = environment.get("PIP_INDEX_URL", "")
    return "" if index and should_bypass_proxies(index, direct) else proxy


def root_tools() -> RootTools:
    return RootTools(
        make_base=lambda target, os_name: make_base_root(target, os_name=os_name),
        clone=clone_root,
        copy_image=copy_image_root,
        seal=seal_root,
        remove=remove_root,
    )


def start_provider(url: str, settings: CloudSettings, *, last_port: int, pace: float | None) -> Any:
    """Start the Pulumi resource provider in threads of its own; it calls the cloud by HTTP only."""
    # gRPC's fork handlers are for children that continue to use gRPC; ours execute other programs.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    from runner.emulator.provider import server

    token = read_owner_token(owner_token_file(settings.state))
    return server.start(
        url,
        token=token,
        project=settings.project,
        region=settings.region,
        zone=settings.zone,
        last_port=last_port,
        pace=server.DEFAULT_PACE if pace is None else pace,
    )


def describe(settings: CloudSettings, url: str, ssh_port: int, provider_port: int) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
        "url": url,
        "provider_port": provider_port,
        "ssh_port": ssh_port,
        "project": settings.project,
        "region": settings.region,
        "zone": settings.zone,
        "user": settings.user,
        "token_file": str(owner_token_file(settings.state)),
    }


async def run(arguments: argparse.Namespace) -> None:
    settings = make_settings(arguments)
    ports = read_ports(settings.state)
    listener = bind_port(arguments.port, last=ports.get("front", 0))
    front, ssh_port = listener.getsockname()[1], ports.get("ssh") or choose_ssh_port()
    url = f"http://{LOOPBACK}:{front}"
    cloud = build_cloud(settings, url=url, ssh_port=ssh_port, make_hypervisor=make_hypervisor, tools=root_tools())
    provider = start_provider(url, settings, last_port=ports.get("provider", 0), pace=arguments.pace)
    ports = {"front": front, "ssh": ssh_port, "provider": provider.port}
    write_private(settings.state / _PORTS, json.dumps(ports).encode())
    cloud.endpoint = describe(settings, url, ssh_port, provider.port)
    catch_signals(cloud)
    try:
        await serve(cloud, listener, lambda: write_endpoint(settings.state, cloud.describe()))
    finally:
        remove_endpoint(settings.state, pid=os.getpid())
        await asyncio.to_thread(provider.stop)
    _log.info("stopped")


def catch_signals(cloud: EmbeddedCloud) -> None:
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(name, cloud.stopping.set)


def main() -> None:
    arguments = parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("asyncssh", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    _log.info("starting; the endpoint will be in %s", endpoint_file(arguments.state))
    asyncio.run(run(arguments))


if __name__ == "__main__":
    main()
