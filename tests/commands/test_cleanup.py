"""``invoke cleanup``: what is taken and what is not, on a real embedded cloud, without any memory of how things came about."""

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
from tests.support.cloud_estate import BOB, BUCKET, ME, PROJECT, Estate, at, gone
from tests.support.command_site import CommandSite


def test_nothing_is_there(estate: Estate) -> None:
    requests: tuple[dict[str, Any], ...] = ({}, {"everything": True}, {"everything": True, "results": True})
    for request in requests:
        summary = estate.clean(**request)
        assert (summary.exit_code, summary.report.removals, summary.kept) == (0, (), ())


def know_by_vm(estate: Estate) -> None:
    estate.vm("frames-1-0", ME, batch="frames-1", expires=at(1))


def know_by_results(estate: Estate) -> None:
    estate.bucket(BUCKET, ME)
    estate.put("frames-1/job/attempt-1/COMMITTED")


def know_by_definition(estate: Estate) -> None:
    estate.bucket(BUCKET, ME)
    estate.put("_control/frames-1/batch.json", b"{}")


def know_by_stack(estate: Estate) -> None:
    settings = estate.site.home / "local" / "engine" / "analysis" / "Pulumi.frames-1.yaml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text("config: {}\n")


def know_by_journal(estate: Estate) -> None:
    with estate.site.context().journal.begin("frames-1", "run") as state:
        state.end("completed")


@pytest.mark.parametrize(
    "know", [know_by_vm, know_by_results, know_by_definition, know_by_stack, know_by_journal], ids=lambda f: f.__name__
)
def test_a_batch_that_nothing_knows_is_a_mistake(estate: Estate, know: Callable[[Estate], None]) -> None:
    with pytest.raises(InputError, match="there is no batch frames-1") as caught:
        estate.clean(batch="frames-1")
    assert caught.value.remedy == "`invoke status` shows what exists"
    know(estate)
    for request in ({"batch": "frame-1"}, {"batch": "frame-1", "dry_run": True}):
        with pytest.raises(InputError) as caught:
            estate.clean(**request)
        assert caught.value.remedy == "did you mean frames-1?"
    with pytest.raises(InputError) as caught:
        estate.clean(bake="frames-1")
    assert caught.value.remedy == "frames-1 is a batch: --batch frames-1"
    assert estate.clean(batch="frames-1").exit_code == 0


def test_where_something_cannot_be_looked_at_nobody_says_that_there_is_no_such_batch(estate: Estate) -> None:
    fault = {"kind": "http", "match": "GET .*/aggregated/addresses", "status": 403, "times": None}
    estate.site.arm(**fault, reason="forbidden", message="no right to look")
    assert estate.clean(batch="frames-1").exit_code == 8


def test_a_batch_of_every_kind(estate: Estate) -> None:
    estate.bucket(BUCKET, ME)
    estate.vm("b1-0", ME, batch="b1", expires=at(1))
    estate.disk("b1-data", ME, batch="b1")
    estate.address("b1-address", ME, batch="b1")
    estate.address("b1-global", ME, batch="b1", is_global=True)
    estate.vm("b2-0", ME, batch="b2", expires=at(1))
    estate.unlabelled_vm("foreign")
    for name in ("_control/b1/batch.json", "_control/b1/inputs/j.tar.gz", "b1/job/attempt-1/COMMITTED", "b2/j/x"):
        estate.put(name, b"{}")
    summary = estate.clean(batch="b1")
    assert gone(summary) == {
        "instance b1-0 in europe-west4-a",
        "disk b1-data in europe-west4-a",
        "address b1-address in europe-west4",
        "address b1-global",
        f"control objects b1 in {BUCKET}",
    }
    assert estate.objects() == ["b1/job/attempt-1/COMMITTED", "b2/j/x"]
    assert (summary.exit_code, estate.clean(batch="b1").report.removals) == (0, ())
    assert gone(estate.clean(batch="b1", results=True)) == {f"results b1 in {BUCKET}"}
    assert estate.objects() == ["b2/j/x"]
    instances = {vm.name for vm in estate.site.context().cloud.compute.instances({"app": "opensees-hpc"})}
    assert instances == {"b2-0"}


def test_a_bake_and_its_half_made_image(estate: Estate) -> None:
    estate.vm("bake-1-builder", ME, bake="bake-1", expires=at(1))
    estate.image("opensees-hpc-half", ME, bake="bake-1")
    estate.image("opensees-hpc-whole", ME, bake="bake-1", recipe="wheels")
    account = {"accountId": "bake-account", "serviceAccount": {"description": "app=opensees-hpc owner=you bake=bake-1"}}
    estate.ask("POST", f"/iam/v1/projects/{PROJECT}/serviceAccounts", account)
    summary = estate.clean(bake="bake-1")
    assert {
        "instance bake-1-builder in europe-west4-a",
        "image opensees-hpc-half",
        f"service account bake-account@{PROJECT}.iam.gserviceaccount.com",
    } <= gone(summary)
    assert [(str(choice.item), choice.reason) for choice in summary.kept] == [
        ("image opensees-hpc-whole", "a validated image is kept")
    ]


def test_without_a_scope_only_what_has_outlived_its_purpose(estate: Estate) -> None:
    estate.bucket(BUCKET, ME)
    estate.vm("old-0", ME, batch="old", expires=at(-1))
    estate.vm("new-0", ME, batch="new", expires=at(1))
    estate.vm("watched-0", ME, batch="watched", expires=at(-1))
    estate.image("opensees-hpc-half", ME, bake="bake-dead")
    estate.lease("dead", 3 * 86400)
    estate.lease("watched", -600)
    estate.put("_control/damaged/lease.json", b"\xff not JSON")
    assert gone(estate.clean()) >= {
        "instance old-0 in europe-west4-a",
        "image opensees-hpc-half",
        f"control objects dead in {BUCKET}",
    }
    assert estate.objects() == ["_control/damaged/lease.json", "_control/watched/lease.json"]
    left = estate.site.context().cloud.compute.instances({"app": "opensees-hpc"})
    assert {vm.name for vm in left} == {"new-0", "watched-0"}


def test_keys_of_ours_that_have_ended(estate: Estate) -> None:
    users = "/oslogin/v1/users/you@example.com"
    soon = str(int((time.time() + 100) * 1e6))
    blob = "AAAAC3NzaC1lZDI1NTE5AAAAI" + "B" * 43
    for text, expiry in (("C", soon), ("D", ""), ("E", soon)):
        comment = "me@home" if text == "E" else "opensees-hpc"
        body = {"key": f"ssh-ed25519 {blob.replace('B', text)} {comment}"}
        estate.ask("POST", f"{users}:importSshPublicKey", body | ({"expirationTimeUsec": expiry} if expiry else {}))
    assert gone(estate.clean()) == set()
    estate.ask("POST", "/_local/clock", {"advance_s": 200})
    fresh = CommandSite(home=estate.site.home)
    late = fresh.context()
    moved = cleanup.execute(
        # The cloud's clock was moved, ours is not: the context's is what the sweep goes by.
        type(late)(**{**vars(late), "now": lambda: datetime.now(UTC) + timedelta(seconds=300)}),
        Cleanup(yes=True),
    )
    assert len(gone(moved)) == 1
    left = estate.ask("GET", f"{users}/loginProfile")["sshPublicKeys"].values()
    assert sorted(key["key"].split()[1][-1] for key in left) == ["D", "E"]


def test_everything_but_the_base_or_with_it(estate: Estate) -> None:
    estate.base()
    estate.vm("b1-0", ME, batch="b1", expires=at(1))
    estate.put("_control/b1/batch.json", b"{}")
    estate.put("b1/job/attempt-1/x")
    kept = {choice.item.kind.value for choice in estate.clean(everything=True).kept}
    assert kept == {
        *("results", "bucket", "firewall", "router", "subnetwork", "network", "IAM grant", "service account"),
        "custom role",
    }
    assert estate.objects() == ["b1/job/attempt-1/x"]
    assert {item.partition(" ")[0] for item in gone(estate.clean(everything=True, results=True))} == {
        *("results", "bucket", "firewall", "router", "subnetwork", "network", "IAM", "service", "custom")
    }
    networks = estate.ask("GET", f"{estate.compute}/global/networks")["items"]
    assert [network["name"] for network in networks] == ["default"]
    assert estate.clean(everything=True, results=True).report.removals == ()


def test_the_role_of_the_base_is_known_by_its_title_too(estate: Estate) -> None:
    for role_id, title in (("other", names.SELF_DELETE_ROLE_TITLE), ("foreign", "delete everything")):
        body = {"roleId": role_id, "role": {"title": title, "includedPermissions": ["compute.instances.delete"]}}
        estate.ask("POST", f"/iam/v1/projects/{PROJECT}/roles", body)
    assert gone(estate.clean(everything=True)) == {"custom role other"}
    roles = estate.ask("GET", f"/iam/v1/projects/{PROJECT}/roles")["roles"]
    assert [role["name"].rsplit("/", 1)[-1] for role in roles] == ["foreign"]


def test_the_grant_of_the_base_is_taken_out_of_a_policy_that_others_change_too(estate: Estate) -> None:
    estate.base()
    estate.bind("roles/compute.viewer", "theirs")
    estate.ask("DELETE", f"/storage/v1/b/{BUCKET}")
    stale = {"kind": "http", "match": ":setIamPolicy", "status": 409, "reason": "aborted", "times": 2}
    estate.ask("POST", "/_local/faults", stale)
    assert f"IAM grant {names.SELF_DELETE_ROLE_ID}" in gone(estate.clean(everything=True))
    assert [one["condition"]["title"] for one in estate.policy()["bindings"]] == ["theirs"]


def test_a_base_that_was_half_removed_is_removed_to_the_end(estate: Estate) -> None:
    estate.base()
    estate.ask("DELETE", f"/storage/v1/b/{BUCKET}")
    summary = estate.clean(everything=True)
    assert {item.partition(" ")[0] for item in gone(summary)} == {
        *("firewall", "router", "subnetwork", "network", "IAM", "service", "custom")
    }


def test_two_owners_in_one_project(estate: Estate) -> None:
    estate.base()
    estate.vm("mine-0", ME, batch="mine", expires=at(-1))
    estate.vm("his-0", BOB, batch="his", expires=at(-1))
    estate.put("_control/his/batch.json", b'{"owner": "bob"}')
    estate.put("his/job/attempt-1/x")
    for request in ({}, {"batch": "his", "results": True}, {"everything": True, "results": True}):
        summary = estate.clean(**request)
        assert not any("his" in item for item in gone(summary))
        assert any("belongs to bob" in choice.reason for choice in summary.kept)
        assert summary.exit_code == (8 if "batch" in request else 0)
        assert all("belongs to bob" in text for text in summary.stays)
    assert estate.objects() == ["_control/his/batch.json", "his/job/attempt-1/x"]
    assert {"instance his-0 in europe-west4-a", f"control objects his in {BUCKET}"} <= gone(
        estate.clean(batch="his", owner="any")
    )
    assert gone(estate.clean(batch="his", owner="any", results=True)) == {f"results his in {BUCKET}"}


def test_what_lacks_the_label_stays_whatever_is_asked(estate: Estate) -> None:
    estate.unlabelled_vm("foreign")
    estate.bucket("another-bucket", {"app": "something-else"})
    body = {"name": "theirs", "network": f"projects/{PROJECT}/global/networks/default"}
    estate.ask("POST", f"{estate.compute}/global/firewalls", {**body, "allowed": [{"IPProtocol": "tcp"}]})
    estate.site.context().journal.begin("b1", "run").close()
    before = estate.dump_without_bucket()
    for request in ({}, {"batch": "b1"}, {"everything": True, "results": True, "owner": "any"}):
        assert estate.clean(**request).report.removals == ()
    assert estate.dump_without_bucket() == before


def test_a_dry_run_shows_the_same_list_and_changes_nothing(estate: Estate) -> None:
    estate.base()
    estate.vm("b1-0", ME, batch="b1", expires=at(-1))
    estate.vm("his-0", BOB, batch="his", expires=at(-1))
    estate.address("b1-address", ME, batch="b1")
    estate.put("_control/b1/batch.json", b"{}")
    request: dict[str, Any] = {"everything": True, "results": True}
    estate.clean(**request, dry_run=True)  # policies are made at the first look, as Google's etags are
    before, dry_site = estate.dump(), CommandSite(home=estate.site.home)
    dry = estate.clean(dry_site.listener, **request, dry_run=True)
    assert estate.dump() == before
    assert (dry.exit_code, dry_site.events("sweep")) == (0, [])
    real_site = CommandSite(home=estate.site.home)
    estate.clean(real_site.listener, **request)
    assert dry_site.events("found") == real_site.events("found")
    assert {values["state"] for values in dry.as_json()["items"]} == {"would be deleted"}


def test_errors_do_not_stop_the_sweep(estate: Estate) -> None:
    for index in range(3):
        estate.vm(f"b1-{index}", ME, batch="b1", expires=at(1))
    estate.address("b1-address", ME, batch="b1")
    message = "Required 'compute.instances.delete' permission for 'b1-1'"
    fault = {"kind": "http", "match": "DELETE .*instances/b1-1", "status": 403, "times": None, "reason": "forbidden"}
    estate.site.arm(**fault, message=message)
    summary = estate.clean(batch="b1")
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


def test_a_kind_that_cannot_be_read_is_told_and_the_others_go_on(estate: Estate) -> None:
    estate.vm("b1-0", ME, batch="b1", expires=at(1))
    fault = {"kind": "http", "match": "GET .*/aggregated/addresses", "status": 403, "times": None}
    estate.site.arm(**fault, reason="forbidden", message="no right to look")
    summary = estate.clean(batch="b1")
    assert "instance b1-0 in europe-west4-a" in gone(summary)
    assert summary.exit_code == 8
    assert "no right to look" in summary.report.items_left[0]


def test_a_lost_operation_and_a_dropped_connection_do_not_matter(estate: Estate) -> None:
    estate.vm("b1-0", ME, batch="b1", expires=at(1))
    estate.site.arm(kind="lost_operation", match="delete .*b1-0")
    estate.site.arm(kind="drop", match="DELETE .*b1-0")
    estate.site.arm(kind="http", match="aggregated", status=503, times=2)
    summary = estate.clean(batch="b1")
    answers = {removal.item.kind.value: removal.answer for removal in summary.report.removals}
    assert "the record of the operation was lost" in answers["instance"]
    assert summary.exit_code == 0


def test_it_is_asked_before_anything_is_deleted(estate: Estate) -> None:
    estate.vm("b1-0", ME, batch="b1", expires=at(-1))
    asked: list[str] = []

    def refuse(question: str) -> bool:
        asked.append(question)
        return False

    with pytest.raises(DeclinedError):
        estate.clean(Listener(on_confirm=refuse), yes=False)
    assert asked == ["Delete this resource?"]
    assert len(estate.site.context().cloud.compute.instances(ME)) == 1
    assert estate.clean(Listener(on_confirm=lambda question: True), yes=False).exit_code == 0


def test_expired_things_are_shown_first(estate: Estate) -> None:
    estate.disk("a-new", ME, batch="new", expires=at(1))
    estate.address("z-old", ME, batch="old", expires=at(-1))
    site = CommandSite(home=estate.site.home)
    estate.clean(site.listener, everything=True, dry_run=True)
    assert [(fact["what"], fact["has_expired"]) for fact in site.events("found")] == [
        ("address z-old in europe-west4", True),
        ("disk a-new in europe-west4-a", False),
    ]


def test_a_batch_that_somebody_runs_is_left_to_them(estate: Estate) -> None:
    context = estate.site.context()
    estate.base()
    estate.vm("busy-0", ME, batch="busy", expires=at(-1))
    with context.journal.begin("busy", "run", target="local", project=PROJECT):
        with pytest.raises(InputError, match="busy is being run by"):
            estate.clean(batch="busy")
        summary = estate.clean(everything=True, results=True)
        assert all("in use by " in choice.reason for choice in summary.kept)
        assert (summary.exit_code, len(summary.stays)) == (8, len(summary.kept))
        assert {"network opensees-hpc", f"bucket {BUCKET}"} <= {str(choice.item) for choice in summary.kept}
        assert summary.report.removals == ()
    assert "instance busy-0 in europe-west4-a" in gone(estate.clean(batch="busy"))


def test_everything_leaves_a_client_on_another_machine_what_it_is_at(estate: Estate) -> None:
    estate.base()
    for batch in ("alive", "alone"):
        estate.vm(f"{batch}-0", ME, batch=batch, expires=at(1))
    estate.lease("alive", -300)
    estate.lease("alone", -300, detached=True)
    summary = estate.clean(everything=True, results=True)
    assert "instance alone-0 in europe-west4-a" in gone(summary)
    assert (
        "instance alive-0 in europe-west4-a: you@there 7 watches it; --batch alive removes it all the same"
        in summary.stays
    )
    assert any(
        text.startswith(f"bucket {BUCKET}: kept: needed by alive, in use by you@there 7") for text in summary.stays
    )
    assert summary.exit_code == 8
    assert "instance alive-0 in europe-west4-a" in gone(estate.clean(batch="alive"))
    assert estate.clean(everything=True, results=True).exit_code == 0


def test_everything_takes_what_a_client_has_that_is_known_to_be_gone(estate: Estate) -> None:
    estate.base()
    estate.vm("b1-0", ME, batch="b1", expires=at(1))
    journal = estate.site.context().journal
    gone_client = replace(describe_this_process(), pid=2**22 + 1)
    with journal.begin("b1", "run", target="local", project=PROJECT):
        pass
    file = journal.folder / "b1.jsonl"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"owner": asdict(gone_client)}) + "\n")
    estate.lease("b1", -300, holder=str(gone_client), holder_id=gone_client.identity)
    summary = estate.clean(everything=True)
    assert "instance b1-0 in europe-west4-a" in gone(summary)
    assert summary.exit_code == 0


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        ({"batch": "b1", "everything": True}, "exclude each other"),
        ({"results": True}, "goes with"),
        ({"batch": "../x"}, "not the name"),
        ({"bake": "Bake"}, "not the name"),
    ],
)
def test_requests_that_make_no_sense(fresh_site: CommandSite, request_: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        cleanup.execute(fresh_site.context(), Cleanup(**request_))
    assert not fresh_site.is_cloud_running
