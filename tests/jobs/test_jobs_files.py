"""The shipped jobs files: they parse, name files that exist, and ``batch1.yaml`` covers every kind of model."""

from __future__ import annotations

import pytest

from tests.jobs.conftest import JOBS, read_batch

FILES = ("batch1.yaml", "smoke.yaml", "failing.yaml")
BATCH1 = {"steel_frame_pushover": 1, "bridge_pier_ida": 6, "portal_frame_study": 1, "shear_wall_mumps": 1}


@pytest.mark.parametrize("name", FILES)
def test_every_file_that_a_batch_names_exists(name: str) -> None:
    batch = read_batch(name)
    assert batch.name == name.removesuffix(".yaml")
    for job in batch.jobs:
        assert (job.folder / job.main).is_file(), job.name
        assert all(any(job.folder.glob(pattern)) for pattern in job.include), job.name


def test_batch1_covers_every_kind_of_model() -> None:
    jobs = read_batch("batch1.yaml").jobs
    counted: dict[str, int] = {}
    for job in jobs:
        counted[job.folder.name] = counted.get(job.folder.name, 0) + 1
    assert counted == {**BATCH1, "two_span_bridge_py": 1}
    assert {job.folder.name for job in jobs if job.np == 2} == {"portal_frame_study", "shear_wall_mumps"}
    assert [job.main for job in jobs if job.main.endswith(".py")] == ["main.py"]


def test_every_model_is_used_and_described() -> None:
    used = {job.folder.resolve() for name in FILES for job in read_batch(name).jobs}
    there = {path for path in (JOBS / "models").iterdir() if path.is_dir()}
    described = (JOBS.parent / "docs" / "models.md").read_text(encoding="utf-8")
    assert used == there
    for model in there:
        assert (model / "README.md").is_file(), model.name
        assert f"`{model.name}`" in described
