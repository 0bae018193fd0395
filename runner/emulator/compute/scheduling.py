"""The ``scheduling`` of an instance: Google's rules for Spot VMs and limited run times, and the defaults."""

from __future__ import annotations

from runner.emulator.state import Document
from runner.emulator.wire import api_errors, check_choice, read_int, without_blanks

MIN_RUN_S = 30
MAX_RUN_S = 120 * 24 * 3600
_WHERE = "resource.scheduling"


def make_scheduling(wanted: Document) -> Document:
    """Check the scheduling, and return it with defaults, as it is stored.

    Raises:
        CloudError: 400, Google would reject the combination.
    """
    sent = without_blanks(wanted)
    _check_choices(sent)
    is_spot = sent.get("provisioningModel") == "SPOT" or bool(sent.get("preemptible"))
    if is_spot:
        _check_spot(sent)
    made: Document = {
        "onHostMaintenance": "TERMINATE" if is_spot else "MIGRATE",
        "automaticRestart": not is_spot,
        "preemptible": is_spot,
        "provisioningModel": sent.get("provisioningModel") or ("SPOT" if is_spot else "STANDARD"),
        **{key: value for key, value in sent.items() if value != []},
    }
    return _with_run_limit(made, is_spot)


def _check_choices(sent: Document) -> None:
    check_choice(sent.get("provisioningModel"), ("STANDARD", "SPOT"), field=f"{_WHERE}.provisioningModel")
    check_choice(sent.get("onHostMaintenance"), ("MIGRATE", "TERMINATE"), field=f"{_WHERE}.onHostMaintenance")
    check_choice(sent.get("instanceTerminationAction"), ("STOP", "DELETE"), field=f"{_WHERE}.instanceTerminationAction")


def _check_spot(sent: Document) -> None:
    if sent.get("provisioningModel") == "SPOT" and sent.get("preemptible") is False:
        raise api_errors.invalid_field(
            f"{_WHERE}.preemptible", False, "Scheduling must have preemptible be true when provisioningModel is SPOT."
        )
    if sent.get("provisioningModel") == "STANDARD":
        raise api_errors.invalid_field(
            f"{_WHERE}.provisioningModel", "STANDARD", "Scheduling must not be STANDARD when preemptible is true."
        )
    if sent.get("automaticRestart", True) is True:
        raise api_errors.invalid_field(
            f"{_WHERE}.preemptible", True, "Scheduling must have preemptible be false when AutomaticRestart is true."
        )
    if sent.get("onHostMaintenance") == "MIGRATE":
        raise api_errors.invalid_field(
            f"{_WHERE}.preemptible",
            True,
            "Scheduling must have preemptible be false when OnHostMaintenance isn't TERMINATE.",
        )


def _with_run_limit(made: Document, is_spot: bool) -> Document:
    limit = made.get("maxRunDuration")
    action = made.get("instanceTerminationAction")
    if limit is None:
        if action and not is_spot:
            raise api_errors.invalid_field(
                f"{_WHERE}.instanceTerminationAction",
                action,
                "Instance termination action is only supported for spot instances or with a limited run time.",
            )
        return made
    seconds = read_int(limit.get("seconds"), field=f"{_WHERE}.maxRunDuration.seconds")
    if not MIN_RUN_S <= seconds <= MAX_RUN_S:
        raise api_errors.invalid_field(
            f"{_WHERE}.maxRunDuration", seconds, f"Must be between {MIN_RUN_S} and {MAX_RUN_S} seconds."
        )
    if not action:
        raise api_errors.invalid_field(
            f"{_WHERE}.instanceTerminationAction", "", "Must be set when maxRunDuration or terminationTime is."
        )
    return {**made, "maxRunDuration": {"seconds": str(seconds)}}


def run_limit_s(scheduling: Document) -> int | None:
    """Return the longest time that the instance may run, None if there is no limit."""
    limit = scheduling.get("maxRunDuration")
    return None if limit is None else int(limit["seconds"])
