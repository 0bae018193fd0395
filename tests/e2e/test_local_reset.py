"""``invoke local.reset`` lists everything that it deletes, asks, and deletes all of it."""

from __future__ import annotations

from pathlib import Path

from runner.journal.journal import Journals
from tests.e2e.site import Site


def test_it_lists_what_it_deletes_and_asks(tmp_path: Path) -> None:
    site = Site(home=tmp_path)
    journal = Journals(folder=tmp_path / "local" / "journal")
    journal.begin("b1", "run").close()
    refused = site.invoke("local.reset")
    assert refused.returncode == 9
    for word in ("images", "results that are not downloaded", "stacks", "journals and receipts", "nothing was deleted"):
        assert word in refused.stderr, refused.stderr
    assert journal.names() == ["b1"]
    done = site.invoke("local.reset", "--yes")
    assert done.returncode == 0, done.stderr
    assert "journals and receipts" in done.stdout
    assert list((tmp_path / "local").glob("*")) == []
