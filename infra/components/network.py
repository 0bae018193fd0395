"""The network of the VMs, which admits only SSH from named ranges."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from infra.provider import gcp
from runner.model import names


@dataclass(frozen=True, kw_only=True)
class OperatorNetworkArgs:
    """``ssh_ranges``: the addresses from which SSH is allowed; ``nat``: connects VMs without external addresses to the internet."""

    project: str
    region: str
    subnet_range: str
    ssh_ranges: tuple[str, ...]
    nat: bool


class OperatorNetwork(pulumi.ComponentResource):
    """Network, subnetwork, the one firewall rule, and a NAT where VMs have no external addresses."""

    def __init__(self, name: str, args: OperatorNetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("opensees-hpc:infra:OperatorNetwork", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.network = gcp.compute.Network(
            name, name=names.NETWORK, project=args.project, auto_create_subnetworks=False, opts=child
        )
        self.subnetwork = gcp.compute.Subnetwork(
            name,
            name=names.SUBNETWORK,
            project=args.project,
            network=self.network.id,
            region=args.region,
            ip_cidr_range=args.subnet_range,
            private_ip_google_access=True,
            opts=child,
        )
        self.firewall = gcp.compute.Firewall(
            f"{name}-ssh",
            name=names.SSH_FIREWALL,
            project=args.project,
            network=self.network.id,
            description="SSH from the operators",
            direction="INGRESS",
            allows=[{"protocol": "tcp", "ports": ["22"]}],
            source_ranges=list(args.ssh_ranges),
            target_tags=[names.NETWORK_TAG],
            opts=child,
        )
        if args.nat:
            self._declare_nat(name, args)
        self.register_outputs({"subnetwork": self.subnetwork.self_link})

    def _declare_nat(self, name: str, args: OperatorNetworkArgs) -> None:
        child = pulumi.ResourceOptions(parent=self)
        router = gcp.compute.Router(
            name, name=names.NETWORK, project=args.project, network=self.network.id, region=args.region, opts=child
        )
        gcp.compute.RouterNat(
            name,
            name=names.NETWORK,
            project=args.project,
            router=router.name,
            region=args.region,
            nat_ip_allocate_option="AUTO_ONLY",
            source_subnetwork_ip_ranges_to_nat="ALL_SUBNETWORKS_ALL_IP_RANGES",
            opts=child,
        )
