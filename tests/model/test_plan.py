"""How many VMs, for how long, at what cost at most."""

from __future__ import annotations

from pathlib import Path

import pytest
from annotated_types import Le
from hypothesis import given
from hypothesis import strategies as st

from infra.analysis.settings import AnalysisSettings
from runner.errors import InputError
from runner.model import catalog
from runner.model.batch import Batch, Expectation, Job, parse_batch
from runner.model.plan import hourly_price, longest_makespan_s, make_plan, next_name, vms_needed
from runner.model.settings import Settings


def _job(np: int, timeout_s: float) -> Job:
    return Job(
        name="a",
        folder=Path("d"),
        main="main.tcl",
        np=np,
        timeout_s=timeout_s,
        args=(),
        include=(),
        expect=Expectation(),
        entry=0,
    )


def test_two_jobs_share_a_vm_when_their_cores_fit() -> None:
    text = "batch: b\njobs:\n  - {name: a, dir: d}\n  - {name: c, dir: d}\nmachines: {max_vms: 4}\n"
    plan = make_plan(parse_batch(text, Path("b.yaml")), Settings(), name="b")
    assert plan.instances == ("opensees-hpc-b-0",)
    assert plan.machine.name == "c2-standard-4"
    assert plan.max_run_s == 75 * 60  # both at once for an hour, and a quarter of slack
    assert plan.ceiling_usd == pytest.approx(1.25 * hourly_price(plan.machine, 40))


def test_a_wide_job_gets_a_larger_machine_type() -> None:
    text = "batch: b\njobs:\n  - {name: a, dir: d, np: 8}\n"
    assert make_plan(parse_batch(text, Path("b.yaml")), Settings(), name="b").machine.cores >= 8


def test_never_more_vms_than_allowed() -> None:
    jobs = "".join(f"  - {{name: j{i}, dir: d, np: 2}}\n" for i in range(10))
    text = f"batch: b\njobs:\n{jobs}machines: {{max_vms: 3}}\n"
    assert len(make_plan(parse_batch(text, Path("b.yaml")), Settings(), name="b").instances) == 3


def long_batch(*, hours: float, max_vms: int) -> Batch:
    jobs = "".join(f"  - {{name: j{i}, dir: d, np: 2, timeout_min: {60 * hours}}}\n" for i in range(200))
    return parse_batch(f"batch: b\njobs:\n{jobs}machines: {{max_vms: {max_vms}}}\n", Path("b.yaml"))


def test_a_batch_that_may_outlast_the_longest_life_of_a_vm_is_refused_with_a_remedy() -> None:
    with pytest.raises(InputError, match=r"b.yaml:203.*200 jobs may take 166.7 days on 1 VM .* after 120 days"):
        make_plan(long_batch(hours=20, max_vms=1), Settings(), name="b")
    plan = make_plan(long_batch(hours=20, max_vms=2), Settings(), name="b")
    with pytest.raises(InputError, match="and the quota for them"):
        make_plan(long_batch(hours=20, max_vms=2), Settings(), name="b", most_vms=1)
    assert plan.max_run_s == 100 * 20 * 3600 + 15 * 60


def test_a_stack_takes_what_a_plan_allows() -> None:
    plan = make_plan(long_batch(hours=1, max_vms=1), Settings(), name="b")
    (limit,) = (one for one in AnalysisSettings.model_fields["max_run_seconds"].metadata if isinstance(one, Le))
    assert limit.le == catalog.LONGEST_RUN_S
    assert 7 * 86400 < plan.max_run_s < catalog.LONGEST_RUN_S


def test_disks_are_as_large_as_the_image_needs() -> None:
    batch = long_batch(hours=1, max_vms=1)
    for least_gib, size_gib in ((0, 40), (30, 40), (100, 100)):
        plan = make_plan(batch, Settings(), name="b", least_disk_gib=least_gib)
        assert plan.disk_gib == size_gib
        assert plan.ceiling_usd == pytest.approx(hourly_price(plan.machine, size_gib) * plan.max_run_s / 3600)


def test_fewer_vms_than_wanted_run_for_longer() -> None:
    batch = long_batch(hours=1, max_vms=4)
    assert make_plan(batch, Settings(), name="b", most_vms=2).max_run_s == 100 * 3600 + 15 * 60
    assert make_plan(batch, Settings(), name="b").max_run_s == 50 * 3600 + 15 * 60


@given(st.lists(st.integers(1, 4), min_size=1, max_size=20))
def test_first_fit_holds_every_job(widths: list[int]) -> None:
    vms = vms_needed(widths, 4)
    assert -(-sum(widths) // 4) <= vms <= len(widths)


@given(st.lists(st.tuples(st.integers(1, 2), st.floats(1, 1e4)), min_size=1, max_size=12), st.integers(1, 3))
def test_makespan_is_between_its_bounds(jobs: list[tuple[int, float]], vms: int) -> None:
    made = [_job(np, timeout_s) for np, timeout_s in jobs]
    found = longest_makespan_s(made, vms=vms, cores=2)
    work = sum(job.np * job.timeout_s for job in made) / (2 * vms)
    assert max(work, max(job.timeout_s for job in made)) - 1e-6 <= found <= sum(job.timeout_s for job in made) + 1e-6


def test_a_name_is_used_once() -> None:
    assert next_name("b", {"a"}) == "b"
    assert next_name("b", {"b", "b-2"}) == "b-3"
    assert next_name("x" * 40, {"x" * 40}) == "x" * 38 + "-2"


def test_no_machine_type_has_this_many_cores() -> None:
    with pytest.raises(ValueError, match="the largest has"):
        catalog.smallest_with(1000, at_least=catalog.MACHINE_TYPES["c2-standard-4"])
