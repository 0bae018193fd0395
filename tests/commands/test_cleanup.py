"""``invoke cleanup``: what is taken and what is not, on a real embedded cloud, without any journal of how it was created."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runner.commands import cleanup
from runner.errors import DeclinedError, InputError
from runner.journal.owner import describe_this_process
from runner.model import names
from runner.model.events import Listener
from runner.options.batches import Cleanup
from tests.support.cloud_inventory import BOB, BUCKET, ME, PROJECT, Inventory, at, gone
from tests.support.command_site import CommandSite


def test_an_empty_project(inventory: Inventory) -> None:
    requests: tuple[dict[str, Any], ...] = ({}, {"everything": True}, {"everything": True, "results": True})
    for request in requests:
        summary = inventory.clean(**request)
        assert (summary.exit_code, summary.report.removals, summary.kept) == (0, (), ())


def know_by_vm(inventory: Inventory) -> None:
    inventory.vm("frames-1-0", ME, batch="frames-1", expires=at(1))


def know_by_results(inventory: Inventory) -> None:
    inventory.bucket(BUCKET, ME)
    inventory.put("frames-1/job/attempt-1/COMMITTED")


def know_by_definition(inventory: Inventory) -> None:
    inventory.bucket(BUCKET, ME)
    inventory.put("_control/frames-1/batch.json", b"{}")


def know_by_stack(inventory: Inventory) -> None:
    settings = inventory.site.home / "local" / "engine" / "analysis" / "Pulumi.frames-1.yaml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text("config: {}\n")


def know_by_journal(inventory: Inventory) -> None:
    with inventory.site.context().journals.begin("frames-1", "run") as state:
        state.end("completed")


@pytest.mark.parametrize(
    "know", [know_by_vm, know_by_results, know_by_definition, know_by_stack, know_by_journal], ids=lambda f: f.__name__
)
def test_an_unknown_batch_is_an_input_error(inventory: Inventory, know: Callable[[Inventory], None]) -> None:
    with pytest.raises(InputError, match="no batch frames-1") as caught:
        inventory.clean(batch="frames-1")
    assert caught.value.remedy == "`invoke status` shows what exists"
    know(inventory)
    for request in ({"batch": "frame-1"}, {"batch": "frame-1", "dry_run": True}):
        with pytest.raises(InputError) as caught:
            inventory.clean(**request)
        assert caught.value.remedy == "did you mean frames-1?"
    with pytest.raises(InputError) as caught:
        inventory.clean(bake="frames-1")
    assert caught.value.remedy == "frames-1 is a batch: --batch frames-1"
    assert inventory.clean(batch="frames-1").exit_code == 0


def test_a_batch_is_not_called_unknown_if_something_cannot_be_read(inventory: Inventory) -> None:
    fault = {"kind": "http", "match": "GET .*/aggregated/addresses", "status": 403, "times": None}
    inventory.site.arm(**fault, reason="forbidden", message="no right to look")
    assert inventory.clean(batch="frames-1").exit_code == 8


def test_a_batch_of_every_kind(inventory: Inventory) -> None:
    inventory.bucket(BUCKET, ME)
    inventory.vm("b1-0", ME, batch="b1", expires=at(1))
    inventory.disk("b1-data", ME, batch="b1")
    inventory.address("b1-address", ME, batch="b1")
    inventory.address("b1-global", ME, batch="b1", is_global=True)
    inventory.vm("b2-0", ME, batch="b2", expires=at(1))
    inventory.unlabelled_vm("foreign")
    for name in ("_control/b1/batch.json", "_control/b1/inputs/j.tar.gz", "b1/job/attempt-1/COMMITTED", "b2/j/x"):
        inventory.put(name, b"{}")
    summary = inventory.clean(batch="b1")
    assert gone(summary) == {
        "instance b1-0 in europe-west4-a",
        "disk b1-data in europe-west4-a",
        "address b1-address in europe-west4",
        "address b1-global",
        f"control objects b1 in {BUCKET}",
    }
    assert inventory.objects() == ["b1/job/attempt-1/COMMITTED", "b2/j/x"]
    assert (summary.exit_code, inventory.clean(batch="b1").report.removals) == (0, ())
    assert gone(inventory.clean(batch="b1", results=True)) == {f"results b1 in {BUCKET}"}
    assert inventory.objects() == ["b2/j/x"]
    instances = {vm.name for vm in inventory.site.context().cloud.compute.instances({"app": "opensees-hpc"})}
    assert instances == {"b2-0"}


def test_a_bake_and_its_unfinished_image(inventory: Inventory) -> None:
    inventory.vm("bake-1-builder", ME, bake="bake-1", expires=at(1))
    inventory.image("opensees-hpc-half", ME, bake="bake-1")
    inventory.image("opensees-hpc-whole", ME, bake="bake-1", recipe="wheels")
    account = {"accountId": "bake-account", "serviceAccount": {"description": "app=opensees-hpc owner=you bake=bake-1"}}
    inventory.ask("POST", f"/iam/v1/projects/{PROJECT}/serviceAccounts", account)
    summary = inventory.clean(bake="bake-1")
    assert {
        "instance bake-1-builder in europe-west4-a",
        "image opensees-hpc-half",
        f"service account bake-account@{PROJECT}.iam.gserviceaccount.com",
    } <= gone(summary)
    assert [(str(choice.item), choice.reason) for choice in summary.kept] == [
        ("image opensees-hpc-whole", "a validated image is kept")
    ]


def test_without_a_scope_only_expired_resources(inventory: Inventory) -> None:
    inventory.bucket(BUCKET, ME)
    inventory.vm("old-0", ME, batch="old", expires=at(-1))
    inventory.vm("new-0", ME, batch="new", expires=at(1))
    inventory.vm("watched-0", ME, batch="watched", expires=at(-1))
    inventory.image("opensees-hpc-half", ME, bake="bake-dead")
    inventory.lease("dead", 3 * 86400)
    inventory.lease("watched", -600)
    inventory.put("_control/damaged/lease.json", b"\xff not JSON")
    assert gone(inventory.clean()) >= {
        "instance old-0 in europe-west4-a",
        "image opensees-hpc-half",
        f"control objects dead in {BUCKET}",
    }
    assert inventory.objects() == ["_control/damaged/lease.json", "_control/watched/lease.json"]
    left = inventory.site.context().cloud.compute.instances({"app": "opensees-hpc"})
    assert {vm.name for vm in left} == {"new-0", "watched-0"}


def test_our_expired_keys(inventory: Inventory) -> None:
    users = "/oslogin/v1/users/you@example.com"
    soon = str(int((time.time() + 100) * 1e6))
    blob = "AAAAC3NzaC1lZDI1NTE5AAAAI" + "B" * 43
    for text, expiry in (("C", soon), ("D", ""), ("E", soon)):
        comment = "me@home" if text == "E" else "opensees-hpc"
        body = {"key": f"ssh-ed25519 {blob.replace('B', text)} {comment}"}
        inventory.ask("POST", f"{users}:importSshPublicKey", body | ({"expirationTimeUsec": expiry} if expiry else {}))
    assert gone(inventory.clean()) == set()
    inventory.ask("POST", "/_local/clock", {"advance_s": 200})
    fresh = CommandSite(home=inventory.site.home)
    late = fresh.context()
    moved = cleanup.execute(
        # The cloud's clock was moved, ours is not: the context's is what the sweep goes by.
        type(late)(**{**vars(late), "now": lambda: datetime.now(UTC) + timedelta(seconds=300)}),
        Cleanup(yes=True),
    )
    assert len(gone(moved)) == 1
    left = inventory.ask("GET", f"{users}/loginProfile")["sshPublicKeys"].values()
    assert sorted(key["key"].split()[1][-1] for key in left) == ["D", "E"]


def test_everything_but_the_base_or_with_it(inventory: Inventory) -> None:
    inventory.base()
    inventory.vm("b1-0", ME, batch="b1", expires=at(1))
    inventory.put("_control/b1/batch.json", b"{}")
    inventory.put("b1/job/attempt-1/x")
    kept = {choice.item.kind.value for choice in inventory.clean(everything=True).kept}
    assert kept == {
        *("results", "bucket", "firewall", "router", "subnetwork", "network", "IAM grant", "service account"),
        "custom role",
    }
    assert inventory.objects() == ["b1/job/attempt-1/x"]
    assert {item.partition(" ")[0] for item in gone(inventory.clean(everything=True, results=True))} == {
        *("results", "bucket", "firewall", "router", "subnetwork", "network", "IAM", "service", "custom")
    }
    networks = inventory.ask("GET", f"{inventory.compute}/global/networks")["items"]
    assert [network["name"] for network in networks] == ["default"]
    assert inventory.clean(everything=True, results=True).report.removals == ()


def test_the_role_of_the_base_is_known_by_its_title_too(inventory: Inventory) -> None:
    for role_id, title in (("other", names.SELF_DELETE_ROLE_TITLE), ("foreign", "delete everything")):
        body = {"roleId": role_id, "role": {"title": title, "includedPermissions": ["compute.instances.delete"]}}
        inventory.ask("POST", f"/iam/v1/projects/{PROJECT}/roles", body)
    assert gone(inventory.clean(everything=True)) == {"custom role other"}
    roles = inventory.ask("GET", f"/iam/v1/projects/{PROJECT}/roles")["roles"]
    assert [role["name"].rsplit("/", 1)[-1] for role in roles] == ["foreign"]


def test_the_grant_of_the_base_is_taken_out_of_a_policy_that_others_change_too(inventory: Inventory) -> None:
    inventory.base()
    inventory.bind("roles/compute.viewer", "theirs")
    inventory.ask("DELETE", f"/storage/v1/b/{BUCKET}")
    stale = {"kind": "http", "match": ":setIamPolicy", "status": 409, "reason": "aborted", "times": 2}
    inventory.ask("POST", "/_local/faults", stale)
    assert f"IAM grant {names.SELF_DELETE_ROLE_ID}" in gone(inventory.clean(everything=True))
    assert [one["condition"]["title"] for one in inventory.policy()["bindings"]] == ["theirs"]


def test_a_base_that_was_half_removed_is_removed_to_the_end(inventory: Inventory) -> None:
    inventory.base()
    inventory.ask("DELETE", f"/storage/v1/b/{BUCKET}")
    summary = inventory.clean(everything=True)
    assert {item.partition(" ")[0] for item in gone(summary)} == {
        *("firewall", "router", "subnetwork", "network", "IAM", "service", "custom")
    }


def test_two_owners_in_one_project(inventory: Inventory) -> None:
    inventory.base()
    inventory.vm("mine-0", ME, batch="mine", expires=at(-1))
    inventory.vm("his-0", BOB, batch="his", expires=at(-1))
    inventory.put("_control/his/batch.json", b'{"owner": "bob"}')
    inventory.put("his/job/attempt-1/x")
    for request in ({}, {"batch": "his", "results": True}, {"everything": True, "results": True}):
        summary = inventory.clean(**request)
        assert not any("his" in item for item in gone(summary))
        assert any("belongs to bob" in choice.reason for choice in summary.kept)
        assert summary.exit_code == (8 if "batch" in request else 0)
        assert all("belongs to bob" in text for text in summary.stays)
    assert inventory.objects() == ["_control/his/batch.json", "his/job/attempt-1/x"]
    assert {"instance his-0 in europe-west4-a", f"control objects his in {BUCKET}"} <= gone(
        inventory.clean(batch="his", owner="any")
    )
    assert gone(inventory.clean(batch="his", owner="any", results=True)) == {f"results his in {BUCKET}"}


def test_resources_without_the_label_stay_in_any_scope(inventory: Inventory) -> None:
    inventory.unlabelled_vm("foreign")
    inventory.bucket("another-bucket", {"app": "something-else"})
    body = {"name": "theirs", "network": f"projects/{PROJECT}/global/networks/default"}
    inventory.ask("POST", f"{inventory.compute}/global/firewalls", {**body, "allowed": [{"IPProtocol": "tcp"}]})
    inventory.site.context().journals.begin("b1", "run").close()
    before = inventory.dump_without_bucket()
    for request in ({}, {"batch": "b1"}, {"everything": True, "results": True, "owner": "any"}):
        assert inventory.clean(**request).report.removals == ()
    assert inventory.dump_without_bucket() == before


def test_a_dry_run_shows_the_same_list_and_changes_nothing(inventory: Inventory) -> None:
    inventory.base()
    inventory.vm("b1-0", ME, batch="b1", expires=at(-1))
    inventory.vm("his-0", BOB, batch="his", expires=at(-1))
    inventory.address("b1-address", ME, batch="b1")
    inventory.put("_control/b1/batch.json", b"{}")
    request: dict[str, Any] = {"everything": True, "results": True}
    inventory.clean(**request, dry_run=True)  # policies are created at the first look, as Google's etags are
    before, dry_site = inventory.dump(), CommandSite(home=inventory.site.home)
    dry = inventory.clean(dry_site.listener, **request, dry_run=True)
    assert inventory.dump() == before
    assert (dry.exit_code, dry_site.events("sweep")) == (0, [])
    real_site = CommandSite(home=inventory.site.home)
    inventory.clean(real_site.listener, **request)
    assert dry_site.events("found") == real_site.events("found")
    assert {values["state"] for values in dry.as_json()["items"]} == {"would be deleted"}


def test_errors_do_not_stop_the_sweep(inventory: Inventory) -> None:
    for index in range(3):
        inventory.vm(f"b1-{index}", ME, batch="b1", expires=at(1))
    inventory.address("b1-address", ME, batch="b1")
    message = "Required 'compute.instances.delete' permission for 'b1-1'"
    fault = {"kind": "http", "match": "DELETE .*instances/b1-1", "status": 403, "times": None, "reason": "forbidden"}
    inventory.site.arm(**fault, message=message)
    summary = inventory.clean(batch="b1")
    results = {removal.item.name: removal for removal in summary.report.removals if removal.item.kind.value != "disk"}
    assert {name: removal.is_gone for name, removal in results.items()} == {
        "b1-0": True,
        "b1-1": False,
        "b1-2": True,
        "b1-address": True,
    }
    assert message in results["b1-1"].answer
    assert (summary.exit_code, summary.report.items_left) == (
        8,
        ["instance b1-1 in europe-west4-a"],
    )


def test_a_kind_that_cannot_be_read_is_reported_and_the_others_are_deleted(inventory: Inventory) -> None:
    inventory.vm("b1-0", ME, batch="b1", expires=at(1))
    fault = {"kind": "http", "match": "GET .*/aggregated/addresses", "status": 403, "times": None}
    inventory.site.arm(**fault, reason="forbidden", message="no right to look")
    summary = inventory.clean(batch="b1")
    assert "instance b1-0 in europe-west4-a" in gone(summary)
    assert summary.exit_code == 8
    assert "no right to look" in summary.report.items_left[0]


def test_a_lost_operation_and_a_dropped_connection_do_not_matter(inventory: Inventory) -> None:
    inventory.vm("b1-0", ME, batch="b1", expires=at(1))
    inventory.site.arm(kind="lost_operation", match="delete .*b1-0")
    inventory.site.arm(kind="drop", match="DELETE .*b1-0")
    inventory.site.arm(kind="http", match="aggregated", status=503, times=2)
    summary = inventory.clean(batch="b1")
    answers = {removal.item.kind.value: removal.answer for removal in summary.report.removals}
    assert "the record of the operation was lost" in answers["instance"]
    assert summary.exit_code == 0


def test_it_is_asked_before_anything_is_deleted(inventory: Inventory) -> None:
    inventory.vm("b1-0", ME, batch="b1", expires=at(-1))
    asked: list[str] = []

    def refuse(question: str) -> bool:
        asked.append(question)
        return False

    with pytest.raises(DeclinedError):
        inventory.clean(Listener(on_confirm=refuse), yes=False)
    assert asked == ["Delete this resource?"]
    assert len(inventory.site.context().cloud.compute.instances(ME)) == 1
    assert inventory.clean(Listener(on_confirm=lambda question: True), yes=False).exit_code == 0


def test_expired_resources_are_shown_first(inventory: Inventory) -> None:
    inventory.disk("a-new", ME, batch="new", expires=at(1))
    inventory.address("z-old", ME, batch="old", expires=at(-1))
    site = CommandSite(home=inventory.site.home)
    inventory.clean(site.listener, everything=True, dry_run=True)
    assert [(fact["what"], fact["has_expired"]) for fact in site.events("found")] == [
        ("address z-old in europe-west4", True),
        ("disk a-new in europe-west4-a", False),
    ]


def test_a_batch_that_a_living_client_runs_is_refused(inventory: Inventory) -> None:
    context = inventory.site.context()
    inventory.base()
    inventory.vm("busy-0", ME, batch="busy", expires=at(-1))
    with context.journals.begin("busy", "run", target="local", project=PROJECT):
        with pytest.raises(InputError, match="busy is being run by"):
            inventory.clean(batch="busy")
        summary = inventory.clean(everything=True, results=True)
        assert all("in use by " in choice.reason for choice in summary.kept)
        assert (summary.exit_code, len(summary.stays)) == (8, len(summary.kept))
        assert {"network opensees-hpc", f"bucket {BUCKET}"} <= {str(choice.item) for choice in summary.kept}
        assert summary.report.removals == ()
    assert "instance busy-0 in europe-west4-a" in gone(inventory.clean(batch="busy"))


def test_everything_spares_what_a_client_on_another_computer_uses(inventory: Inventory) -> None:
    inventory.base()
    for batch in ("alive", "alone"):
        inventory.vm(f"{batch}-0", ME, batch=batch, expires=at(1))
    inventory.lease("alive", -300)
    inventory.lease("alone", -300, detached=True)
    summary = inventory.clean(everything=True, results=True)
    assert "instance alone-0 in europe-west4-a" in gone(summary)
    assert (
        "instance alive-0 in europe-west4-a: you@there 7 is watching it; --batch alive removes it anyway"
        in summary.stays
    )
    assert any(
        text.startswith(f"bucket {BUCKET}: kept: needed by alive, in use by you@there 7") for text in summary.stays
    )
    assert summary.exit_code == 8
    assert "instance alive-0 in europe-west4-a" in gone(inventory.clean(batch="alive"))
    assert inventory.clean(everything=True, results=True).exit_code == 0


def test_everything_takes_the_resources_of_a_client_that_is_known_to_be_gone(inventory: Inventory) -> None:
    inventory.base()
    inventory.vm("b1-0", ME, batch="b1", expires=at(1))
    journals = inventory.site.context().journals
    gone_client = replace(describe_this_process(), pid=2**22 + 1)
    with journals.begin("b1", "run", target="local", project=PROJECT):
        pass
    file = journals.folder / "b1.jsonl"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"owner": asdict(gone_client)}) + "\n")
    inventory.lease("b1", -300, holder=str(gone_client), holder_id=gone_client.identity)
    summary = inventory.clean(everything=True)
    assert "instance b1-0 in europe-west4-a" in gone(summary)
    assert summary.exit_code == 0


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"batch": "b1", "everything": True}, "exclude each other"),
        ({"results": True}, "needs --batch"),
        ({"batch": "../x"}, "not the name"),
        ({"bake": "Bake"}, "not the name"),
    ],
)
def test_contradictory_requests_are_refused(fresh_site: CommandSite, request_: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        cleanup.execute(fresh_site.context(), Cleanup(**request_))
    assert not fresh_site.is_cloud_running
