"""The service account of the VMs, and the operators, who may log in to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pulumi

from infra.provider import gcp
from runner.model import names

SELF_DELETE_PERMISSIONS = ("compute.instances.delete", "compute.instances.get")
BUCKET_ROLES = ("roles/storage.objectCreator", "roles/storage.objectViewer")
OPERATOR_ROLE = "roles/compute.osAdminLogin"
TUNNEL_ROLE = "roles/iap.tunnelResourceAccessor"
USE_ACCOUNT_ROLE = "roles/iam.serviceAccountUser"


@dataclass(frozen=True, kw_only=True)
class VmIdentityArgs:
    """``bucket``: the only resource that the account may touch; ``operators``: principals; ``tunnel``: they come through IAP."""

    account_id: str
    self_delete_role_id: str
    project: str
    bucket: pulumi.Input[str]
    operators: tuple[str, ...]
    tunnel: bool


class VmIdentity(pulumi.ComponentResource):
    """The service account of the VMs, which creates and reads objects of one bucket, and its operators.

    It may also delete the VMs of batches, and nothing else: by a condition on their names, so that a VM may do so from its first
    moment on, whatever happens to the client that asks for it.
    """

    def __init__(self, name: str, args: VmIdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("opensees-hpc:infra:VmIdentity", name, None, opts)
        self.account = gcp.serviceaccount.Account(
            name,
            project=args.project,
            account_id=args.account_id,
            display_name="OpenSees VMs",
            description="Creates and reads objects of the results bucket, and may delete the VMs that run as it",
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.self_delete = gcp.projects.IAMCustomRole(
            f"{name}-self-delete",
            project=args.project,
            role_id=args.self_delete_role_id,
            title=names.SELF_DELETE_ROLE_TITLE,
            description="Granted on VMs of batches only, to the service account under which they run",
            permissions=list(SELF_DELETE_PERMISSIONS),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.self_delete_grant = self._grant_self_delete(name, args)
        self.bucket_grants = list(self._grant_bucket(name, args))
        for operator in args.operators:
            self._admit_operator(operator, args)
        self.register_outputs({"email": self.account.email})

    def _grant_self_delete(self, name: str, args: VmIdentityArgs) -> gcp.projects.IAMMember:
        return gcp.projects.IAMMember(
            f"{name}-self-delete",
            project=args.project,
            role=self.self_delete.name,
            member=self.account.email.apply(lambda email: f"serviceAccount:{email}"),
            condition={
                "title": names.SELF_DELETE_ROLE_TITLE,
                "description": "Only VMs of batches, which are told by their names",
                "expression": names.self_delete_condition(),
            },
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _grant_bucket(self, name: str, args: VmIdentityArgs) -> Iterator[gcp.storage.BucketIAMMember]:
        for role in BUCKET_ROLES:
            yield gcp.storage.BucketIAMMember(
                f"{name}-{role.rsplit('.', 1)[1]}",
                bucket=args.bucket,
                role=role,
                member=self.account.email.apply(lambda email: f"serviceAccount:{email}"),
                opts=pulumi.ResourceOptions(parent=self),
            )

    def _admit_operator(self, operator: str, args: VmIdentityArgs) -> None:
        """OS Login with sudo (a bake needs it), the tunnel if it is used, and leave to attach the account to a VM."""
        for role in (OPERATOR_ROLE, TUNNEL_ROLE) if args.tunnel else (OPERATOR_ROLE,):
            gcp.projects.IAMMember(
                f"{role.rsplit('.', 1)[1]}-{operator}",
                project=args.project,
                role=role,
                member=operator,
                opts=pulumi.ResourceOptions(parent=self),
            )
        gcp.serviceaccount.IAMMember(
            f"serviceAccountUser-{operator}",
            service_account_id=self.account.name,
            role=USE_ACCOUNT_ROLE,
            member=operator,
            opts=pulumi.ResourceOptions(parent=self),
        )
