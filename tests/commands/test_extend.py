"""``invoke extend``: the lease is rewritten, within the life of the VMs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from runner.commands import extend
from runner.context import Context
from runner.errors import InputError
from runner.lease.keeper import read_lease
from runner.model import names
from runner.model.lease import Lease, new_lease
from tests.emulator.conftest import LIMIT_S, spot, vm_body
from tests.support.command_site import CommandSite

HOUR_S = 3600


def insert_vm(site: CommandSite, batch: str, *, max_run_s: int) -> None:
    """A VM of a batch, which the cloud itself ends."""
    endpoint = site.start_cloud()
    scheduling = spot(maxRunDuration={"seconds": max_run_s}, instanceTerminationAction="DELETE")
    labels = names.labels_of_batch(batch)
    body = vm_body(names.instance_name(batch, 0), zone=endpoint.zone, labels=labels, scheduling=scheduling)
    zone = f"{endpoint.url}/compute/v1/projects/{endpoint.project}/zones/{endpoint.zone}"
    operation = requests.post(f"{zone}/instances", json=body, headers=endpoint.headers, timeout=LIMIT_S).json()
    done = requests.post(
        f"{zone}/operations/{operation['name']}/wait", headers=endpoint.headers, timeout=LIMIT_S
    ).json()
    assert (done["status"], done.get("error")) == ("DONE", None)


def write_lease(context: Context, batch: str, deadlines: Mapping[str, float], **changes: Any) -> Lease:
    lease = new_lease(batch, "somebody@there 2", datetime.now(UTC), 600)
    lease = Lease(**{**vars(lease), "deadlines": deadlines, **changes})
    context.cloud.results.put_control(batch, names.LEASE, lease.as_json())
    return lease


def read_back(context: Context, batch: str) -> Lease:
    found = read_lease(context.cloud.results, batch)
    assert found is not None
    return found.lease


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandSite]:
    site = CommandSite(home=tmp_path_factory.mktemp("home"))
    yield site
    site.close()


@pytest.fixture
def context(site: CommandSite) -> Context:
    """With a bucket."""
    context = site.context()
    context.cloud.open()
    if not context.cloud.results.exists():
        endpoint = site.start_cloud()
        bucket = {"name": names.bucket_name(endpoint.project)}
        answer = requests.post(
            f"{endpoint.url}/storage/v1/b",
            json=bucket,
            params={"project": endpoint.project},
            headers=endpoint.headers,
            timeout=LIMIT_S,
        )
        assert answer.status_code == 200, answer.text
    return context


def test_all_jobs_of_a_batch_get_more_time(site: CommandSite, context: Context) -> None:
    insert_vm(site, "all", max_run_s=4 * HOUR_S)
    before = write_lease(context, "all", {"a": 600.0, "b": 900.0})
    extension = extend.execute(context, batch="all", minutes=30)
    after = read_back(context, "all")
    assert dict(after.deadlines) == dict(extension.deadlines) == {"a": 2400.0, "b": 2700.0}
    assert (after.holder, after.expires, after.detached) == (before.holder, before.expires, False)
    assert extension.vms_end is not None
    assert abs(extension.vms_end - datetime.now(UTC) - timedelta(hours=4)) < timedelta(minutes=5)
    assert "its first VM ends at" in str(extension)
    assert json.loads(json.dumps(extension.as_json()))["deadlines_s"] == {"a": 2400.0, "b": 2700.0}


def test_one_job_gets_less_time(site: CommandSite, context: Context) -> None:
    insert_vm(site, "one", max_run_s=4 * HOUR_S)
    write_lease(context, "one", {"a": 600.0, "b": 900.0})
    extension = extend.execute(context, batch="one", minutes=-5, job="a")
    assert dict(read_back(context, "one").deadlines) == {"a": 300.0, "b": 900.0}
    assert dict(extension.deadlines) == {"a": 300.0}
    assert dict(extend.execute(context, batch="one", minutes=-60, job="a").deadlines) == {"a": 0.0}


def test_a_detached_batch_is_extended_too(site: CommandSite, context: Context) -> None:
    insert_vm(site, "alone", max_run_s=4 * HOUR_S)
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    write_lease(context, "alone", {"a": 600.0}, renewed=long_ago, expires=long_ago.timestamp() + 600, detached=True)
    extend.execute(context, batch="alone", minutes=30)
    after = read_back(context, "alone")
    assert (after.deadlines["a"], after.detached) == (2400.0, True)
    assert after.expires == after.renewed.timestamp()


def test_deadlines_missing_in_the_lease_are_read_from_the_definition(site: CommandSite, context: Context) -> None:
    insert_vm(site, "defined", max_run_s=4 * HOUR_S)
    write_lease(context, "defined", {"a": 700.0})
    jobs = {"jobs": [{"name": "a", "timeout_s": 600.0}, {"name": "b", "timeout_s": 800.0}, {"name": "c"}]}
    context.cloud.results.put_control("defined", "batch.json", json.dumps(jobs).encode())
    assert dict(extend.execute(context, batch="defined", minutes=1).deadlines) == {"a": 760.0, "b": 860.0}


def test_no_deadline_is_moved_beyond_the_end_of_the_vms(site: CommandSite, context: Context) -> None:
    insert_vm(site, "limited", max_run_s=HOUR_S)
    before = write_lease(context, "limited", {"a": 600.0})
    with pytest.raises(InputError, match=r"its VMs end at .* \(maxRunDuration\)"):
        extend.execute(context, batch="limited", minutes=90)
    with pytest.raises(
        InputError,
        match=r"job a 65 minutes after its start is 5 minutes beyond .* \(60 minutes, their maxRunDuration\)",
    ):
        extend.execute(context, batch="limited", minutes=55, job="a")
    assert read_back(context, "limited") == before


def test_batches_that_cannot_be_extended_are_reported(site: CommandSite, context: Context) -> None:
    with pytest.raises(InputError, match="has no VMs"):
        extend.execute(context, batch="nothing", minutes=30)
    insert_vm(site, "unleased", max_run_s=HOUR_S)
    with pytest.raises(InputError, match="has no lease"):
        extend.execute(context, batch="unleased", minutes=5)
    write_lease(context, "unleased", {"a": 600.0})
    with pytest.raises(InputError, match="has no job 'b'"):
        extend.execute(context, batch="unleased", minutes=5, job="b")


@pytest.mark.parametrize("text", ["", "soon", "nan", "inf", "0", "1e300", "-1e300"])
def test_minutes_are_a_number(text: str) -> None:
    with pytest.raises(InputError, match="is not a number of minutes"):
        extend.read_minutes(text)
