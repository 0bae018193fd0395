"""The Compute API, and the life of instances, disks, images and networks behind it.

The processes and folders of instances are in ``machines``.
"""

from runner.emulator.compute.addresses import address_rules
from runner.emulator.compute.disk_roots import DiskRoots, RootTools
from runner.emulator.compute.disks import Disks
from runner.emulator.compute.guest_view import GuestView
from runner.emulator.compute.images import Images, put_public_images
from runner.emulator.compute.instance_documents import InstancePlanner, take_external_addresses
from runner.emulator.compute.instance_policies import InstancePolicies
from runner.emulator.compute.instances import Instances
from runner.emulator.compute.lifecycle import PREEMPTION_NOTICE_S, Hypervisor, Lifecycle
from runner.emulator.compute.networks import network_rules, put_default_network
from runner.emulator.compute.operation_records import Failure, Operations
from runner.emulator.compute.operations import OperationsApi
from runner.emulator.compute.projects import project_rules
from runner.emulator.compute.quotas import Quotas
from runner.emulator.compute.references import References
from runner.emulator.compute.resources import Parts

__all__ = [
    "PREEMPTION_NOTICE_S",
    "DiskRoots",
    "Disks",
    "Failure",
    "GuestView",
    "Hypervisor",
    "Images",
    "InstancePlanner",
    "InstancePolicies",
    "Instances",
    "Lifecycle",
    "Operations",
    "OperationsApi",
    "Parts",
    "Quotas",
    "References",
    "RootTools",
    "address_rules",
    "network_rules",
    "project_rules",
    "put_default_network",
    "put_public_images",
    "take_external_addresses",
]
