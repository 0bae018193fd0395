"""The state that records describe: resources and jobs, even if records are missing, newer, cut off or corrupt."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.model.journal_record import Record, decode_records, encode_record, is_end, parse_time
from runner.model.journal_state import JournalState, read_journal_state, read_owner
from runner.system.line_file import last_line
from tests.support.journals import open_resources

BEGUN = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
OWNER = {
    "user": "ada",
    "host": "desk",
    "pid": 7,
    "process_started": 12.5,
    "boot_id": "boot-1",
    "machine_id": "machine-1",
}


def make_records(*written: tuple[str, dict[str, Any]]) -> list[Record]:
    """Records, a minute apart."""
    return [Record(kind=kind, at=BEGUN + timedelta(minutes=n), facts=facts) for n, (kind, facts) in enumerate(written)]


def vm(name: str, zone: str = "z-a", **facts: Any) -> dict[str, Any]:
    return {"kind": "instance", "name": name, "zone": zone, **facts}


def whole_story() -> list[Record]:
    return make_records(
        ("begin", {"format": 1, "session": "run", "name": "b", "owner": OWNER, "target": "google"}),
        ("plan", {"machine_type": "c2-standard-4", "price_usd_per_hour": 0.25, "zones": ["z-a"]}),
        ("intend", vm("b-0", machine_type="c2-standard-4")),
        ("intend", vm("b-1")),
        ("created", vm("b-0")),
        ("job", {"job": "one", "state": "running", "attempt": 1}),
        ("failed", vm("b-1", answer="ZONE_RESOURCE_POOL_EXHAUSTED")),
        ("job", {"job": "one", "state": "succeeded", "exit_code": 0}),
        ("gone", vm("b-0", answer="404 notFound")),
        ("gone", vm("b-0", answer="404 again")),
        ("end", {"outcome": "all jobs succeeded"}),
    )


def read(records: list[Record]) -> JournalState:
    return read_journal_state("b", records)


def test_a_whole_story() -> None:
    journal = read(whole_story())
    assert (journal.kind, journal.format, journal.started) == ("run", 1, BEGUN)
    assert (journal.has_ended, journal.outcome) == (True, "all jobs succeeded")
    assert (journal.facts["target"], journal.plan["price_usd_per_hour"]) == ("google", 0.25)
    assert str(journal.owner) == "ada@desk (process 7)"
    first, second = journal.resources
    assert (first.name, first.created, first.gone, *first.answers) == (
        "b-0",
        BEGUN + timedelta(minutes=4),
        BEGUN + timedelta(minutes=8),
        "404 notFound",
    )
    assert first.facts["machine_type"] == "c2-standard-4"
    assert (second.created, second.has_failed, second.gone is None) == (None, True, False)
    assert open_resources(journal) == ()
    (job,) = journal.jobs
    assert (job.state, [state for state, _ in job.states]) == ("succeeded", ["running", "succeeded"])
    assert job.facts == {"attempt": 1, "exit_code": 0}


def test_vms_have_answered_on_which_jobs_were_begun() -> None:
    job = {"job": "one", "state": "running", "instance": "b-0"}
    assert read(make_records(("created", vm("b-1")), ("job", job), ("job", {"job": "two"}))).answered == {"b-0"}


def test_a_name_that_is_used_again_is_another_resource() -> None:
    journal = read(
        make_records(("intend", vm("b-0")), ("gone", vm("b-0")), ("intend", vm("b-0")), ("created", vm("b-0")))
    )
    assert [item.gone is None for item in journal.resources] == [False, True]
    assert len(open_resources(journal)) == 1


def test_the_same_name_in_two_zones_is_two_resources() -> None:
    journal = read(make_records(("intend", vm("b-0", "z-a")), ("intend", vm("b-0", "z-b")), ("gone", vm("b-0", "z-a"))))
    assert [(item.zone, item.gone is None) for item in journal.resources] == [("z-a", False), ("z-b", True)]


def test_a_zone_that_is_not_known_yet_is_learned() -> None:
    journal = read(make_records(("intend", vm("b-0", "")), ("created", vm("b-0", "z-b")), ("gone", vm("b-0"))))
    assert [item.zone for item in journal.resources] == ["z-b", "z-a"]
    assert journal.resources[0].gone is None


def test_a_resource_that_was_not_announced_is_known_too() -> None:
    journal = read(make_records(("created", vm("stray"))))
    assert (journal.intended, [item.name for item in journal.created]) == ((), ["stray"])
    assert open_resources(journal) == journal.created


def test_what_is_meant_to_stay_is_not_open() -> None:
    image = {"kind": "images", "name": "opensees-hpc-1", "keep": True}
    assert open_resources(read(make_records(("intend", image), ("created", image)))) == ()


def test_a_new_owner_opens_an_ended_journal_again() -> None:
    records = whole_story()
    again = Record(kind="owner", at=BEGUN + timedelta(days=1), facts={"owner": OWNER | {"pid": 8}})
    journal = read([*records, again])
    assert (journal.has_ended, journal.owner and journal.owner.pid) == (False, 8)


def test_detaching_is_distinguished_from_dying() -> None:
    records = make_records(("begin", {"session": "run", "owner": OWNER}), ("detached", {}))
    assert read(records).is_detached
    assert not read([*records, *make_records(("owner", {"owner": OWNER}))]).is_detached


def test_kinds_that_are_not_known_are_kept_and_passed_over() -> None:
    begin = {"format": 2, "session": "run", "name": "b", "owner": OWNER}
    records = make_records(("begin", begin), ("teleported", {"job": "one"}), ("intend", vm("b-0", colour="red")))
    journal = read(records)
    assert [record.kind for record in journal.records] == ["begin", "teleported", "intend"]
    assert [item.name for item in open_resources(journal)] == ["b-0"]
    assert "newer version" in journal.troubles[0]


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"kind": 3, "name": "b-0"},
        {"kind": "instance"},
        {"kind": "instance", "name": None},
        {"kind": ["x"], "name": {}},
    ],
)
@pytest.mark.parametrize("kind", ["intend", "gone", "job", "begin", "owner", "plan", "end"])
def test_facts_of_the_wrong_shape_are_no_facts(kind: str, facts: dict[str, Any]) -> None:
    journal = read(make_records((kind, facts)))
    assert journal.resources == ()
    assert journal.jobs == ()


@pytest.mark.parametrize("key", sorted(OWNER))
def test_an_owner_is_whole_or_not_there(key: str) -> None:
    assert read_owner(OWNER) is not None
    assert read_owner({k: v for k, v in OWNER.items() if k != key}) is None
    assert read_owner(OWNER | {key: []}) is None


def test_a_copied_disk_is_another_computer() -> None:
    mine, copied = read_owner(OWNER), read_owner(OWNER | {"machine_id": "machine-2"})
    other_host = read_owner(OWNER | {"host": "laptop"})
    rebooted = read_owner(OWNER | {"boot_id": "boot-2", "pid": 9})
    assert mine and copied and other_host and rebooted
    assert mine.is_on_computer_of(rebooted)
    assert not mine.is_on_computer_of(copied)
    assert not mine.is_on_computer_of(other_host)


STORY = b"".join(encode_record(record) for record in whole_story())


@given(at=st.integers(0, len(STORY)))
def test_a_journal_that_is_cut_anywhere_has_no_more_than_was_written(at: int) -> None:
    records, troubles = decode_records(STORY[:at])
    whole = decode_records(STORY)[0]
    assert records == whole[: len(records)]
    assert len(records) >= STORY[:at].count(b"\n")
    assert bool(troubles) == (at > 0 and STORY[at - 1 : at] != b"\n" and len(records) == STORY[:at].count(b"\n"))
    journal = read_journal_state("b", records, troubles)
    assert len(journal.resources) <= 2


@given(at=st.integers(0, len(STORY) - 1), byte=st.integers(0, 255))
def test_a_damaged_byte_is_never_more_than_a_line(at: int, byte: int) -> None:
    content = STORY[:at] + bytes([byte]) + STORY[at + 1 :]
    records, troubles = decode_records(content)
    assert len(records) >= STORY.count(b"\n") - 2
    read_journal_state("b", records, troubles)


@given(content=st.binary(max_size=400))
def test_anything_can_be_read(content: bytes) -> None:
    read_journal_state("b", *decode_records(content))
    is_end(last_line(content))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
    )
)
def test_any_json_can_be_read(values: Any) -> None:
    line = json.dumps({"record": "intend", "at": BEGUN.isoformat(), "kind": values, "name": values, "facts": values})
    read_journal_state("b", *decode_records(line.encode()))
    read_journal_state("b", *decode_records(json.dumps(values).encode()))


def test_deep_nesting_is_a_line_that_cannot_be_read() -> None:
    records, troubles = decode_records(b"[" * 200_000)
    assert (records, len(troubles)) == ((), 1)


def test_a_record_is_one_line_whatever_is_in_it() -> None:
    record = Record(kind="job", at=BEGUN, facts={"job": "a\nb\udcff", "message": "ünï\u2028", "when": BEGUN})
    line = encode_record(record)
    assert (line.count(b"\n"), line.isascii()) == (1, True)
    (back,), troubles = decode_records(line)
    assert (back.facts["job"], back.facts["message"], troubles) == ("a\nb\udcff", "ünï\u2028", ())


def test_a_fact_cannot_take_the_name_of_what_every_record_has() -> None:
    with pytest.raises(ValueError, match="at"):
        encode_record(Record(kind="job", at=BEGUN, facts={"at": 1}))


def test_times_without_a_zone_are_not_taken() -> None:
    assert parse_time("2026-11-22T10:00:00") is None
    assert parse_time("2026-11-22T11:00:00+01:00") == BEGUN
    assert parse_time("0001-01-01T00:00:00+23:00") is None


def test_the_end_is_seen_from_the_last_line() -> None:
    assert is_end(last_line(STORY))
    assert not is_end(last_line(STORY[:-2]))
    assert not is_end(last_line(b""))
