"""The three programs send the same requests to the cloud as through the stock plugin, write by write.

The recordings: ``tests/data/traces``. Image and analysis use an existing network and account.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from .engine import Engine, Stack
from .programs import ACCOUNT_ID, PROGRAMS, REGION
from .recorder import Recorder
from .traces import load_trace, writes_of

COMPUTE = "/compute/v1/projects/demo"
ACCOUNTS = "/iam/v1/projects/demo/serviceAccounts"
NETWORK = "projects/demo/global/networks/study-net"
SUBNETWORK = {"name": "study-sub", "network": NETWORK, "ipCidrRange": "10.10.0.0/24"}


class Rounds:
    """The life of one program; ``variant`` is what the program declares now."""

    def __init__(self, stack: Stack, recorder: Recorder, name: str) -> None:
        self.name = name
        self.variant = "a"
        self.stack = stack
        self._recorder = recorder
        stack.program = lambda: PROGRAMS[name](self.variant)

    def writes_of(self, action: Callable[[], object]) -> list[str]:
        self._recorder.take()
        action()
        return writes_of(self._recorder.take())

    def assert_recorded(self, trace: str, action: Callable[[], object]) -> None:
        assert self.writes_of(action) == writes_of(load_trace(f"{self.name}-{trace}"))

    def assert_nothing_planned(self, *, refresh: bool = False) -> None:
        plans = []
        assert self.writes_of(lambda: plans.append(self.stack.preview(refresh=refresh))) == []
        assert plans == [{}]

    def live(self) -> None:
        """Run everything but the destroy."""
        assert set(self.stack.preview()) == {"create"}
        self.assert_recorded("2-up", self.stack.up)
        self.assert_nothing_planned()
        self.assert_nothing_planned(refresh=True)
        self.variant = "b"
        self.assert_recorded("5-update", self.stack.up)
        assert self.writes_of(self.stack.refresh) == []
        self.assert_nothing_planned()

    def end(self) -> None:
        self.assert_recorded("7-destroy", self.stack.destroy)


@contextmanager
def rounds_of(engine: Engine, recorder: Recorder, name: str) -> Iterator[Rounds]:
    with engine.running(lambda: PROGRAMS[name]("a")) as stack:
        yield Rounds(stack, recorder, name)


@pytest.fixture
def ground(rest: httpx.Client) -> Iterator[None]:
    """Create the resources of the base that the other programs use."""

    def do(method: str, path: str, body: Any = None) -> None:
        answer = rest.request(method, path, json=body).raise_for_status().json()
        if path.startswith(COMPUTE):
            where = path.rsplit("/", 1)[0] if method == "DELETE" else path
            done = rest.post(f"{where.rsplit('/', 1)[0]}/operations/{answer['name']}/wait")
            assert "error" not in done.raise_for_status().json()

    email = f"{ACCOUNT_ID}@demo.iam.gserviceaccount.com"
    do("POST", f"{COMPUTE}/global/networks", {"name": "study-net", "autoCreateSubnetworks": False})
    do("POST", f"{COMPUTE}/regions/{REGION}/subnetworks", SUBNETWORK)
    do("POST", ACCOUNTS, {"accountId": ACCOUNT_ID})
    yield
    do("DELETE", f"{ACCOUNTS}/{email}")
    do("DELETE", f"{COMPUTE}/regions/{REGION}/subnetworks/study-sub")
    do("DELETE", f"{COMPUTE}/global/networks/study-net")


def test_base(engine: Engine, recorder: Recorder, rest: httpx.Client) -> None:
    compute = "/serviceusage/v1/projects/demo/services/compute.googleapis.com"
    rest.post(f"{compute}:disable", json={}).raise_for_status()
    with rounds_of(engine, recorder, "base") as base:
        base.live()
        base.end()
        base.assert_recorded("8-up-again", base.stack.up)


def test_image(engine: Engine, recorder: Recorder, rest: httpx.Client, ground: None) -> None:
    with rounds_of(engine, recorder, "image") as image:
        image.live()
        outputs = image.stack.outputs()
        image.end()
    assert outputs["client"] == ["demo", "europe-west1", "europe-west1-b"]
    assert outputs["number"] == "123456789012"
    assert outputs["zones"] == ["europe-west1-b", "europe-west1-c", "europe-west1-d"]
    # A boot disk that is not deleted with its VM stays behind: the trap is the stock plugin's.
    leaked = f"{COMPUTE}/zones/europe-west1-b/disks/builder-keep"
    assert rest.delete(leaked).status_code == httpx.codes.OK


def test_analysis(engine: Engine, recorder: Recorder, ground: None) -> None:
    with rounds_of(engine, recorder, "analysis") as analysis:
        analysis.live()
        outputs = analysis.stack.outputs()
        assert outputs["statuses"] == ["RUNNING"] * 3
        assert outputs["natIp"]
        analysis.end()
