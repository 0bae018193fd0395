"""What is deleted is what was agreed to: not what has its name by now, nor what has come since, nor what a client is at again."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from runner.commands.cleanup import CleanupSummary
from runner.journal.journal import SessionState
from runner.lease.keeper import LeaseEvents, LeaseKeeper, LeaseState, LeaseTerms
from runner.model import names
from runner.model.events import Listener
from tests.support.cloud_estate import BUCKET, LIMIT_S, ME, PROJECT, Estate, at, gone

SHORT_LEASE_S = 6.0
POLL_S = 0.05


@dataclass
class Meanwhile:
    """Somebody who thinks about a question; ``act`` happens meanwhile."""

    act: Callable[[], object]

    def listener(self) -> Listener:
        def agree(question: str) -> bool:
            self.act()
            return True

        return Listener(on_confirm=agree)

    def clean(self, estate: Estate, **request: Any) -> CleanupSummary:
        return estate.clean(self.listener(), **{"yes": False, **request})


def spared(summary: CleanupSummary) -> dict[str, str]:
    return {str(choice.item): choice.reason for choice in summary.report.spared}


def instances(estate: Estate) -> set[str]:
    return {vm.name for vm in estate.site.context().cloud.compute.instances({"app": names.APP})}


def test_what_has_the_name_by_now_is_something_else(estate: Estate) -> None:
    estate.vm("b1-0", ME, batch="b1", expires=at(-1))
    estate.vm("b1-1", ME, batch="b1", expires=at(-1))

    def make_anew() -> None:
        estate.site.delete_vm("b1-0")
        estate.vm("b1-0", ME, batch="b1", expires=at(-1))

    summary = Meanwhile(make_anew).clean(estate)
    assert gone(summary) == {"instance b1-1 in europe-west4-a"}
    assert [str(item) for item in summary.report.appeared] == ["instance b1-0 in europe-west4-a"]
    assert summary.exit_code == 8
    assert summary.stays == ["instance b1-0 in europe-west4-a: it appeared after you were asked"]
    assert instances(estate) == {"b1-0"}
    assert gone(estate.clean()) == {"instance b1-0 in europe-west4-a"}


def test_what_came_since_stays_and_what_knows_of_it(estate: Estate) -> None:
    estate.bucket(BUCKET, ME)
    estate.vm("b1-0", ME, batch="b1", expires=at(1))
    estate.lease("b1", 60)
    summary = Meanwhile(lambda: estate.vm("b1-1", ME, batch="b1", expires=at(1))).clean(estate, batch="b1")
    assert {str(one.item): one.is_gone for one in summary.report.removals} == {
        "instance b1-0 in europe-west4-a": True,
        f"control objects b1 in {BUCKET}": False,
    }
    assert [str(item) for item in summary.report.appeared] == ["instance b1-1 in europe-west4-a"]
    assert (summary.exit_code, summary.as_json()["stays"]) == (8, summary.stays)
    assert instances(estate) == {"b1-1"}
    assert estate.objects() == ["_control/b1/lease.json"]


@pytest.mark.parametrize("request_", [{}, {"batch": "b1"}, {"everything": True}])
def test_what_a_client_watches_since_is_spared(estate: Estate, request_: dict[str, Any]) -> None:
    estate.bucket(BUCKET, ME)
    estate.vm("b1-0", ME, batch="b1", expires=at(1))
    estate.vm("b2-0", ME, batch="b2", expires=at(-1))
    estate.lease("b1", 60)
    summary = Meanwhile(lambda: estate.lease("b1", -300)).clean(estate, **request_)
    assert spared(summary)["instance b1-0 in europe-west4-a"] == "you@there 7 watches it since"
    assert "b1-0" in instances(estate)
    assert "_control/b1/lease.json" in estate.objects()
    assert summary.exit_code == 8
    assert ("b2-0" in instances(estate)) is ("batch" in request_)


def test_a_dead_clients_lease_that_still_runs_spares_nothing(estate: Estate) -> None:
    estate.bucket(BUCKET, ME)
    estate.vm("b1-0", ME, batch="b1", expires=at(1))
    estate.put("_control/b1/batch.json", b"{}")
    estate.lease("b1", -300)
    summary = Meanwhile(lambda: None).clean(estate, batch="b1")
    assert gone(summary) == {
        f"lease b1 in {BUCKET}",
        "instance b1-0 in europe-west4-a",
        f"control objects b1 in {BUCKET}",
    }
    assert summary.exit_code == 0


def test_a_lease_that_is_renewed_since_goes_all_the_same(estate: Estate) -> None:
    estate.bucket(BUCKET, ME)
    estate.vm("b1-0", ME, batch="b1", expires=at(1))
    estate.put("_control/b1/batch.json", b"{}")
    estate.lease("b1", -300)
    summary = Meanwhile(lambda: estate.lease("b1", -599)).clean(estate, batch="b1")
    (first, *others) = summary.report.removals
    assert str(first.item) == f"lease b1 in {BUCKET}"
    assert [removal.item.kind.value for removal in others][-1] == "control objects"
    assert (estate.objects(), instances(estate)) == ([], set())
    assert (summary.exit_code, summary.stays) == (0, [])


def await_renewal(keeper: LeaseKeeper) -> None:
    before, limit = keeper.lease.renewed, time.monotonic() + LIMIT_S
    while keeper.lease.renewed == before:
        assert time.monotonic() < limit
        time.sleep(POLL_S)


def test_a_client_elsewhere_that_renews_its_lease_all_the_time_hears_of_the_end(estate: Estate) -> None:
    estate.bucket(BUCKET, ME)
    estate.vm("b1-0", ME, batch="b1", expires=at(1))
    estate.put("_control/b1/batch.json", b"{}")
    has_gone = threading.Event()
    terms = LeaseTerms(batch="b1", holder="you@there 7", holder_id="there", lease_s=SHORT_LEASE_S)
    keeper = LeaseKeeper(estate.site.context().cloud.results, terms, LeaseEvents(on_gone=has_gone.set))
    with keeper:
        summary = Meanwhile(lambda: await_renewal(keeper)).clean(estate, batch="b1")
        assert has_gone.wait(LIMIT_S)
    assert keeper.state is LeaseState.REMOVED
    assert (estate.objects(), instances(estate), summary.exit_code) == ([], set(), 0)


def test_a_renewed_lease_goes_also_where_there_is_nothing_else(estate: Estate) -> None:
    estate.bucket(BUCKET, ME)
    estate.lease("b1", -300)
    summary = Meanwhile(lambda: estate.lease("b1", -599)).clean(estate, batch="b1")
    assert (estate.objects(), summary.exit_code) == ([], 0)


def test_what_a_process_here_is_at_since_is_spared(estate: Estate) -> None:
    estate.vm("b1-0", ME, batch="b1", expires=at(-1))
    journal = estate.site.context().journal
    journal.begin("b1", "run", target="local", project=PROJECT).close()
    with contextlib.ExitStack() as stack:

        def go_on() -> SessionState:
            return stack.enter_context(journal.resume("b1"))

        summary = Meanwhile(go_on).clean(estate, batch="b1")
        assert "in use by" in spared(summary)["instance b1-0 in europe-west4-a"]
        assert (summary.report.removals, summary.exit_code) == ((), 8)
        session = journal.read("b1")
        assert session is not None and not session.has_ended
    assert gone(estate.clean(batch="b1")) == {"instance b1-0 in europe-west4-a"}


def test_results_that_came_since_stay_with_their_bucket(estate: Estate) -> None:
    estate.base()
    estate.put("b1/job/attempt-1/COMMITTED")
    estate.put("_control/b1/batch.json", b"{}")
    later = "b1/late/attempt-1/COMMITTED"
    summary = Meanwhile(lambda: estate.put(later)).clean(estate, everything=True, results=True)
    assert estate.objects() == [later]
    assert [str(item) for item in summary.report.appeared] == [f"results b1 in {BUCKET}"]
    assert f"bucket {BUCKET}" in summary.report.items_left
    assert summary.exit_code == 8
    assert estate.clean(everything=True, results=True).exit_code == 0
