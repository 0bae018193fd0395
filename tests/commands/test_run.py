"""``invoke run`` up to the question whether to do it: what is asked about is what will be created."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runner.commands import run
from runner.context import Cloud, Context
from runner.errors import DeclinedError, MissingToolError
from runner.google.compute import Image
from runner.model import catalog, names
from runner.model.events import Event, Listener
from runner.model.plan import hourly_price
from runner.model.quota import RegionQuota
from runner.model.settings import Settings
from runner.options.batches import Run
from tests.support.small_cloud import SmallCompute, small_context

IMAGE = Image(
    name="opensees-hpc-1",
    family="opensees-hpc",
    status="READY",
    created="",
    size_gib=5.0,
    disk_gib=100,
    labels={},
    deprecated=False,
)


@pytest.fixture
def jobs_file(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "main.tcl").write_text("puts 1\n")
    jobs = "".join(f"  - {{name: j{index}, dir: model, np: 2}}\n" for index in range(4))
    file = tmp_path / "b.yaml"
    file.write_text(f"batch: b\njobs:\n{jobs}machines: {{max_vms: 4}}\n")
    yield file


def has_all(recipe: str) -> None:
    """A computer that lacks nothing for a bake."""


def has_no_tcl(recipe: str) -> None:
    """A computer that cannot bake."""
    raise MissingToolError(f"no Tcl for the recipe {recipe}")


def google(folder: Path, *, image: Image | None, check_bake: Callable[[str], None] = has_all) -> Context:
    """A project with quota for 250 GiB of disks, and this image."""
    quota = RegionQuota(metric="SSD_TOTAL_GB", limit=250.0, usage=0.0)
    cloud = SimpleNamespace(
        open=lambda: None,
        warm_up=lambda: None,
        check_bake=check_bake,
        compute=SimpleNamespace(newest_image=lambda family: image, read_quotas=lambda region: [quota]),
        results=SimpleNamespace(batches=lambda: []),
        stacks=SimpleNamespace(names=lambda project: [], outputs=lambda project, name: None),
    )
    settings = Settings(target="google", project="a-project", operator="me@example.com")
    return replace(small_context(folder, SmallCompute()), settings=settings, cloud=cast(Cloud, cloud))


@pytest.mark.parametrize(("image", "vms", "disk_gib"), [(None, 4, 40), (IMAGE, 2, 100)])
def test_price_and_quota_go_by_the_disks_that_the_image_needs(
    tmp_path: Path, jobs_file: Path, image: Image | None, vms: int, disk_gib: int
) -> None:
    reported: list[Event] = []
    listener = Listener(on_progress=reported.append, on_confirm=lambda question: False)
    with pytest.raises(DeclinedError):
        run.execute(google(tmp_path, image=image).with_listener(listener), Run(jobs=str(jobs_file)))
    (plan,) = [cast(Any, event.as_json()) for event in reported if event.kind == "plan"]
    assert len(plan["instances"]) == vms
    price = vms * hourly_price(catalog.MACHINE_TYPES[plan["machine_type"]], disk_gib)
    assert plan["price_usd_per_hour"] == pytest.approx(price, abs=1e-4)
    assert plan["ceiling_usd"] == pytest.approx(price * plan["max_run_s"] / 3600, abs=1e-3)


@pytest.mark.parametrize("image", [None, IMAGE], ids=["no image", "an image of an older version"])
def test_what_a_bake_lacks_is_reported_before_anything_is_asked_or_created(
    tmp_path: Path, jobs_file: Path, image: Image | None
) -> None:
    context = google(tmp_path, image=image, check_bake=has_no_tcl)
    with pytest.raises(MissingToolError, match="no Tcl for the recipe wheels"):
        run.execute(context, Run(jobs=str(jobs_file)))


def test_a_computer_that_could_not_bake_runs_what_is_baked(tmp_path: Path, jobs_file: Path) -> None:
    current = replace(IMAGE, labels={names.IMAGE_FORMAT_LABEL: str(names.IMAGE_FORMAT)})
    context = google(tmp_path, image=current, check_bake=has_no_tcl)
    with pytest.raises(DeclinedError):
        run.execute(context, Run(jobs=str(jobs_file)))
