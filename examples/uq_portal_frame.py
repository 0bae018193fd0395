"""How far does a portal frame sway in an earthquake, if its properties are uncertain? Samples through ``UnixServerScriptInterface``, a picture at the end.

    ./bootstrap python -m examples.uq_portal_frame                                         a VM of the embedded cloud, made for it and deleted
    ./bootstrap python -m examples.uq_portal_frame --host me@server:22 --key ~/.ssh/id     any host with SSH and OpenSees (``--program``)

The host key of ``--host`` must be in your known_hosts file. Only the interface of EXAUQ-Toolbox is used for the jobs, and ``wait``.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import math
import random
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from examples.histogram import draw_histogram
from examples.hosts import ExampleHost, embedded_vm, say
from runner.errors import HpcError
from runner.hardware import Job, JobId, UnixServerScriptInterface
from runner.hardware.bundle import BundleFile, tar_files
from runner.ssh import Connection, split_host, wait_for_ssh

HERE = Path(__file__).resolve().parent
RECORD = HERE.parent / "jobs" / "models" / "bridge_pier_ida" / "records" / "kobe.txt"
REMOTE_FOLDER = "uq-portal-frame"
SEED = 20261122
# Mean and coefficient of variation of each lognormal parameter, in the order of the input file.
PARAMETERS = {
    "Young's modulus, GPa": (205.0, 0.04),
    "yield moment, kNm": (260.0, 0.12),
    "mass, t": (60.0, 0.10),
    "damping ratio": (0.03, 0.30),
    "factor on the record": (1.0, 0.25),
}


def draw_samples(count: int, seed: int) -> list[tuple[float, ...]]:
    """Draw a Latin hypercube: each parameter takes one value out of each of ``count`` equally likely intervals."""
    chance = random.Random(seed)  # noqa: S311 (a sample, not a secret)
    columns = []
    for mean, variation in PARAMETERS.values():
        sigma = math.sqrt(math.log(1 + variation**2))
        normal = statistics.NormalDist(math.log(mean) - sigma**2 / 2, sigma)
        column = [math.exp(normal.inv_cdf((index + chance.random()) / count)) for index in range(count)]
        chance.shuffle(column)
        columns.append(column)
    return list(zip(*columns, strict=True))


def upload_model(example_host: ExampleHost, folder: str) -> str:
    """Copy the model and the record to the host, and return the script's path there."""
    files = (
        BundleFile(path="portal_frame.tcl", source=HERE / "portal_frame.tcl"),
        BundleFile(path="record.txt", source=RECORD),
    )
    with wait_for_ssh(example_host.target(), timeout_s=60) as connection:
        return _unpack(connection, folder, files)


def _unpack(connection: Connection, folder: str, files: Sequence[BundleFile]) -> str:
    connection.run(["mkdir", "-p", folder], check=True)
    connection.run(["tar", "-xmof", "-"], folder=folder, stdin=lambda: tar_files(files), check=True)
    made = connection.run(["pwd"], folder=folder, check=True)
    return f"{made.text.strip()}/portal_frame.tcl"


def compute_drifts(
    example_host: ExampleHost, folder: str, samples: Sequence[tuple[float, ...]], at_once: int
) -> list[float | None]:
    """Return the peak drift ratio of each sample, None where the analysis failed; ``at_once`` analyses at a time."""
    script = upload_model(example_host, folder)
    with UnixServerScriptInterface(
        example_host.user,
        example_host.host,
        example_host.program,
        script,
        "frames",
        host_keys=example_host.host_keys or (),
        port=example_host.port,
        **example_host.ssh_options,
    ) as jobs:
        drifts: list[float | None] = []
        for first in range(0, len(samples), at_once):
            batch = [
                Job(JobId(first + offset), sample) for offset, sample in enumerate(samples[first : first + at_once])
            ]
            jobs.submit_jobs(batch)
            jobs.wait([job.id for job in batch])
            drifts += [jobs.get_job_output(job.id) for job in batch]
            say(f"{len(drifts)} of {len(samples)}")
        if None not in drifts:
            jobs.delete_workspace()
    return drifts


@contextlib.contextmanager
def plain_host(where: str, key: Path | None, program: str) -> Iterator[ExampleHost]:
    """Use a host that exists already."""
    user, at, address = where.rpartition("@")
    host, port = split_host(address)
    yield ExampleHost(user=user if at else getpass.getuser(), host=host, port=port, key=key, program=program)


def main(arguments: Sequence[str]) -> int:
    """Sample, compute, draw."""
    parser = argparse.ArgumentParser(prog="python -m examples.uq_portal_frame", description=__doc__.splitlines()[0])
    parser.add_argument("--host", help="[USER@]HOST[:PORT]; without it a VM of the embedded cloud")
    parser.add_argument("--key", type=Path, help="private key file; without it the SSH agent")
    parser.add_argument("--program", default="opensees", help="what runs a Tcl model on --host")
    parser.add_argument("--folder", default=REMOTE_FOLDER, help="where on the host the model and the jobs go")
    parser.add_argument("--samples", type=int, default=50)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--picture", type=Path, default=Path("peak_drift.svg"))
    given = parser.parse_args(arguments)
    samples = draw_samples(given.samples, SEED)
    begun = time.monotonic()
    with plain_host(given.host, given.key, given.program) if given.host else embedded_vm() as example_host:
        found = compute_drifts(example_host, given.folder, samples, given.at_once)
    drifts = [drift for drift in found if drift is not None]
    if not drifts:
        say("no analysis succeeded")
        return 1
    percent = [100 * drift for drift in drifts]
    title = f"Peak drift of a portal frame, {len(drifts)} samples"
    given.picture.write_text(draw_histogram(percent, title=title, axis="peak drift ratio, %"), encoding="utf-8")
    spread = f"mean {statistics.fmean(percent):.3f} %, largest {max(percent):.3f} %"
    say(
        f"{len(drifts)} of {len(found)} analyses in {time.monotonic() - begun:.1f} s: peak drift {spread}; see {given.picture}"
    )
    return 0 if len(drifts) == len(found) else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except HpcError as error:
        sys.exit(f"{error.message}\n{error.remedy}".rstrip())
