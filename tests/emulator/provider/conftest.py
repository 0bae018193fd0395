"""One embedded cloud, one provider and one home folder of the engine for the session (with xdist: for each of its workers)."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import httpx
import platformdirs
import pulumi_gcp
import pytest
from pulumi import automation

from runner.emulator import control
from runner.emulator.control.endpoint import Endpoint
from runner.emulator.provider import server

from .engine import Engine
from .recorder import Recorder

PROJECT, REGION, ZONE = "demo", "europe-west1", "europe-west1-b"


@pytest.fixture(scope="session")
def pulumi_command() -> automation.PulumiCommand:
    """Return the Pulumi CLI, from PATH or from the cache that bootstrap fills."""
    found = shutil.which("pulumi")
    cache = platformdirs.user_cache_path("opensees-hpc") / "pulumi"
    cached = sorted(cache.glob("*/bin/pulumi"))
    if found is None and not cached:
        pytest.fail(f"no Pulumi CLI on PATH or in {cache}: run bootstrap")
    binary = Path(found) if found else cached[-1]
    return automation.PulumiCommand(root=str(binary.resolve().parent.parent))


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """Yield the embedded cloud, set up as the one that the traces were recorded with."""
    state = tmp_path_factory.mktemp("cloud") / "state"
    options = ["--project", PROJECT, "--region", REGION, "--zone", ZONE, "--user", "user@example.com"]
    endpoint = control.start(state, timeout_s=60, options=options)
    with httpx.Client(base_url=endpoint.url, headers=endpoint.headers, timeout=60) as client:
        for metric in ("PREEMPTIBLE_CPUS", "CPUS", "C2_CPUS"):
            client.post("/_local/quotas", json={"region": REGION, "metric": metric, "limit": 500.0})
    yield endpoint
    control.stop(state)


@pytest.fixture(scope="session")
def rest(cloud: Endpoint) -> Iterator[httpx.Client]:
    """Yield a client of the cloud's own routes, without the provider."""
    with httpx.Client(base_url=cloud.url, headers=cloud.headers, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def recorder(cloud: Endpoint) -> Iterator[Recorder]:
    """Yield a recorder of our provider's requests to the cloud."""
    with Recorder(cloud.url) as recording:
        yield recording


@pytest.fixture(scope="session")
def provider(recorder: Recorder, cloud: Endpoint) -> Iterator[server.ProviderServer]:
    running = server.start(recorder.url, token=cloud.read_token(), project=PROJECT, region=REGION, zone=ZONE)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def sdk() -> None:
    """Load the parts of the SDK that programs use, because loading them prints deprecation warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for name in ("compute", "organizations", "oslogin", "projects", "serviceaccount", "sql", "storage"):
            getattr(getattr(pulumi_gcp, name), "__all__", None)


@pytest.fixture(scope="session")
def engine(
    tmp_path_factory: pytest.TempPathFactory,
    pulumi_command: automation.PulumiCommand,
    provider: server.ProviderServer,
    sdk: None,
) -> Engine:
    return Engine(tmp_path_factory.mktemp("pulumi"), pulumi_command, provider.port)
