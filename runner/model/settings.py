"""Settings: which cloud, which project, who may log in. One YAML file; every key is also an environment variable.

The key ``region`` is ``OPENSEES_HPC_REGION`` in the environment; lists are separated by commas there. Nothing secret.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from runner.errors import InputError, InputProblem
from runner.model import catalog, names
from runner.model.yaml_source import YamlSource, read_yaml

ENVIRONMENT_PREFIX = "OPENSEES_HPC_"
LOCAL_PROJECT = "local-project"
LOCAL_OPERATOR = "you@example.com"
GCP_KMS = re.compile(
    r"gcpkms://projects/[a-z0-9:.-]+/locations/[a-z0-9-]+/keyRings/[a-zA-Z0-9_-]{1,63}/cryptoKeys/[a-zA-Z0-9_-]{1,63}"
)
IAP_RANGE = "35.235.240.0/20"  # https://cloud.google.com/iap/docs/using-tcp-forwarding


class Settings(BaseModel):
    """How this user's batches run. The defaults are those of the embedded cloud."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: Annotated[Literal["local", "google"], Field(description="the embedded cloud, or Google Cloud")] = "local"
    project: Annotated[str, Field(description="project ID")] = LOCAL_PROJECT
    region: Annotated[str, Field(description="region of the bucket and the VMs")] = "europe-west4"
    zones: Annotated[list[str], Field(description="zones to try, in this order; empty: a, b and c of the region")] = []
    operator: Annotated[str, Field(description="e-mail of the person who logs in to the VMs with OS Login")] = (
        LOCAL_OPERATOR
    )
    ssh_source_ranges: Annotated[
        list[str], Field(description="CIDR ranges from which you reach the VMs by SSH; needed on google")
    ] = []
    machine_type: Annotated[str, Field(description="machine type of analysis VMs")] = catalog.DEFAULT_MACHINE_TYPE
    builder_machine_type: Annotated[str, Field(description="machine type of the builder VM")] = "c2-standard-8"
    disk_gib: Annotated[int, Field(ge=20, le=2000, description="boot disk of a VM, in GiB")] = 40
    image_recipe: Annotated[Literal["wheels", "full"], Field(description="OpenSees from wheels, or from source")] = (
        "wheels"
    )
    lease_s: Annotated[
        int,
        Field(
            ge=2, le=24 * 3600, description="a VM whose batch has had no client for this many seconds deletes itself"
        ),
    ] = 600
    lost_after_s: Annotated[
        int,
        Field(
            ge=2,
            le=3600,
            description="a VM that has not answered for this many seconds is given up; its jobs run on another",
        ),
    ] = 180
    self_delete_role_id: Annotated[
        str,
        Field(
            pattern=f"^{names.ROLE_ID.pattern}$", description="ID of the custom role that lets VMs delete themselves"
        ),
    ] = names.SELF_DELETE_ROLE_ID
    secrets_provider: Annotated[
        str,
        Field(
            pattern=rf"^({GCP_KMS.pattern})?$",
            description="key in Cloud KMS that encrypts secrets in Pulumi's state; empty: a passphrase. Only on google",
        ),
    ] = ""
    budget_usd: Annotated[float, Field(gt=0, description="a batch that may cost more is refused")] | None = None

    @field_validator("project")
    @classmethod
    def _check_project(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z][-a-z0-9]{4,28}[a-z0-9]", value):
            raise ValueError("a project ID has 6 to 30 of a-z 0-9 -, beginning with a letter")
        return value

    @field_validator("region")
    @classmethod
    def _check_region(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z]+-[a-z]+[0-9]+", value):
            raise ValueError("a region looks like europe-west4")
        return value

    @field_validator("machine_type", "builder_machine_type")
    @classmethod
    def _check_machine_type(cls, value: str) -> str:
        if value not in catalog.MACHINE_TYPES:
            raise ValueError(f"known machine types: {', '.join(catalog.MACHINE_TYPES)}")
        return value

    @field_validator("ssh_source_ranges")
    @classmethod
    def _check_ranges(cls, value: list[str]) -> list[str]:
        networks = [ipaddress.ip_network(item, strict=False) for item in value]
        if any(network.prefixlen == 0 for network in networks):
            raise ValueError("SSH open to everyone is refused: give your own address, such as 198.51.100.7/32")
        return [str(network) for network in networks]

    @model_validator(mode="after")
    def _check_zones(self) -> Self:
        for zone in self.zones:
            if not re.fullmatch(re.escape(self.region) + "-[a-z]", zone):
                raise ValueError(f"zone {zone} is not in region {self.region}")
        return self

    @property
    def zones_to_try(self) -> list[str]:
        """The zones in the order in which they are tried."""
        return self.zones or [f"{self.region}-{letter}" for letter in "abc"]

    @property
    def owner(self) -> str:
        """The value of the label ``owner``: the operator's e-mail without what labels cannot hold."""
        return names.label_value(self.operator.split("@")[0])

    @property
    def principal(self) -> str:
        """The operator as IAM policies write it: a person, or a service account such as that of a CI system."""
        kind = "serviceAccount" if self.operator.endswith(".gserviceaccount.com") else "user"
        return f"{kind}:{self.operator}"


def is_within(part: str, ranges: Iterable[str]) -> bool:
    """Return whether a CIDR range is part of one of these."""
    inner = ipaddress.ip_network(part, strict=False)
    outer = [ipaddress.ip_network(text, strict=False) for text in ranges]
    return any(
        inner.version == network.version and inner.network_address in network and inner.prefixlen >= network.prefixlen
        for network in outer
    )


def read_given(text: str, file: Path | None) -> tuple[YamlSource, dict[str, Any]]:
    """Read the keys and values that a settings file gives, not yet checked.

    Raises:
        InputError: it is not a mapping.
    """
    source = read_yaml(text, file or Path("settings"))
    if not isinstance(source.values, (dict, type(None))):
        raise InputError([source.problem((), "settings are a mapping of keys to values")])
    return source, dict(source.values or {})


def read_settings(text: str, file: Path | None, environment: Mapping[str, str]) -> Settings:
    """Read settings from a file's ``text`` (empty if there is none), overridden by ``environment``.

    Raises:
        InputError: everything that is wrong, with the line in the file, or the variable's name.
    """
    source, given = read_given(text, file)
    overrides = _from_environment(environment)
    try:
        return Settings.model_validate(given | overrides)
    except ValidationError as error:
        raise InputError([_problem(item, source, overrides) for item in error.errors(include_url=False)]) from error


def variable_name(key: str) -> str:
    """Return the environment variable of a key."""
    return ENVIRONMENT_PREFIX + key.upper()


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in Settings.model_fields:
        value = environment.get(variable_name(key), "")
        if value:
            is_list = key in ("zones", "ssh_source_ranges")
            found[key] = [part.strip() for part in value.split(",")] if is_list else value
    return found


def _problem(item: Any, source: Any, overrides: Mapping[str, Any]) -> InputProblem:
    key = str(item["loc"][0]) if item["loc"] else ""
    message = (
        f"{key}: {item['msg'].removeprefix('Value error, ')}" if key else item["msg"].removeprefix("Value error, ")
    )
    if item["type"] == "extra_forbidden":
        message = f"unknown key {key!r}; known: {', '.join(Settings.model_fields)}"
    if key in overrides:
        return InputProblem(
            file=None, line=0, column=0, message=f"environment variable {variable_name(key)}: {message}"
        )
    problem: InputProblem = source.problem(item["loc"], message)
    return problem
