"""Receipts against a real embedded cloud: what it says of each resource by name and by label, and what it does not say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.commands import receipt as command
from runner.errors import HpcError, InputError
from runner.model import names
from runner.model.journal_state import JournalState
from runner.model.leftover import SETTINGS_ONLY, Kind
from runner.model.receipt_items import ItemState
from runner.options.batches import Receipt
from runner.teardown.receipt import close_journal, closed_journal, write_receipt
from runner.vms.guard import Vm, VMGuard
from tests.support.command_site import CommandSite
from tests.support.journals import open_resources

PLAN = {"machine_type": "c2-standard-4", "price_usd_per_hour": 0.25, "max_run_s": 3600}


def begin(site: CommandSite, name: str, **facts: Any) -> Any:
    given = {"target": "local", "project": "local-project"} | facts
    state = site.context().journals.begin(name, "run", **given)
    state.record("plan", **PLAN)
    return state


def read(site: CommandSite, name: str) -> JournalState:
    journal = site.context().journals.read(name)
    assert journal is not None
    return journal


def run_one_vm(site: CommandSite, batch: str) -> None:
    """A batch of one VM, to its end."""
    zone = site.start_cloud().zone
    with begin(site, batch) as state:
        guard = VMGuard(site.context().with_journal(state), Vm(name=f"{batch}-0", zone=zone))
        with guard:
            site.insert_vm(f"{batch}-0", batch=batch)
            guard.created(f"{batch}-0")
            state.record("job", job="one", state="running", attempt=1, instance=f"{batch}-0")
            state.record("job", job="one", state="succeeded")
        state.end("completed")


def test_a_batch_that_left_nothing(site: CommandSite) -> None:
    run_one_vm(site, "clean")
    receipt = write_receipt(site.context(), read(site, "clean"))
    (item,) = receipt.items
    assert (item.state, receipt.exit_code, receipt.left_over, receipt.unknown) == (ItemState.GONE, 0, (), ())
    assert "404 notFound" in item.answer
    assert "delete operation-" in item.answer
    assert item.created is not None
    assert item.gone is not None
    assert 0 < item.seconds == receipt.vm_seconds
    stored = site.home / "local" / "receipts" / "clean.json"
    beside = site.home / "results" / "clean" / "_receipt.json"
    values = json.loads(stored.read_text())
    assert values == json.loads(beside.read_text())
    assert (values["outcome"], values["usd_at_most"], values["jobs"][0]["state"]) == ("completed", 0, "succeeded")
    for file in (stored, beside):
        assert "Nothing is left." in file.with_suffix(".html").read_text()


def test_verify_reports_a_vm_that_came_back(site: CommandSite) -> None:
    run_one_vm(site, "back")
    context = site.context()
    first = command.execute(context, Receipt(batch="back", verify=True))
    assert first.exit_code == 0
    site.insert_vm("back-0", batch="back")
    again = command.execute(context, Receipt(batch="back", verify=True))
    assert again.exit_code == 8
    assert again.values["left_over"][0] == f"instance back-0 in {site.start_cloud().zone}"
    assert "Still there" in again.page.read_text()
    site.delete_vm("back-0")
    assert command.execute(context, Receipt(batch="back", verify=True)).exit_code == 0


def test_verify_finds_by_label_what_the_journal_never_knew(site: CommandSite) -> None:
    run_one_vm(site, "stray")
    site.insert_vm("other-name", batch="stray")
    site.insert_vm("not-ours", batch="another")
    view = command.execute(site.context(), Receipt(batch="stray", verify=True))
    assert (view.exit_code, view.values["left_over"]) == (8, [f"instance other-name in {site.start_cloud().zone}"])
    site.delete_vm("other-name")
    site.delete_vm("not-ours")


def test_closing_journals_what_is_gone_and_ends_the_journal_only_if_all_is(site: CommandSite) -> None:
    zone = site.insert_vm("closing-0", batch="closing")
    with begin(site, "closing") as state:
        state.intend("instance", "closing-0", zone)
        state.intend("instance", "closing-1", zone)
        assert close_journal(site.context().with_journal(state), "completed").exit_code == 8
        journal = state.read()
        assert (journal.has_ended, [item.name for item in open_resources(journal)]) == (False, ["closing-0"])
        site.delete_vm("closing-0")
        receipt = close_journal(site.context().with_journal(state), "completed")
        assert (receipt.exit_code, receipt.journal.outcome) == (0, "completed")
        assert [item.state for item in receipt.items] == [ItemState.GONE, ItemState.NEVER_CREATED]
        assert open_resources(state.read()) == ()
        assert "404 notFound" in state.read().gone[0].answers
    view = command.execute(site.context(), Receipt(batch="closing"))
    assert (view.values["ended"] is not None, view.values["left_over"]) == (True, [])


def test_an_exception_closes_the_journal_and_is_not_hidden(site: CommandSite) -> None:
    state = begin(site, "broken")
    (site.home / "results").mkdir(exist_ok=True)
    (site.home / "results" / "broken").write_text("a file where the folder should be")
    with (
        pytest.raises(ValueError, match="first"),
        state,
        closed_journal(site.context().with_journal(state)),
    ):
        raise ValueError("first")
    journal = read(site, "broken")
    assert (journal.has_ended, journal.outcome) == (True, "first")
    assert "receipt cannot be written" in site.events("warning")[0]["message"]


def test_a_journal_is_not_ended_by_a_cloud_that_cannot_be_asked(site: CommandSite) -> None:
    zone = site.start_cloud().zone
    with begin(site, "dumb") as state:
        state.intend("instance", "dumb-0", zone)
        site.arm(kind="http", match="GET /compute/.*dumb-0", status=403, reason="forbidden", message="no")
        assert close_journal(site.context().with_journal(state), "completed").exit_code == 4
        assert not state.read().has_ended


def test_a_resource_that_was_intended_but_never_created(site: CommandSite) -> None:
    zone = site.start_cloud().zone
    with begin(site, "never") as state:
        state.intend("stack", "never", "analysis")
        state.intend("instance", "never-0", zone)
        state.end("the zone was full")
    receipt = write_receipt(site.context(), read(site, "never"))
    assert [item.state for item in receipt.items] == [ItemState.GONE, ItemState.NEVER_CREATED]
    assert (receipt.exit_code, receipt.vm_seconds) == (0, 0)


def test_a_stack_that_is_only_a_settings_file_is_not_left_over(site: CommandSite) -> None:
    with begin(site, "refused-up") as state:
        state.intend("stack", "refused-up", "analysis")
        state.end("taken over by somebody@there (process 2)")
    settings = site.home / "local" / "engine" / "analysis" / "Pulumi.refused-up.yaml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text("config:\n  opensees-hpc:owner: you\n")
    (item,) = site.context().cloud.inventory.find([Kind.STACK], names.labels_of_batch("refused-up")).items
    assert item.state == SETTINGS_ONLY, "the file is where stacks' settings are"
    receipt = write_receipt(site.context(), read(site, "refused-up"))
    assert [(item.state, item.answer) for item in receipt.items] == [(ItemState.GONE, "no such stack")]
    assert receipt.exit_code == 0


def test_a_cloud_that_refuses_proves_nothing(site: CommandSite) -> None:
    run_one_vm(site, "refused")
    site.arm(kind="http", match="GET /compute/.*refused-0", status=403, reason="forbidden", message="no", times=10)
    view = command.execute(site.context(), Receipt(batch="refused", verify=True))
    assert view.exit_code == 4
    assert "could not be asked" in view.values["items"][0]["answer"]
    assert "Not proven gone" in view.page.read_text()


def test_without_verify_no_cloud_is_asked(fresh_site: CommandSite) -> None:
    with begin(fresh_site, "b") as state:
        state.intend("instance", "b-0", "europe-west4-a")
        state.record("gone", kind="instance", name="b-0", zone="europe-west4-a", answer="404")
        state.end("completed")
    view = command.execute(fresh_site.context(), Receipt(batch="b"))
    assert (view.exit_code, view.values["asked"], view.values["items"][0]["state"]) == (0, None, "gone")
    assert not fresh_site.is_cloud_running


def test_unknown_names_are_reported_with_the_known_ones(fresh_site: CommandSite) -> None:
    with pytest.raises(InputError) as caught:
        command.execute(fresh_site.context(), Receipt(batch="b"))
    assert "none yet" in caught.value.remedy
    begin(fresh_site, "other").close()
    with pytest.raises(InputError) as caught:
        command.execute(fresh_site.context(), Receipt(batch="b", verify=True))
    assert "other" in caught.value.remedy
    with pytest.raises(InputError):
        command.execute(fresh_site.context(), Receipt(batch="../b"))


def test_another_project_is_not_asked(fresh_site: CommandSite) -> None:
    begin(fresh_site, "b", project="another-project").close()
    with pytest.raises(InputError, match="another-project") as caught:
        command.execute(fresh_site.context(), Receipt(batch="b", verify=True))
    assert "OPENSEES_HPC_PROJECT=another-project" in caught.value.remedy
    assert not fresh_site.is_cloud_running


def test_a_receipt_that_cannot_be_written_is_reported(site: CommandSite) -> None:
    begin(site, "unwritable").close()
    (site.home / "results").mkdir(exist_ok=True)
    (site.home / "results" / "unwritable").write_text("a file where the folder should be")
    with pytest.raises(HpcError, match="receipt cannot be written"):
        write_receipt(site.context(), read(site, "unwritable"))


def test_a_corrupt_receipt_is_rebuilt_from_the_journal(fresh_site: CommandSite) -> None:
    begin(fresh_site, "b").close()
    file: Path = fresh_site.home / "local" / "receipts" / "b.json"
    file.parent.mkdir(parents=True)
    file.write_text("{torn")
    assert command.execute(fresh_site.context(), Receipt(batch="b")).values["name"] == "b"
