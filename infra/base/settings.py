"""The settings of the stack ``base``."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from infra.settings import LabelValue, StackSettings
from runner.model import names
from runner.model.settings import IAP_RANGE

WIDEST_PUBLIC_PREFIX = 16
PRINCIPAL = re.compile(r"(user|group|serviceAccount):[^@\s]+@[^@\s]+")


def _check_ssh_range(text: str) -> str:
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"not an address range: {error}") from None
    if network.is_private and not network.is_unspecified and network.prefixlen >= 8:
        return text
    if network.prefixlen < WIDEST_PUBLIC_PREFIX:
        raise ValueError(f"{text} opens SSH to the world; give your own address as ADDRESS/32, or {IAP_RANGE} for IAP")
    return text


def _check_principal(text: str) -> str:
    if not PRINCIPAL.fullmatch(text):
        raise ValueError("a principal is user:NAME@DOMAIN, group:NAME@DOMAIN or serviceAccount:NAME@DOMAIN")
    return text


def _check_subnet(text: str) -> str:
    network = ipaddress.ip_network(text)
    if not network.is_private or network.prefixlen > 29:
        raise ValueError("a private range of at least 8 addresses, as 10.80.0.0/20")
    return text


SshRange = Annotated[str, AfterValidator(_check_ssh_range)]
Principal = Annotated[str, AfterValidator(_check_principal)]


class BaseSettings(StackSettings):
    """The long-lived resources."""

    owner: LabelValue = "shared"
    """Label ``owner`` of the resources that can have labels."""

    operators: tuple[Principal, ...] = ()
    """Who may log in with ``sudo`` and start VMs under the service account, as ``user:NAME@DOMAIN``. Project owners may anyway."""

    ssh_ranges: tuple[SshRange, ...] = ()
    """The addresses from which SSH is allowed. None: from Google's IAP only. Public ranges wider than /16 are refused."""

    subnet_range: Annotated[str, AfterValidator(_check_subnet)] = "10.80.0.0/20"
    """Addresses of the VMs inside the network."""

    external_ips: bool = True
    """Do VMs have external addresses? If not, a NAT connects them to the internet (billed by the hour)."""

    bucket_location: str = ""
    """Location of the results bucket; the region if not set."""

    results_days: int = Field(default=30, ge=1, le=3650)
    """Result sets that were not downloaded are deleted after this many days."""

    soft_delete_days: int = Field(default=7, ge=0, le=90)
    """How many days deleted objects can be restored (and are billed); 0 or 7 to 90."""

    self_delete_role_id: str = Field(default=names.SELF_DELETE_ROLE_ID, pattern=f"^{names.ROLE_ID.pattern}$")
    """ID of the custom role by which VMs delete themselves. From day 7 to day 37 after a role was deleted Google creates none with
    its ID: then give another one."""

    protect: bool = True
    """Refuse to destroy the bucket. Set to ``false`` and run ``pulumi up`` before a deliberate removal."""

    force_destroy: bool = False
    """Let a destroy delete the objects in the bucket too; only where ``protect`` is ``false``."""

    enable_apis: bool = True
    """Enable the required APIs; ``false`` where somebody else does so and you may not."""

    @property
    def ssh_sources(self) -> tuple[str, ...]:
        """The addresses from which SSH is allowed, the default applied."""
        return self.ssh_ranges or (IAP_RANGE,)

    @model_validator(mode="after")
    def _check_together(self) -> BaseSettings:
        if self.force_destroy and self.protect:
            raise ValueError("force_destroy is only for a bucket with protect=false")
        if 0 < self.soft_delete_days < 7:
            raise ValueError("soft_delete_days is 0 or 7 to 90")
        return self
