"""A batch that has lost its client here, and that another one runs: reported as such, and its end is not offered."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta

from runner.cli.text_screen import TextScreen
from runner.journal.owner import describe_this_process
from runner.model.events import Event
from runner.recovery.report import report_abandoned_batches
from tests.batch.clients.client import Client

ELSEWHERE = "somebody@there 2"


def leave(client: Client) -> None:
    """Leave a journal whose client is gone, with something that was created."""
    client.define("a")
    with client.context.journals.begin(client.batch.name, "run", project="local-project") as state:
        state.intend("stack", client.batch.name, "analysis")


def shown(event: Event) -> str:
    with redirect_stdout(io.StringIO()) as out:
        TextScreen(yes=False, ask=lambda question: False).show_event(event)
    return out.getvalue()


def test_cleanup_is_not_offered_for_a_batch_that_another_client_runs(client: Client) -> None:
    leave(client)
    client.write_lease(ELSEWHERE)
    (abandoned,) = report_abandoned_batches(client.context)
    assert (abandoned.watched_by, abandoned.trouble) == (ELSEWHERE, "")
    assert abandoned.offers == (f"invoke attach --batch {client.batch.name} --take-over",)
    (event,) = client.reported
    assert event.as_json()["watched_by"] == ELSEWHERE
    text = shown(event)
    assert f"is being run by {ELSEWHERE}" in text
    assert "cleanup" not in text


def test_cleanup_is_offered_for_a_batch_that_no_client_runs(client: Client) -> None:
    leave(client)
    here = describe_this_process()
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    for lease in (
        {"holder": str(here), "holder_id": here.identity},
        {"holder": ELSEWHERE, "detached": True},
        {"holder": ELSEWHERE, "renewed": an_hour_ago, "expires": an_hour_ago.timestamp() + 600},
    ):
        client.write_lease(**lease)
        (abandoned,) = report_abandoned_batches(client.context)
        assert (abandoned.watched_by, abandoned.trouble) == ("", "")
        name = client.batch.name
        assert abandoned.offers == (f"invoke attach --batch {name}", f"invoke cleanup --batch {name}")
        assert "cleanup" in shown(client.reported[-1])
