"""What ``invoke cleanup`` says to the journals: a session ends when nothing of it is left that costs, and not before."""

from __future__ import annotations

from typing import Any

import pytest

from runner.model.session import Session
from tests.support.cloud_estate import BOB, BUCKET, ME, PROJECT, Estate, at, gone


def leave(estate: Estate, name: str = "b1", *, project: str = PROJECT) -> None:
    """The journal of a batch whose client is gone."""
    with estate.site.context().journal.begin(name, "run", target="local", project=project) as state:
        state.intend("instance", f"{name}-0", "europe-west4-a")


def read(estate: Estate, name: str = "b1") -> Session:
    session = estate.site.context().journal.read(name)
    assert session is not None
    return session


def test_the_journal_of_a_dead_batch_is_ended(estate: Estate) -> None:
    context = estate.site.context()
    with context.journal.begin("dead", "run", target="local", project=PROJECT) as state:
        state.intend("instance", "dead-0", "europe-west4-a")
        estate.vm("dead-0", ME, batch="dead", expires=at(1))
    estate.clean(batch="dead")
    session = context.journal.read("dead")
    assert session is not None
    assert (session.has_ended, session.outcome) == (True, "cleaned up")
    (vm,) = [one for one in session.resources if one.name == "dead-0" and one.kind == "instance"]
    assert vm.gone is not None
    assert "done at" in " ".join(vm.answers)


def test_one_of_which_a_vm_stays_is_still_open(estate: Estate) -> None:
    estate.bucket(BUCKET, ME)
    leave(estate)
    for name in ("b1-0", "b1-1"):
        estate.vm(name, ME, batch="b1", expires=at(9))
    estate.lease("b1", 60, detached=True, deadlines={"a": 7200.0})
    estate.switch_off("b1-0")
    assert "instance b1-0 in europe-west4-a" in gone(estate.clean())
    assert not read(estate).has_ended
    assert "instance b1-1 in europe-west4-a" in gone(estate.clean(batch="b1"))
    assert read(estate).outcome == "cleaned up"


def test_one_of_which_a_vm_stays_that_was_not_even_spoken_of_is_still_open(estate: Estate) -> None:
    leave(estate)
    estate.vm("b1-0", ME, batch="b1", expires=at(-1))
    estate.vm("b1-1", ME, batch="b1", expires=at(9))
    summary = estate.clean()
    assert (gone(summary), summary.kept) == ({"instance b1-0 in europe-west4-a"}, ())
    assert not read(estate).has_ended


@pytest.mark.parametrize("request_", [{"batch": "b1"}, {"bake": "b1"}], ids=["batch", "bake"])
def test_one_whose_things_are_another_owners_is_still_open(estate: Estate, request_: dict[str, Any]) -> None:
    leave(estate)
    (label,) = request_
    estate.vm("b1-0", BOB, **{label: "b1"}, expires=at(9))
    summary = estate.clean(**request_)
    assert (summary.exit_code, summary.report.removals) == (8, ())
    assert summary.stays == ["instance b1-0 in europe-west4-a: it belongs to bob; --owner any takes it too"]
    assert not read(estate).has_ended
    assert estate.clean(**request_, owner="any").exit_code == 0
    assert read(estate).has_ended


def test_one_of_another_project_is_not_spoken_of(estate: Estate) -> None:
    leave(estate, project="another-project")
    estate.clean(batch="b1")
    assert not read(estate).has_ended
