"""Every command that reaches the cloud reports an abandoned batch, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.journal.journal import Journals
from tests.e2e.site import Site, read_events

NAME = "left"
BAKE = "bake-20261122-100000"


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Yield a site with a batch and a bake whose clients are gone."""
    site = Site(home=tmp_path_factory.mktemp("home"))
    journal = Journals(folder=site.home / "local" / "journal")
    with journal.begin(NAME, "run", project="local-project") as state:
        state.intend("instance", f"{NAME}-0", "europe-west4-a")
    yield site
    site.close()


@pytest.mark.parametrize("words", [("status",), ("results",)], ids=" ".join)
def test_abandoned_batches_are_in_the_single_object_of_a_command(left: Site, words: tuple[str, ...]) -> None:
    done = left.invoke(*words, "--json")
    assert done.returncode == 0, done.stderr
    (dead,) = json.loads(done.stdout)["abandoned"]
    assert (dead["name"], dead["offers"]) == (NAME, [f"invoke cleanup --batch {NAME}"])
    assert f"batch {NAME} was abandoned by" in left.invoke(*words).stdout


def test_as_an_event(left: Site, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("batch: [\n")
    for words in (("run", "--jobs", str(file)), ("cleanup", "--dry-run"), ("results", "--batch", "other")):
        events = read_events(left.invoke(*words, "--json").stdout)
        assert [event["name"] for event in events if event["event"] == "abandoned"] == [NAME], words


def test_a_command_about_an_abandoned_batch_does_not_report_it(left: Site) -> None:
    events = read_events(left.invoke("cleanup", "--batch", NAME, "--dry-run", "--json").stdout)
    assert "abandoned" not in {event["event"] for event in events}


def test_a_dry_run_cleans_no_bake(left: Site) -> None:
    journal = Journals(folder=left.home / "local" / "journal")
    with journal.begin(BAKE, "bake", project="local-project") as state:
        state.intend("instance", f"{BAKE}-builder", "europe-west4-a")
    events = read_events(left.invoke("cleanup", "--dry-run", "--json").stdout)
    assert {event["name"] for event in events if event["event"] == "abandoned"} == {NAME, BAKE}
    bake = journal.read(BAKE)
    assert bake is not None and not bake.has_ended
