"""Errors for the jobs that a submit did not start."""

from __future__ import annotations

from collections.abc import Mapping

from runner.errors import JobsNotStartedError, JobsRefusedError
from runner.hardware.workspace import Answer


def raise_refusals(answers: Mapping[str, Answer], *, resubmit: bool, host: str) -> None:
    """Raise an error that names every job that was not started, for any reason.

    Raises: JobsNotStartedError if the host could not start one of them; else JobsRefusedError if there is one.
    """
    refused: dict[str, dict[str, str]] = {}
    for name, answer in answers.items():
        if answer.outcome != "ok":
            refused.setdefault(answer.outcome, {})[name] = answer.why
    verb = "resubmit" if resubmit else "submit"
    message = "; ".join(_describe(verb, outcome, refused[outcome]) for outcome in sorted(refused, key=_rank))
    if "failed" in refused:
        raise JobsNotStartedError(message, host=host, refused=refused)
    if refused:
        raise JobsRefusedError(message, refused=refused)


def _rank(outcome: str) -> tuple[bool, str]:
    return outcome != "failed", outcome


def _describe(verb: str, outcome: str, reasons: Mapping[str, str]) -> str:
    names = ", ".join(reasons)
    each = "; ".join(f"{name}: {why}" for name, why in reasons.items())
    if outcome == "failed":
        return f"could not {verb} {each}"
    if outcome == "exists":
        return f"cannot {verb} job with ID {names}: a job with the same ID has already been submitted"
    if outcome == "none":
        return f"cannot {verb} job with ID {names}: it was not submitted before"
    return f"cannot {verb} job with ID {each} (cancel it, or wait for it)"
