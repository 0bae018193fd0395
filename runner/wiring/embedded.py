"""The embedded cloud as such: start, stop, look, reset, and the environment in which Google's clients use it."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.wiring.clouds import EMULATOR_START_LIMIT_S
from runner.wiring.configuration import home_folder, load_settings

if TYPE_CHECKING:
    from runner.emulator.endpoint import Endpoint


def start_embedded_cloud(environment: Mapping[str, str]) -> Endpoint:
    """Start the embedded cloud, or find it running."""
    from runner.emulator import control

    return control.start(_embedded_cloud_folder(environment), timeout_s=EMULATOR_START_LIMIT_S)


def stop_embedded_cloud(environment: Mapping[str, str]) -> bool:
    """Stop the embedded cloud; whether it was running."""
    from runner.emulator import control

    folder = _embedded_cloud_folder(environment)
    was_running = control.status(folder) is not None
    control.stop(folder)
    return was_running


def embedded_cloud_status(environment: Mapping[str, str]) -> dict[str, Any]:
    """JSON values: ``running``, ``state`` and, if it runs, its endpoint."""
    from runner.emulator import control

    folder = _embedded_cloud_folder(environment)
    endpoint = control.status(folder)
    values: dict[str, Any] = {"running": endpoint is not None, "state": str(folder)}
    return values if endpoint is None else values | dataclasses.asdict(endpoint)


def reset_embedded_cloud(environment: Mapping[str, str]) -> None:
    """Stop the embedded cloud and delete it with the state of its stacks, which speaks of things that are gone."""
    from runner.emulator import control

    folder = _embedded_cloud_folder(environment)
    control.reset(folder)
    shutil.rmtree(folder.parent, ignore_errors=True)


def google_client_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What Google's own clients and the stock Pulumi provider need to use the embedded cloud."""
    url = start_embedded_cloud(environment).url
    endpoints = {
        "COMPUTE": f"{url}/compute/v1/",
        "STORAGE": f"{url}/storage/v1/",
        "IAM_BETA": f"{url}/iam/v1/",
        "RESOURCE_MANAGER": f"{url}/cloudresourcemanager/v1/",
        "SERVICE_USAGE": f"{url}/serviceusage/v1/",
        "OS_LOGIN": f"{url}/oslogin/v1/",
    }
    settings = load_settings(environment)
    return {
        "STORAGE_EMULATOR_HOST": url,
        "GOOGLE_CLOUD_PROJECT": settings.project,
        "GOOGLE_OAUTH_ACCESS_TOKEN": "embedded-cloud",
        "PULUMI_GCP_SKIP_REGION_VALIDATION": "true",
        **{f"GOOGLE_{name}_CUSTOM_ENDPOINT": endpoint for name, endpoint in endpoints.items()},
    }


def _embedded_cloud_folder(environment: Mapping[str, str]) -> Path:
    return home_folder(environment) / "local" / "cloud"
