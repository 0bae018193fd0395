"""``invoke receipt`` as a user types it."""

from __future__ import annotations

import json

from runner.journal.journal import Journals
from tests.e2e.site import Site

ZONE = "europe-west4-a"


def leave_batch(site: Site) -> None:
    """Write the journal of a batch that has ended."""
    journal = Journals(folder=site.home / "local" / "journal")
    with journal.begin("b", "run", target="local", project="local-project") as state:
        state.record("plan", machine_type="c2-standard-4", price_usd_per_hour=0.22, max_run_s=1800)
        state.intend("instance", "b-0", ZONE)
        state.record("created", kind="instance", name="b-0", zone=ZONE)
        state.record("gone", kind="instance", name="b-0", zone=ZONE, answer="404 notFound")
        state.end("completed")


def test_shown_then_proven(fresh_site: Site) -> None:
    leave_batch(fresh_site)
    shown = fresh_site.invoke("receipt", "b", "--json")
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["asked"] is None
    as_text = fresh_site.invoke("receipt", "b")
    assert "from the journal alone" in as_text.stdout
    proven = fresh_site.invoke("receipt", "b", "--verify")
    assert proven.returncode == 0, proven.stderr
    assert "nothing is left, as the cloud reported" in proven.stdout
    assert json.loads(fresh_site.invoke("receipt", "b", "--json").stdout)["left_over"] == []


def test_an_unknown_batch_is_a_sentence(fresh_site: Site) -> None:
    done = fresh_site.invoke("receipt", "nothing")
    assert done.returncode == 2
    assert "no journal of nothing" in done.stderr
    assert "Traceback" not in done.stderr
