"""Names, labels and paths: the only module that builds them. Infra, runner and the scripts on the VM take them from here.

Google's rules: resource names ``[a-z]([-a-z0-9]{0,61}[a-z0-9])?`` (RFC 1035), label values ``[a-z0-9_-]{0,63}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

APP = "opensees-hpc"
IMAGE_FAMILY = APP
IMAGE_FORMAT_LABEL = "image_format"
# What a client relies on in an image; 2: the VM watches the lease, 3: it moves deadlines of jobs, 4: it pushes on a full disk, and
# every job can read the files. Increase it with each addition.
IMAGE_FORMAT = 4
NETWORK = APP
SUBNETWORK = APP
SSH_FIREWALL = f"{APP}-ssh"
NETWORK_TAG = APP
SERVICE_ACCOUNT_ID = f"{APP}-vm"
SELF_DELETE_ROLE_ID = "openseesHpcSelfDelete"  # unless settings say otherwise
SELF_DELETE_ROLE_TITLE = "OpenSees VM: delete itself"
VM_PREFIX = f"{APP}-"  # of every VM of a batch, and of no other: IAM uses it to decide which VMs may delete themselves
BASE_STACK = "base"
PULUMI_PROJECTS = {"base": f"{APP}-base", "image": f"{APP}-image", "analysis": f"{APP}-analysis"}
CONFIG_NAMESPACE = APP

ROLE_ID = re.compile(r"[a-zA-Z0-9_.]{3,64}")
RESOURCE_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
BATCH_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
JOB_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]|\.(?=[A-Za-z0-9_-])){0,62}")

# Keys of a VM's metadata, from which the watchdog on the VM reads its settings (packer/vm/lib/opensees_hpc/vm_settings.py). A batch sets
# the first three; the others are for operators.
VM_BATCH = f"{APP}-batch"
VM_BUCKET = f"{APP}-bucket"
VM_LEASE_S = f"{APP}-lease-seconds"
VM_GRACE_S = f"{APP}-grace-seconds"
VM_LOOK_S = f"{APP}-look-seconds"
VM_PUSH_S = f"{APP}-push-seconds"

RESULT_PREFIX = re.compile(
    r"(?P<batch>[^/]+)/(?P<job>[^/]+)/attempt-(?P<attempt>[1-9][0-9]{0,8})(\.push-(?P<push>[2-9]|[1-9][0-9]{1,8}))?"
)

CONTROL_PREFIX = "_control"
LEASE = "lease.json"
DEFINITION = "batch.json"
HOME_MARKERS = "home/"
PREEMPTED = "preempted/"

LIVE_LOGS = ".live"
RECEIPT = "_receipt"  # beside the folders of jobs, none of which can have this name
LONGEST_JOB_NAME = 56  # leaves room for the number of an attempt

RESULTS_ARCHIVE = "results.tar.zst"
MANIFEST = "manifest.json"
COMMIT_MARKER = "COMMITTED"

# In a workspace on a VM. The shell scripts of the job manager (runner/hardware/remote) spell these names too.
WORKSPACE_CONTROL_FOLDER = ".opensees-hpc"
STATE_FOLDER = ".job"
DEADLINE_FILE = f"{STATE_FOLDER}/timeout_s"
END_FILE = f"{STATE_FOLDER}/end"
STATUS_VARIABLE = "OPENSEES_HPC_STATUS_FILE"  # names the file in which the programs of the image record how they ended
ATTEMPT_MARK = ".a"


def is_batch_name(text: str) -> bool:
    """Return whether it is a batch's name, which is its stack's name, label value and prefix in the bucket: at most 40 of ``a-z 0-9 -``."""
    return BATCH_NAME.fullmatch(text) is not None


def is_job_name(text: str) -> bool:
    """Return whether it is a job's name, which is a folder and part of an object's name: letters, digits, ``_ -`` and single dots, at most 63."""
    return JOB_NAME.fullmatch(text) is not None


def label_value(text: str) -> str:
    """Return the nearest text that Google accepts as a label's value."""
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:63]


def labels(*, owner: str, expires: datetime | None = None, **more: str) -> dict[str, str]:
    """Return the labels of every resource of ours; ``more``: ``batch`` or ``bake``, and what describes the resource.

    ``expires`` is written as ``20261122-1530`` in UTC: after that time the resource should be gone.
    """
    result = {"app": APP, "owner": label_value(owner)}
    if expires is not None:
        result["expires"] = expires_label(expires)
    return result | {key: label_value(value) for key, value in more.items()}


def expires_label(at: datetime) -> str:
    """Return the value of the label ``expires``, in UTC."""
    return at.astimezone(UTC).strftime("%Y%m%d-%H%M")


def labels_of_batch(batch: str) -> dict[str, str]:
    """Return the labels by which all resources of a batch are found."""
    return {"app": APP, "batch": batch}


def labels_of_bake(bake: str) -> dict[str, str]:
    """Return the labels by which all resources of a bake are found."""
    return {"app": APP, "bake": bake}


def label_filter(wanted: Mapping[str, str]) -> str:
    """Return the ``filter=`` of a Compute list call for resources that have all these labels."""
    return " AND ".join(f"labels.{key}={value}" for key, value in sorted(wanted.items()))


def bucket_name(project: str) -> str:
    """Return the results bucket of a project (bucket names are global, so the project's ID is in it)."""
    return f"{project}-{APP}"[:63]


STATE_PASSPHRASE = f"{APP}/passphrase"  # an object beside Pulumi's state, which is below .pulumi/


def state_bucket_name(project: str) -> str:
    """Return the bucket of Pulumi's state, for a project on Google Cloud."""
    return f"{project}-{APP}-state"[:63]


def service_account_email(project: str) -> str:
    """Return the service account of our VMs."""
    return f"{SERVICE_ACCOUNT_ID}@{project}.iam.gserviceaccount.com"


def self_delete_role(project: str, role_id: str = SELF_DELETE_ROLE_ID) -> str:
    """Return the custom role that the service account of our VMs has on the VMs of batches: to read and to delete them."""
    return f"projects/{project}/roles/{role_id}"


def instance_name(batch: str, index: int) -> str:
    """Return the name of VM number ``index`` (from 0) of a batch. No two batches have VMs of the same name, and no bake has a VM of this name."""
    return f"{VM_PREFIX}{batch}-{index}"


def self_delete_condition() -> str:
    """Return the IAM condition that holds for VMs of batches, and for no other resource in a project.

    It contains no batch's name, so it is granted once, long before a VM exists. IAM has no regular expressions; ``extract`` returns
    what follows ``/instances/``, and '' if the resource is not an instance.
    Source: https://cloud.google.com/iam/docs/conditions-attribute-reference (2026-11).
    """
    is_vm = 'resource.type == "compute.googleapis.com/Instance"'
    return f'{is_vm} && resource.name.extract("/instances/{{name}}").startsWith("{VM_PREFIX}")'


def builder_name(bake: str) -> str:
    """Return the name of the builder VM of a bake; ``bake`` is the name of its stack."""
    return f"{bake}-builder"


def bake_name(at: datetime) -> str:
    """Return the name of a bake: of its stack, and the value of its label."""
    return f"bake-{at.astimezone(UTC).strftime('%Y%m%d-%H%M%S')}"


def image_name(at: datetime) -> str:
    """Return a versioned image name. It contains the family: without that every refresh plans a replacement."""
    return f"{IMAGE_FAMILY}-{at.astimezone(UTC).strftime('%Y%m%d-%H%M%S')}"


def result_prefix(batch: str, job: str, attempt: int, push: int = 1) -> str:
    """Return the prefix of the result set of one attempt in the bucket, with a slash at the end.

    ``push`` above 1: pushed again because the push before was corrupt; VMs may not overwrite objects, so it has its own name.
    """
    again = f".push-{push}" if push > 1 else ""
    return f"{batch}/{job}/attempt-{attempt}{again}/"


def read_result_prefix(prefix: str) -> tuple[str, str, int, int] | None:
    """Return batch, job, attempt and push from a prefix that ``result_prefix`` built, with or without the slash; None for any other text."""
    found = RESULT_PREFIX.fullmatch(prefix.removesuffix("/"))
    if found is None or not (is_batch_name(found["batch"]) and is_job_name(found["job"])):
        return None
    return found["batch"], found["job"], int(found["attempt"]), int(found["push"] or 1)


def control_prefix(batch: str) -> str:
    """Return the prefix of a batch's lease, definition and markers in the bucket, with a slash at the end. No batch can have this name."""
    return f"{CONTROL_PREFIX}/{batch}/"


def lease_object(batch: str) -> str:
    """Return the name of the lease of a batch: a small JSON object that the watching client renews."""
    return control_prefix(batch) + LEASE


def preemption_prefix(batch: str) -> str:
    """Return the prefix under which preempted VMs of a batch report it, with a slash at the end."""
    return f"{control_prefix(batch)}{PREEMPTED}"


def home_marker(job: str, attempt: int) -> str:
    """Return the name of the control object that records that an attempt's results were downloaded, and by which client."""
    return f"{HOME_MARKERS}{attempt_folder(job, attempt)}"


def attempt_folder(job: str, attempt: int) -> str:
    """Return the ID of one attempt of a job on a VM, and the name of its folder there."""
    return f"{job}{ATTEMPT_MARK}{attempt}"


def read_attempt_folder(folder: str) -> tuple[str, int] | None:
    """Return job and attempt of a folder that ``attempt_folder`` named; None for any other."""
    job, mark, number = folder.rpartition(ATTEMPT_MARK)
    return (job, int(number)) if mark and job and number.isdecimal() and number.isascii() else None
