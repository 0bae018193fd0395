"""The embedded cloud itself: start, stop, status, reset, faults, and the environment in which Google's clients use it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.errors import CloudError, InputError
from runner.model.yaml_source import decode_yaml, read_yaml
from runner.system.files import STATE_ELSEWHERE, disk_errors_mapped
from runner.wiring.clouds import EMULATOR_START_LIMIT_S
from runner.wiring.configuration import find_state_folder, load_settings

if TYPE_CHECKING:
    from runner.emulator.control import Endpoint

ADMIN_TIMEOUT_S = 60.0


def start_embedded_cloud(environment: Mapping[str, str]) -> Endpoint:
    """Start the embedded cloud if it is not running."""
    from runner.emulator import control

    folder = _embedded_cloud_folder(environment)
    with disk_errors_mapped(folder, more=STATE_ELSEWHERE):
        return control.start(folder, timeout_s=EMULATOR_START_LIMIT_S)


def stop_embedded_cloud(environment: Mapping[str, str]) -> bool:
    """Stop the embedded cloud; return whether it was running."""
    from runner.emulator import control

    folder = _embedded_cloud_folder(environment)
    with disk_errors_mapped(folder, more=STATE_ELSEWHERE):
        return control.stop(folder)


def restart_embedded_cloud(environment: Mapping[str, str]) -> None:
    """Kill the embedded cloud with everything in it, as a power cut does, and restart it."""
    from runner.emulator import control

    folder = _embedded_cloud_folder(environment)
    with disk_errors_mapped(folder, more=STATE_ELSEWHERE):
        control.kill(folder)
        control.start(folder, timeout_s=EMULATOR_START_LIMIT_S)


def embedded_cloud_status(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return JSON values: ``running``, ``state``, ``log``, the number of ``tracebacks`` in the log and, if it runs, its endpoint."""
    from runner.emulator import control

    folder = _embedded_cloud_folder(environment)
    endpoint = control.status(folder)
    values: dict[str, Any] = {
        "running": endpoint is not None,
        "state": str(folder),
        "log": str(control.log_file(folder)),
        "tracebacks": len(embedded_cloud_tracebacks(environment)),
    }
    return values if endpoint is None else values | dataclasses.asdict(endpoint)


def embedded_cloud_tracebacks(environment: Mapping[str, str]) -> list[str]:
    """Return the tracebacks in the log of the embedded cloud; each is a defect of ours.

    Raises:
        InputError: the log cannot be read.
    """
    from runner.emulator import control

    log = control.log_file(_embedded_cloud_folder(environment))
    try:
        return control.read_tracebacks(log)
    except OSError as error:
        raise InputError(f"{log} cannot be read: {error.strerror or error}", remedy=STATE_ELSEWHERE) from error


def reset_embedded_cloud(environment: Mapping[str, str]) -> None:
    """Stop the embedded cloud and delete it, with the state of its stacks and its journals, receipts and keys.

    Raises:
        DiskError: part of it could not be deleted.
    """
    from runner.emulator import control

    folder = _embedded_cloud_folder(environment)
    with disk_errors_mapped(folder, more=STATE_ELSEWHERE):
        control.reset(folder)
        if folder.parent.exists():
            shutil.rmtree(folder.parent)


def list_faults(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return JSON values: the armed ``faults``, ``scenario`` with the steps still to come, and the known ``kinds``."""
    return _ask(start_embedded_cloud(environment), "GET", "faults")


def clear_faults(environment: Mapping[str, str]) -> None:
    """Disarm all faults and drop the steps of scenarios."""
    endpoint = start_embedded_cloud(environment)
    _ask(endpoint, "DELETE", "faults")
    _ask(endpoint, "DELETE", "scenario")


def arm_fault(environment: Mapping[str, str], fault: Mapping[str, Any]) -> None:
    """Arm one fault of the embedded cloud.

    Raises:
        CloudError: the embedded cloud rejects it.
    """
    _ask(start_embedded_cloud(environment), "POST", "faults", fault)


def play_scenario(environment: Mapping[str, str], file: Path) -> dict[str, Any]:
    """Send the steps of a scenario file to the embedded cloud; return what ``list_faults`` does afterwards.

    Raises:
        InputError: the file cannot be read, or the embedded cloud rejects it.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}", remedy="give a file that you can read") from error
    source = read_yaml(decode_yaml(data, file), file)
    if not isinstance(source.values, list):
        raise InputError([source.problem((), "a scenario is a list of steps, each with `at` and `fault`")])
    _check_values(source.values, file)
    endpoint = start_embedded_cloud(environment)
    try:
        _ask(endpoint, "POST", "scenario", {"scenario": source.values})
    except CloudError as error:
        raise InputError(f"{file}: {error.message}", remedy="see docs/faults.md") from error
    return list_faults(environment)


def _check_values(values: Any, file: Path) -> None:
    """Raise InputError for values that YAML allows and JSON does not, such as NaN."""
    try:
        json.dumps(values, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"{file}: {error}", remedy="see docs/faults.md") from error


def _ask(endpoint: Endpoint, method: str, what: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Call the embedded cloud's admin API."""
    from runner.wiring.owner_session import new_owner_session

    with new_owner_session(endpoint) as session:
        answer = session.request(method, f"{endpoint.url}/_local/{what}", json=body, timeout=ADMIN_TIMEOUT_S)
    if answer.status_code >= 400:
        raise CloudError(str(answer.json()["error"]["message"]), status=answer.status_code)
    return dict(answer.json())


def google_client_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with which Google's own clients and the stock Pulumi provider use the embedded cloud, with the owner's token.

    Keep the token secret. The client library of Cloud Storage needs it as credentials too (docs/stacks.md).
    """
    endpoint = start_embedded_cloud(environment)
    url = endpoint.url
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
        "GOOGLE_OAUTH_ACCESS_TOKEN": endpoint.read_token(),
        "PULUMI_GCP_SKIP_REGION_VALIDATION": "true",
        **{f"GOOGLE_{name}_CUSTOM_ENDPOINT": endpoint for name, endpoint in endpoints.items()},
    }


def _embedded_cloud_folder(environment: Mapping[str, str]) -> Path:
    return find_state_folder(environment) / "local" / "cloud"
