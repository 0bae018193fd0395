"""``invoke cleanup``: what is taken and what is not, on a real embedded cloud, without any memory of how things came about."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from runner.commands import cleanup
from runner.commands.cleanup import CleanupRequest, CleanupSummary
from runner.commands.events import Listener
from runner.errors import DeclinedError, InputError
from runner.model import names
from tests.commands.site import CommandSite
from tests.emulator.conftest import ROCKY

PROJECT = "local-project"
LIMIT_S = 60.0
ME, BOB = {"app": "opensees-hpc", "owner": "you"}, {"app": "opensees-hpc", "owner": "bob"}
BUCKET = names.bucket_name(PROJECT)


def at(hours: float) -> str:
    return names.expires_label(datetime.now(UTC) + timedelta(hours=hours))


@dataclass(kw_only=True)
class Estate:
    """An embedded cloud into which a test puts what it needs."""

    site: CommandSite

    @property
    def url(self) -> str:
        return self.site.start_cloud().url

    @property
    def owner(self) -> dict[str, str]:
        """The headers of the cloud's owner."""
        return self.site.start_cloud().headers

    @property
    def compute(self) -> str:
        return f"/compute/v1/projects/{PROJECT}"

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        answer = requests.request(method, f"{self.url}{path}", json=body, headers=self.owner, timeout=LIMIT_S, **more)
        assert answer.status_code < 300, answer.text
        values = answer.json() if answer.content else {}
        if values.get("kind") == "compute#operation" and values["status"] != "DONE":
            return self.ask("POST", values["selfLink"].replace("https://www.googleapis.com", "") + "/wait")
        assert values.get("error") is None, values
        return values

    def vm(self, name: str, labels: dict[str, str], **more: str) -> None:
        self.site.insert_vm(name, **{**labels, **more})

    def unlabelled_vm(self, name: str) -> None:
        self.site.insert_vm(name, app="something-else", batch="b1", owner="you", expires=at(-1))

    def disk(self, name: str, labels: dict[str, str], **more: str) -> None:
        body = {"name": name, "sizeGb": "10", "labels": {**labels, **more}}
        self.ask("POST", f"{self.compute}/zones/europe-west4-a/disks", body)

    def address(self, name: str, labels: dict[str, str], *, is_global: bool = False, **more: str) -> None:
        place = "global" if is_global else "regions/europe-west4"
        self.ask("POST", f"{self.compute}/{place}/addresses", {"name": name, "labels": {**labels, **more}})

    def image(self, name: str, labels: dict[str, str], **more: str) -> None:
        disk = f"source-{name}"
        body = {"name": disk, "sizeGb": "50", "sourceImage": ROCKY}
        self.ask("POST", f"{self.compute}/zones/europe-west4-a/disks", body)
        source = f"projects/{PROJECT}/zones/europe-west4-a/disks/{disk}"
        image = {"name": name, "family": "opensees-hpc", "sourceDisk": source, "labels": {**labels, **more}}
        self.ask("POST", f"{self.compute}/global/images", image)
        self.ask("DELETE", f"{self.compute}/zones/europe-west4-a/disks/{disk}")

    def bucket(self, name: str, labels: dict[str, str]) -> None:
        self.ask("POST", f"/storage/v1/b?project={PROJECT}", {"name": name, "labels": labels})

    def put(self, name: str, content: bytes = b"x") -> None:
        url = f"{self.url}/upload/storage/v1/b/{BUCKET}/o?uploadType=media"
        answer = requests.post(url, params={"name": name}, data=content, headers=self.owner, timeout=LIMIT_S)
        assert answer.status_code == 200

    def objects(self) -> list[str]:
        return [item["name"] for item in self.ask("GET", f"/storage/v1/b/{BUCKET}/o").get("items", [])]

    def base(self) -> None:
        """The parts of the base, as the stack makes them."""
        network = f"projects/{PROJECT}/global/networks/{names.NETWORK}"
        self.bucket(BUCKET, ME)
        self.ask("POST", f"{self.compute}/global/networks", {"name": names.NETWORK, "autoCreateSubnetworks": False})
        rule = {"name": names.SSH_FIREWALL, "network": network, "allowed": [{"IPProtocol": "tcp", "ports": ["22"]}]}
        self.ask("POST", f"{self.compute}/global/firewalls", rule)
        subnet = {"name": names.SUBNETWORK, "network": network, "ipCidrRange": "10.80.0.0/20"}
        self.ask("POST", f"{self.compute}/regions/europe-west4/subnetworks", subnet)
        router = {"name": names.NETWORK, "network": network}
        self.ask("POST", f"{self.compute}/regions/europe-west4/routers", router)
        self.ask("POST", f"/iam/v1/projects/{PROJECT}/serviceAccounts", {"accountId": names.SERVICE_ACCOUNT_ID})
        role = {"roleId": names.SELF_DELETE_ROLE_ID, "role": {"includedPermissions": ["compute.instances.delete"]}}
        self.ask("POST", f"/iam/v1/projects/{PROJECT}/roles", role)

    def clean(self, listener: Listener | None = None, **request: Any) -> CleanupSummary:
        given = CleanupRequest(**{"yes": True, **request})
        return cleanup.execute(self.site.context(), given, listener or self.site.listener)

    def dump(self) -> list[tuple[str, str]]:
        """Everything that the cloud knows, and the names of all objects."""
        return [*self.dump_without_bucket(), *((name, "object") for name in self.objects())]

    def dump_without_bucket(self) -> list[tuple[str, str]]:
        """The same where there is no results bucket."""
        database = sqlite3.connect(f"file:{self.site.cloud_folder / 'cloud.sqlite'}?mode=ro", uri=True)
        try:
            return database.execute("SELECT key, doc FROM docs ORDER BY key").fetchall()
        finally:
            database.close()


def gone(summary: CleanupSummary) -> set[str]:
    assert all(removal.is_gone for removal in summary.report.removals)
    return {str(removal.item) for removal in summary.report.removals}


@pytest.fixture
def estate(cloud_home: Path) -> Iterator[Estate]:
    """An empty cloud."""
    made = Estate(site=CommandSite(home=cloud_home))
    yield made
    made.ask("POST", "/_local/reset")
    for folder in ("engine", "stacks", "journal"):
        for file in (cloud_home / "local" / folder).rglob("*"):
            if file.is_file():
                file.unlink()


def test_nothing_is_there(estate: Estate) -> None:
    for request in ({}, {"everything": True, "results": True}, {"batch": "b1"}, {"bake": "bake-1"}):
        summary = estate.clean(**request)
        assert (summary.exit_code, summary.report.removals, summary.kept) == (0, (), ())


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
    long_ago, now = time.time() - 3 * 86400, time.time()
    estate.put("_control/dead/lease.json", json.dumps({"expires": long_ago}).encode())
    estate.put("_control/watched/lease.json", json.dumps({"expires": now + 600}).encode())
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
        CleanupRequest(yes=True),
        fresh.listener,
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
        *("results", "bucket", "firewall", "router", "subnetwork", "network", "service account", "custom role")
    }
    assert estate.objects() == ["b1/job/attempt-1/x"]
    assert {item.partition(" ")[0] for item in gone(estate.clean(everything=True, results=True))} == {
        *("results", "bucket", "firewall", "router", "subnetwork", "network", "service", "custom")
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


def test_a_base_that_was_half_removed_is_removed_to_the_end(estate: Estate) -> None:
    estate.base()
    estate.ask("DELETE", f"/storage/v1/b/{BUCKET}")
    summary = estate.clean(everything=True)
    assert {item.partition(" ")[0] for item in gone(summary)} == {
        *("firewall", "router", "subnetwork", "network", "service", "custom")
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
        assert summary.exit_code == 0
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
    assert asked == ["Delete this one thing?"]
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
        with pytest.raises(InputError, match="is at busy"):
            estate.clean(batch="busy")
        summary = estate.clean(everything=True, results=True)
        assert all("is at " in choice.reason for choice in summary.kept)
        assert {"network opensees-hpc", f"bucket {BUCKET}"} <= {str(choice.item) for choice in summary.kept}
        assert summary.report.removals == ()
    assert "instance busy-0 in europe-west4-a" in gone(estate.clean(batch="busy"))


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
    assert "done at" in vm.answer


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
        cleanup.execute(fresh_site.context(), CleanupRequest(**request_), fresh_site.listener)
    assert not fresh_site.is_cloud_running
