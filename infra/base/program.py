"""The stack ``base``: the long-lived resources. Composes only."""

from __future__ import annotations

import pulumi

from infra.base.settings import BaseSettings
from infra.components.identity import VmIdentity, VmIdentityArgs
from infra.components.network import OperatorNetwork, OperatorNetworkArgs
from infra.components.results_bucket import ResultsBucket, ResultsBucketArgs
from infra.components.services import EnabledServices, EnabledServicesArgs
from infra.settings import load_settings
from runner.model import names
from runner.model.settings import IAP_RANGE


def declare() -> None:
    """Declare the resources of the running stack.

    Raises:
        pulumi.RunError: a setting is wrong.
    """
    declare_base(load_settings(BaseSettings))


def declare_base(settings: BaseSettings) -> None:
    """Export ``bucket``, ``service_account`` (email), ``self_delete_role``, ``self_delete_condition``, ``network`` and ``subnetwork``
    (links), ``region``, and ``settings``: those of ours that were given, from which the next command learns what it has to add.
    """
    location = settings.location
    after_apis = _enable_apis(settings)
    results = ResultsBucket("results", _bucket_args(settings), after_apis)
    identity = VmIdentity(
        "vm",
        VmIdentityArgs(
            account_id=names.SERVICE_ACCOUNT_ID,
            self_delete_role_id=settings.self_delete_role_id,
            project=location.project,
            bucket=results.bucket.name,
            operators=settings.operators,
            tunnel=IAP_RANGE in settings.ssh_sources,
        ),
        after_apis,
    )
    network = OperatorNetwork(
        "network",
        OperatorNetworkArgs(
            project=location.project,
            region=location.region,
            subnet_range=settings.subnet_range,
            ssh_ranges=settings.ssh_sources,
            nat=not settings.external_ips,
        ),
        after_apis,
    )
    pulumi.export("bucket", results.bucket.name)
    pulumi.export("service_account", identity.account.email)
    pulumi.export("self_delete_role", identity.self_delete.name)
    granted = identity.self_delete_grant.condition.apply(lambda condition: condition.expression if condition else "")
    pulumi.export("self_delete_condition", granted)
    pulumi.export("network", network.network.self_link)
    pulumi.export("subnetwork", network.subnetwork.self_link)
    pulumi.export("region", location.region)
    pulumi.export("settings", settings.model_dump(mode="json", exclude_unset=True, exclude={"location"}))


def _enable_apis(settings: BaseSettings) -> pulumi.ResourceOptions:
    """Return options for resources that can only be created once the APIs are on."""
    if not settings.enable_apis:
        return pulumi.ResourceOptions()
    services = EnabledServices("apis", EnabledServicesArgs(project=settings.location.project))
    return pulumi.ResourceOptions(depends_on=services.services)


def _bucket_args(settings: BaseSettings) -> ResultsBucketArgs:
    return ResultsBucketArgs(
        name=names.bucket_name(settings.location.project),
        project=settings.location.project,
        location=settings.bucket_location or settings.location.region,
        labels=names.labels(owner=settings.owner),
        results_days=settings.results_days,
        soft_delete_days=settings.soft_delete_days,
        protect=settings.protect,
        force_destroy=settings.force_destroy,
    )
