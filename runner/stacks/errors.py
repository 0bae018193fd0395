"""Converts the engine's error messages to our errors. Pure: texts in, errors out.

The texts are those of the stock provider: it hides the cloud's error codes, so only the words are left.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runner.errors import (
    CloudError,
    ConflictError,
    HpcError,
    PermissionDeniedError,
    QuotaError,
    StackError,
    StockoutError,
    UnreachableError,
)
from runner.model.stockout import DENIED_WORDS, QUOTA_WORDS, RATE_WORDS, STOCKOUT_WORDS, read_lost_vm

EXISTS = re.compile(r"Error 409\b|alreadyExists")
UNREACHABLE = re.compile(
    r"connection refused|no such host|i/o timeout|connection reset by peer|network is unreachable"
    r"|error reading from server: EOF|transport is closing"  # of the plugin: it has exited, as the embedded cloud's does when that restarts
)
PROTECTED = re.compile(r"cannot be deleted|because it is protected|is protected")
ROLE_DELETED = re.compile(r"role_id .*marked for deletion")
PASSPHRASE = re.compile(r"incorrect passphrase|passphrase must be set|PULUMI_CONFIG_PASSPHRASE")

STATE_FOLDER = re.compile(
    r"\.pulumi/.*: (?:not a directory|is a directory|permission denied|read-only file system)", re.DOTALL
)
NOISE = re.compile(
    r"^(update|destroy|refresh|preview) failed$|^resource .* has a problem|^Resource monitor|^an unhandled"
)


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """An error message of the engine. ``resource``: the name of the resource, '' if it is about none."""

    text: str
    resource: str = ""


def _denied(message: str) -> CloudError:
    unauthorized = "Error 401" in message
    remedy = (
        "log in again: gcloud auth application-default login" if unauthorized else "ask for the permission named above"
    )
    if "SERVICE_DISABLED" in message or "has not been used" in message:
        remedy = "enable the API: set opensees-hpc:enable_apis to true in infra/base, or ask a project owner"
    return PermissionDeniedError(message, status=401 if unauthorized else 403, remedy=remedy)


# In order of weight: when several resources fail in different ways, the first kind that matches any of them is raised.
KINDS: tuple[tuple[re.Pattern[str], Callable[[str], CloudError]], ...] = (
    (STOCKOUT_WORDS, lambda text: StockoutError(text, reason="ZONE_RESOURCE_POOL_EXHAUSTED")),
    (
        QUOTA_WORDS,
        lambda text: QuotaError(text, reason="quotaExceeded", remedy="fewer or smaller VMs, or ask for more quota"),
    ),
    (RATE_WORDS, lambda text: CloudError(text, reason="rateLimitExceeded", status=429, remedy="try again in a minute")),
    (DENIED_WORDS, _denied),
    (EXISTS, lambda text: ConflictError(text, reason="alreadyExists", status=409)),
    (
        UNREACHABLE,
        lambda text: UnreachableError(text, remedy="check the network, or that the embedded cloud is running"),
    ),
)


def describe_failure(what: str, complaints: Sequence[Complaint], stderr: str = "") -> HpcError:
    """Return the error to raise when the engine failed at ``what`` (``up of analysis/b1``), its cause set where it was mapped."""
    texts = [clean_text(complaint.text) for complaint in complaints]
    found = [text for text in texts if text and not NOISE.match(text)] or _errors_in(stderr)
    found = list(dict.fromkeys(found))
    first = found[0] if found else "the engine gave no reason"
    lost = [read_lost_vm(complaint.text, complaint.resource) for complaint in complaints]
    plain = StackError(
        f"{what} failed: {first}",
        diagnostics=found,
        lost_vms=sorted({name for name in lost if name}),
        remedy=_find_remedy("\n".join(found)),
    )
    for pattern, new_error in KINDS:
        said = next((text for text in found if pattern.search(text)), None)
        if said is not None:
            mapped = new_error(f"{what} failed: {said}")
            mapped.__cause__ = plain
            return mapped
    return plain


def clean_text(text: str) -> str:
    """Return a diagnostic without colours, engine prefixes and surrounding blank lines."""
    plain = re.sub(r"\x1b\[[0-9;]*m|<\{%[^%]*%\}>", "", text).strip()
    plain = re.sub(r"^error:\s*", "", plain)
    plain = re.sub(r"^\w+ing urn:pulumi:\S+: ", "", plain)
    return re.sub(r"^1 error occurred:\s*\*?\s*", "", plain).strip()


def _errors_in(stderr: str) -> list[str]:
    found = re.findall(r"^error:\s*(.+(?:\n(?!error:|warning:).+)*)", clean_colours(stderr), re.MULTILINE)
    return [clean_text(text) for text in found] or ([stderr.strip()] if stderr.strip() else [])


def clean_colours(text: str) -> str:
    """Return the text without terminal colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _find_remedy(text: str) -> str:
    if PROTECTED.search(text):
        return "set opensees-hpc:protect to false, `pulumi up`, then destroy"
    if ROLE_DELETED.search(text):
        return (
            "Google creates no role with this ID from day 7 to day 37 after one was deleted: give another ID as "
            "self_delete_role_id in the settings file or as OPENSEES_HPC_SELF_DELETE_ROLE_ID; for `pulumi` by hand in "
            "infra/base: pulumi config set opensees-hpc:self_delete_role_id ID"
        )
    if PASSPHRASE.search(text):
        return (
            "the passphrase is not the one that the stack was created with, or there is none: check PULUMI_CONFIG_PASSPHRASE(_FILE); a "
            "stack that is to use a key of secrets_provider is converted with `pulumi stack change-secrets-provider`"
        )
    if STATE_FOLDER.search(text):
        return (
            "move away the file in the place of Pulumi's state, or correct its owner; PULUMI_BACKEND_URL and OPENSEES_HPC_HOME "
            "determine where that is"
        )
    if "wrong settings" in text:
        return "correct the settings named above"
    return ""
