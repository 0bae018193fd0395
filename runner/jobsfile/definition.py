"""What a batch is, kept in the bucket: enough for another client, on another computer, to continue it.

``batch.json`` says the plan and the jobs; ``inputs/<hash>.tar.gz`` holds the files of a job's folder, once for all jobs that
share them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from runner.context import Context
from runner.errors import CloudError, NotFoundError
from runner.jobsfile.input_files import fetch_inputs, save_inputs
from runner.jobsfile.preflight import JobInputs
from runner.model import names
from runner.model.batch import Expectation, Job
from runner.model.catalog import MACHINE_TYPES
from runner.model.foreign import decode_json, plain_text, real_number, shorten, whole_number
from runner.model.plan import Plan
from runner.results import CorruptResultsError, check_name
from runner.system.files import STATE_ELSEWHERE, disk_error

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A batch that was begun: its plan, its jobs with their files, the image that its VMs boot, and when they must be gone
    (ISO 8601, for their label). ``owner``: it stays the same when another user continues the batch."""

    owner: str
    plan: Plan
    inputs: tuple[JobInputs, ...]
    image: str
    disk_gib: int
    expires: str


def save_definition(context: Context, definition: Definition) -> None:
    """Put a batch's definition and the files of its jobs into the bucket, the definition last.

    Raises:
        InputError: a file of a job has gone since it was looked for, or cannot be read.
        DiskError: no disk space to pack them.
    """
    store, batch = context.cloud.results, definition.plan.batch
    keys: dict[tuple[Path, tuple[str, ...]], str] = {}
    for inputs in definition.inputs:
        content = (inputs.job.folder, inputs.files)
        if content not in keys:
            keys[content] = save_inputs(context, batch, *content)
    jobs = [_job_values(inputs, keys[(inputs.job.folder, inputs.files)]) for inputs in definition.inputs]
    plan = {key: value for key, value in asdict(definition.plan).items() if key not in ("jobs", "machine")}
    values = {
        "format": FORMAT,
        "owner": definition.owner,  # objects have no labels, and a sweep has to know their owner
        "plan": plan | {"machine_type": definition.plan.machine.name},
        "image": definition.image,
        "disk_gib": definition.disk_gib,
        "expires": definition.expires,
        "jobs": jobs,
    }
    store.put_control(batch, names.DEFINITION, json.dumps(values).encode())


def open_batches(context: Context) -> list[str]:
    """Return the batches that a client can continue: those whose definition is in the bucket. The list is empty if the bucket does not exist yet."""
    store = context.cloud.results
    try:
        return [batch for batch in store.controlled_batches() if names.DEFINITION in store.list_control(batch)]
    except NotFoundError:
        return []


def load_definition(context: Context, batch: str) -> Definition:
    """Read the definition of a batch from the bucket, and unpack the files of its jobs in the state folder.

    Raises:
        NotFoundError: the bucket has none: the batch has ended, or never began.
        CloudError: it is corrupt, or of a newer format.
        DiskError: the files of its jobs cannot be unpacked here.
    """
    found = context.cloud.results.get_control(batch, names.DEFINITION)
    if found is None:
        raise NotFoundError(
            f"the bucket has nothing of batch {batch} to continue: it has ended, or never began",
            remedy=f"`invoke status` lists what exists, `invoke cleanup --batch {batch}` removes what may be left of it",
        )
    try:
        values = decode_json(found.content)
        if values["format"] != FORMAT:
            raise CloudError(
                f"batch {batch} was begun by another version (format {shorten(values['format'])}, not {FORMAT})"
            )
        inputs = tuple(_read_job(context, batch, item, index) for index, item in enumerate(values["jobs"]))
        plan = dict(values["plan"])
        machine = MACHINE_TYPES[plan.pop("machine_type")]
        read = Plan(
            **plan | {"instances": tuple(plan["instances"])}, machine=machine, jobs=tuple(item.job for item in inputs)
        )
        return Definition(
            owner=plain_text(values["owner"]),
            plan=read,
            inputs=inputs,
            image=str(values["image"]),
            disk_gib=whole_number(values["disk_gib"]),
            expires=str(values["expires"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, ValidationError, CorruptResultsError) as error:
        raise CloudError(f"the definition of batch {batch} in the bucket is corrupt: {shorten(error)}") from error
    except OSError as error:
        raise disk_error(error, error.filename or context.state_folder, more=STATE_ELSEWHERE) from error


def _job_values(inputs: JobInputs, key: str) -> dict[str, Any]:
    job = inputs.job
    return {
        "name": job.name,
        "main": job.main,
        "np": job.np,
        "timeout_s": job.timeout_s,
        "args": list(job.args),
        "expect": job.expect.model_dump(),
        "files": list(inputs.files),
        "inputs": key,
    }


def _read_job(context: Context, batch: str, values: dict[str, Any], index: int) -> JobInputs:
    here = fetch_inputs(context, batch, plain_text(values["inputs"]))
    files = tuple(str(check_name(name)) for name in values["files"])
    job = Job(
        name=plain_text(values["name"]),
        folder=here,
        main=plain_text(values["main"]),
        np=whole_number(values["np"], least=1),
        timeout_s=real_number(values["timeout_s"]),
        args=tuple(values["args"]),
        include=(),
        expect=Expectation.model_validate(values["expect"]),
        entry=index,
    )
    return JobInputs(job=job, files=files, size_bytes=sum((here / name).stat().st_size for name in files))
