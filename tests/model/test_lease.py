"""What a lease means."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runner.model.lease import Lease, LeaseSight, new_lease, parse_lease, see_lease

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def make_lease(**changes: Any) -> Lease:
    return Lease(**{**vars(new_lease("b1", "you@here 1", NOW, 600)), **changes})


def test_it_is_written_and_read() -> None:
    lease = make_lease(detached=True, deadlines={"a": 60.0})
    assert parse_lease(lease.as_json()) == lease
    values = json.loads(lease.as_json())
    assert set(values) == {
        *("format", "batch", "renewed", "expires", "detached", "deadlines", "holder", "holder_id"),
    }
    assert values["expires"] == NOW.timestamp() + 600


def _changed(key: str, value: str) -> bytes:
    """A good lease with something else in one place."""
    return json.dumps({**json.loads(make_lease().as_json()), key: "PLACE"}).replace('"PLACE"', value).encode()


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"[]", b"{}", b'{"format": 2}', b'{"format": 1, "batch": "b"}', b"null"),
        *(b"[" * 1500 + b"]" * 1500, b"{" + b'"a":{' * 5000, b"\xff\xfe"),
        *(_changed("expires", text) for text in ("1e999", "-1e999", "NaN", "true", "9" * 400, '"1"', "1e12")),
        *(
            _changed("renewed", text)
            for text in ("1e999", '"0001-01-01T00:00:00"', '"9999-12-31T23:59:59-23:59"', '"x"')
        ),
        *(_changed("deadlines", text) for text in ("[1]", '{"a": 1e999}', '{"a": -1}', '{"a": {}}')),
        _changed("holder", "[]"),
    ],
)
def test_what_is_no_lease_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        parse_lease(content)


def test_a_renewal_counts_from_now() -> None:
    later = NOW + timedelta(seconds=200)
    assert make_lease().renew(later, 600).expires == later.timestamp() + 600


def test_a_restatement_leaves_the_lease_its_length_whatever_time_it_is_elsewhere() -> None:
    restated = make_lease().restate(deadlines={"a": 1.0})
    assert (restated.renewed, restated.expires) == (NOW, NOW.timestamp() + 600)
    assert dict(restated.deadlines) == {"a": 1.0}


@pytest.mark.parametrize("changes", [{"detached": True}, {"holder": ""}])
def test_a_restatement_of_what_nobody_renews_does_not_prolong_it(changes: dict[str, Any]) -> None:
    assert make_lease(**changes).restate(deadlines={"a": 1.0}).expires == NOW.timestamp()


def test_it_is_watched_by_a_holder_until_it_runs_out() -> None:
    assert make_lease().is_watched(NOW)
    assert not make_lease().is_watched(NOW + timedelta(seconds=601))
    assert not make_lease(detached=True).is_watched(NOW)
    assert not make_lease(holder="").is_watched(NOW)


@pytest.mark.parametrize("expires", ["1e999", "-1", "NaN", "1e300"])
def test_an_end_that_is_no_time_is_refused(expires: str) -> None:
    values = json.loads(make_lease().as_json()) | {"expires": "END"}
    with pytest.raises(ValueError, match="corrupt"):
        parse_lease(json.dumps(values).replace('"END"', expires).encode())


def test_it_is_over_by_its_age_whatever_the_clocks_of_clients_say() -> None:
    """The server's clock is an hour before that of the holder."""
    written = NOW - timedelta(hours=1)
    for age_s, left_s in ((0, 600), (599, 1), (700, -100)):
        sight = see_lease(make_lease(), updated=written, served=written + timedelta(seconds=age_s))
        assert (sight.left_s, sight.is_over) == (left_s, left_s <= 0)


def test_it_is_over_at_the_end_that_its_holder_wrote() -> None:
    an_hour_later = NOW + timedelta(hours=1)
    assert see_lease(make_lease(), updated=an_hour_later, served=an_hour_later).left_s == -3000


def test_jobs_of_a_detached_batch_may_run_to_their_deadlines() -> None:
    deadlines = {"a": 60.0, "b": 900.0}
    for changes, jobs_left_s in (
        ({"deadlines": deadlines}, -100),
        ({"deadlines": deadlines, "detached": True}, 800),
        ({"detached": True}, math.inf),
    ):
        assert LeaseSight(lease=make_lease(**changes), left_s=-100).jobs_left_s == jobs_left_s
