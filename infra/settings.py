"""How a stack's settings are read and checked, before anything is declared. The settings themselves: ``infra/*/settings.py``.

Values come from ``Pulumi.<stack>.yaml``: ours from the namespace ``opensees-hpc``, the location from ``gcp``. Whatever is
wrong is reported in one ``pulumi.RunError``, which the engine shows without a traceback.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

import pulumi
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from infra.provider import gcp
from runner.model import names

Provisioning = Literal["spot", "standard"]


def _check_label(text: str) -> str:
    if not text or names.label_value(text) != text:
        raise ValueError("not a label value: 1 to 63 of a-z 0-9 _ -")
    return text


def _parse_expiry(text: object) -> object:
    """Convert a label's value to the time that it stands for; leave anything else to pydantic."""
    if not (isinstance(text, str) and re.fullmatch(r"\d{8}-\d{4}", text)):
        return text
    return datetime.strptime(text, "%Y%m%d-%H%M").replace(tzinfo=UTC)


LabelValue = Annotated[str, AfterValidator(_check_label)]
Expiry = Annotated[AwareDatetime, BeforeValidator(_parse_expiry)]
Zone = Annotated[str, Field(pattern=r"^[a-z]+-[a-z]+[0-9]+-[a-z]$")]
MachineTypeName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)+$")]


class Location(BaseModel):
    """Where resources are created. ``zone`` may be left out: then it is the region's zone b, which every region has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    project: str = Field(pattern=r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$")
    region: str = Field(pattern=r"^[a-z]+-[a-z]+[0-9]+$")
    zone: Zone


class StackSettings(BaseModel):
    """The settings that all stacks share."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    location: Location


Settings = TypeVar("Settings", bound=StackSettings)


def load_settings(model: type[Settings]) -> Settings:
    """Return the settings of the running stack.

    Raises:
        pulumi.RunError: each key that is missing, unknown or wrong, with the stack's file and the remedy.
    """
    values = _read_namespace(names.CONFIG_NAMESPACE)
    raw = {key: _parse_value(model, key, text) for key, text in values.items()}
    try:
        return model.model_validate(raw | {"location": _read_location()})
    except ValidationError as error:
        lines = [
            _describe_problem(model, problem["loc"], problem["msg"], problem["type"]) for problem in error.errors()
        ]
        raise pulumi.RunError("wrong settings, nothing was declared:\n" + "\n".join(lines)) from None


def check_stack_name() -> str:
    """Return the name of the running stack, which is a label's value and part of the names of VMs.

    Raises:
        pulumi.RunError: it cannot be one.
    """
    name = pulumi.get_stack()
    if not names.is_batch_name(name):
        raise pulumi.RunError(
            f"the stack's name {name!r} names VMs and labels: at most 40 of a-z 0-9 -, a letter first; "
            "remedy: pulumi stack init NAME"
        )
    return name


def _read_namespace(namespace: str) -> dict[str, str]:
    """Return every key that is set in a namespace: ``pulumi.Config`` answers for known keys only, and a typo must not pass."""
    everything: Mapping[str, str] = pulumi.runtime.config.get_config_env() | pulumi.runtime.config.CONFIG.get()
    prefix = f"{namespace}:"
    return {key.removeprefix(prefix): value for key, value in everything.items() if key.startswith(prefix)}


def _parse_value(model: type[StackSettings], key: str, text: str) -> Any:
    """Config values are texts; what is not a text in the model is JSON (or YAML's list, which arrives as JSON)."""
    field = model.model_fields.get(key)
    if field is None or not (text[:1] in ("[", "{") or text in ("true", "false", "null")):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _read_location() -> dict[str, str]:
    """Read the provider's own settings, which fall back to ``GOOGLE_PROJECT``, ``GOOGLE_REGION`` and ``GOOGLE_ZONE``."""
    found = {"project": gcp.config.project, "region": gcp.config.region, "zone": gcp.config.zone}
    location = {key: value for key, value in found.items() if value}
    if "zone" in location:
        location.setdefault("region", re.sub(r"-[a-z]$", "", location["zone"]))
    elif "region" in location:
        location["zone"] = f"{location['region']}-b"
    return location


def _describe_problem(model: type[StackSettings], loc: tuple[int | str, ...], message: str, kind: str) -> str:
    """Return one line: key, what is wrong, file, remedy."""
    file = f"Pulumi.{pulumi.get_stack()}.yaml"
    in_location = loc[:1] == ("location",)
    if not loc:
        return f"  {names.CONFIG_NAMESPACE}: {message.removeprefix('Value error, ')}; in {file}"
    key = f"gcp:{loc[1]}" if in_location and len(loc) > 1 else f"{names.CONFIG_NAMESPACE}:{loc[0]}"
    where = "".join(f"[{part}]" for part in loc[1:] if not in_location)
    text = message.removeprefix("Value error, ")
    if kind == "extra_forbidden" and len(loc) == 1:
        known = ", ".join(sorted(set(model.model_fields) - {"location"}))
        return f"  {key}: unknown key in {file}; known are {known}; remedy: pulumi config rm {key}"
    what = "is not set" if kind == "missing" and not where else text
    return f"  {key}{where}: {what}; in {file}; remedy: pulumi config set {key} VALUE"
