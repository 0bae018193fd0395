"""``smoke.yaml`` succeeds with the reference digits; every job of ``failing.yaml`` fails in the way its name says."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.jobs.conftest import RunJob, command_of, copy_inputs, read_batch

FAILURES = {
    "tcl-error": 'invalid command name "fixx"',
    "not-converged": "FAILED: analyze failed at load factor 0.50 of 1.00",
    "crash": "about to crash",
    "python-error": "KeyError: 2",
    "rank-error": "rank 1 has had enough",
}


def test_the_truss_gives_the_reference_digits(run_job: RunJob) -> None:
    """Two bars carry what equilibrium and compatibility demand; digits as in OpenSees' first example."""
    run = run_job("smoke.yaml", "truss")
    assert run.exit_code == 0, run.output
    assert run.columns("node4.out")[0] == pytest.approx([1.0, 0.530092777132284, -0.177893638469318], rel=1e-12)
    assert "SUCCESS" in run.output


@pytest.mark.parametrize("name", sorted(FAILURES))
def test_a_failing_model_ends_with_a_code_and_its_reason(run_job: RunJob, name: str) -> None:
    run = run_job("failing.yaml", name)
    assert run.exit_code != 0, run.output
    assert FAILURES[name] in run.output
    assert "never printed" not in run.output


def test_an_unchecked_failure_ends_with_code_zero_but_short_of_its_end(run_job: RunJob) -> None:
    run = run_job("failing.yaml", "unchecked")
    assert run.exit_code == 0, run.output
    assert "analyze failed" in run.output
    assert run.columns("displacement.out")[-1] == pytest.approx([0.5, 0.01])


def test_the_endless_model_is_still_there_after_its_first_lines(opensees_prefix: Path, tmp_path: Path) -> None:
    job = next(job for job in read_batch("failing.yaml").jobs if job.name == "timeout")
    copy_inputs(job, tmp_path)
    process = subprocess.Popen(
        command_of(job, opensees_prefix, 1),
        cwd=tmp_path,
        env={**os.environ, "OPENSEES_HPC_PREFIX": str(opensees_prefix)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        assert process.stdout is not None
        try:
            assert any("waited 2 s" in line for line in process.stdout)
            assert process.poll() is None
        finally:
            process.terminate()
            process.communicate(timeout=60)
    assert process.returncode != 0
