"""Google's filter syntax, as a table."""

from __future__ import annotations

import pytest

from runner.emulator.wire.filters import parse_filter
from runner.errors import CloudError

VM = {
    "name": "run-1",
    "status": "RUNNING",
    "labels": {"batch": "b1", "app": "opensees-hpc", "a.b": "dotted"},
    "zone": "https://www.googleapis.com/compute/v1/projects/p/zones/europe-west4-a",
    "scheduling": {"preemptible": True},
    "tags": {"items": ["ssh", "web"]},
    "disks": [{"deviceName": "one"}, {"deviceName": "two"}],
    "creationTimestamp": "2026-11-22T08:00:00.000-00:00",
    "sizeGb": "50",
}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "labels.batch=b1",
        "labels.batch = b1",
        'labels.batch="b1"',
        "labels.batch='b1' AND status=RUNNING",
        "labels.app=opensees-hpc AND labels.batch=b1",
        "labels.batch:*",
        "labels.batch:b",
        "labels:batch",
        "labels.a.b=dotted",
        "(labels.batch=b1) (status=RUNNING)",
        "labels.batch=b1 status=RUNNING",
        "labels.batch=b2 OR labels.batch=b1",
        "status!=TERMINATED",
        "NOT status=TERMINATED",
        "-status=TERMINATED",
        "-(status=TERMINATED OR name=x)",
        "name eq run-.*",
        'name eq "run-[0-9]"',
        "name ne x.*",
        "name:run*",
        "zone=europe-west4-a",
        "zone=projects/p/zones/europe-west4-a",
        "zone eq .*europe-west4-a",
        "(zone eq https://www.googleapis.com/compute/v1/projects/p/zones/europe-west4-a)",
        "scheduling.preemptible=true",
        "tags.items=web",
        "disks.deviceName=two",
        "sizeGb>20 AND sizeGb<=50",
        "creationTimestamp>2026-11-01",
    ],
)
def test_filter_matches(text: str) -> None:
    assert parse_filter(text)(VM)


@pytest.mark.parametrize(
    "text",
    [
        "labels.batch=b2",
        "labels.batch=b1 AND status=TERMINATED",
        "labels.other:*",
        "labels.batch=b",
        "name eq run",
        "NOT status=RUNNING",
        "status!=RUNNING",
        "sizeGb>50",
        "(labels.batch=b1) (status=TERMINATED)",
        "labels.batch=b2 OR labels.batch=b3",
    ],
)
def test_filter_does_not_match(text: str) -> None:
    assert not parse_filter(text)(VM)


@pytest.mark.parametrize(
    "text", ["status", "status=", "=RUNNING", "(status=RUNNING", "status=RUNNING)", "a=b AND", "name eq ["]
)
def test_filter_that_google_rejects(text: str) -> None:
    with pytest.raises(CloudError) as caught:
        parse_filter(text)
    assert (caught.value.status, caught.value.reason) == (400, "invalid")
