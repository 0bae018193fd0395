"""The journal on a real disk: killed at every write, full at every byte, two processes, a copied laptop, newer versions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.errors import HpcError, InputError
from runner.journal.journal import Journals, NameTakenError
from runner.journal.owner import describe_this_process, is_process_alive
from runner.model.journal_state import JournalState
from tests.disks import largest_file
from tests.journal.journal_child import SCRIPT

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT_S = 60
WORDS = ["begin", *(word for word, _ in SCRIPT)]


@pytest.fixture
def journals(tmp_path: Path) -> Journals:
    return Journals(folder=tmp_path / "journal")


def child_command(journals: Journals, mode: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "tests.journal.journal_child", str(journals.folder), mode, *more]


@contextmanager
def running_child(journals: Journals, steps: int) -> Iterator[subprocess.Popen[str]]:
    """A child that has done this many steps and waits; killed at the end."""
    command = child_command(journals, "steps")
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline().strip() == "begin"
        for word in WORDS[1:steps]:
            process.stdin.write("\n")
            assert process.stdout.readline().strip() == word
        try:
            yield process
        finally:
            process.kill()


def read(journals: Journals) -> JournalState:
    journal = journals.read("b")
    assert journal is not None
    return journal


def kinds(journal: JournalState) -> list[str]:
    return [record.kind for record in journal.records]


@pytest.mark.parametrize("steps", range(1, len(WORDS) + 1), ids=WORDS)
def test_what_was_written_before_kill_9_is_there(journals: Journals, steps: int) -> None:
    with running_child(journals, steps) as process:
        assert read(journals).is_owner_alive
        process.kill()
        process.wait(LIMIT_S)
        journal = read(journals)
    assert kinds(journal) == [word.split()[0] for word in WORDS[:steps]]
    assert journal.troubles == ()
    assert not journal.is_owner_alive
    assert journal.has_ended == (steps == len(WORDS))
    assert journals.open_journals() == ([] if journal.has_ended else [journal])


def journal_size(journals: Journals) -> int:
    """The size of a whole journal; a time or a number in it may be a little longer or shorter the next time."""
    subprocess.run(child_command(journals, "all"), cwd=ROOT, check=True, capture_output=True, timeout=LIMIT_S)
    size = (journals.folder / "b.jsonl").stat().st_size
    shutil.rmtree(journals.folder)
    return size


def test_killed_within_any_write(journals: Journals) -> None:
    size = journal_size(journals)
    for at in range(300, size + 40, 61):
        done = subprocess.run(
            child_command(journals, "die-at-byte", str(at)), cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S
        )
        announced = done.stdout.splitlines()
        journal = journals.read("b")
        if journal is None:
            assert announced == []
            continue
        assert len(journal.records) - 1 in (len(announced), len(announced) + 1)
        assert journal.is_abandoned == (len(announced) < len(SCRIPT))
        with journals.resume("b") as state:
            state.intend("instance", "b-2")
        again = read(journals)
        assert kinds(again) == [*kinds(journal), "owner", "intend"]
        assert len(again.troubles) == len(journal.troubles) <= 1
        shutil.rmtree(journals.folder)


def test_on_a_full_disk_nothing_is_announced_and_nothing_torn(journals: Journals) -> None:
    size = journal_size(journals)
    for at in range(400, size, 97):
        done = subprocess.run(
            child_command(journals, "full-at-byte", str(at)), cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S
        )
        journal = journals.read("b")
        if journal is None:
            assert "nothing more may be created" in done.stderr or "nothing may be created" in done.stderr
            continue
        said = done.stdout.splitlines()
        allowed = {word.split()[1] for word in said if word.startswith("intend")}
        assert {item.name for item in journal.intended} == allowed
        assert journal.troubles == ()
        refused = [line for line in said if line.startswith("refused")]
        assert all("nothing more may be created" in line and "make room" in line for line in refused)
        shutil.rmtree(journals.folder)


def test_what_could_not_be_written_comes_with_the_next_record(tmp_path: Path) -> None:
    """The disk is full for a while: a limit of this process, in a child of its own."""
    program = """
import resource, sys
from pathlib import Path
from runner.journal.journal import Journals
reported = []
with Journals(folder=Path(sys.argv[1]), on_trouble=reported.append).begin("b", "run") as state:
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path(sys.argv[1], "b.jsonl").stat().st_size + 5, most))
    state.record("job", job="one", state="running")
    state.record("job", job="one", state="failed")
    assert len(reported) == 1, reported
    assert len(state.read().records) == 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    state.end("done")
    assert [record.kind for record in state.read().records] == ["begin", "job", "job", "end"]
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, check=True, timeout=LIMIT_S)


def test_what_could_not_be_written_is_tried_once_more_in_the_end(tmp_path: Path) -> None:
    reported: list[str] = []
    state = Journals(folder=tmp_path, on_trouble=reported.append).begin("b", "run")
    with largest_file((tmp_path / "b.jsonl").stat().st_size + 5):
        state.end("done")
    assert len(reported) == 1
    state.close()
    assert kinds(read(Journals(folder=tmp_path))) == ["begin", "end"]
    assert len(reported) == 1


def test_records_that_could_never_be_written_are_reported(tmp_path: Path) -> None:
    reported: list[str] = []
    state = Journals(folder=tmp_path, on_trouble=reported.append).begin("b", "run")
    with largest_file((tmp_path / "b.jsonl").stat().st_size + 5):
        state.end("done")
        state.close()
    state.close()
    assert kinds(read(Journals(folder=tmp_path))) == ["begin"]
    assert len(reported) == 2
    assert "could not be written (File too large)" in reported[1]


def test_two_processes_cannot_own_one_batch(journals: Journals) -> None:
    with running_child(journals, 3) as process:
        with pytest.raises(InputError, match=f"process {process.pid}"):
            journals.resume("b")
        with pytest.raises(NameTakenError, match=f"process {process.pid}"):
            journals.begin("b", "run")
        process.kill()
        process.wait(LIMIT_S)
        with journals.resume("b") as state:
            journal = state.read()
            assert journal.is_owner_alive
            assert journal.owner and journal.owner.pid == os.getpid()
    assert read(journals).is_abandoned


def test_processes_that_only_look_keep_no_owner_out(journals: Journals) -> None:
    journals.begin("b", "run").close()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            journals.read("b")

    lookers = [threading.Thread(target=look) for _ in range(4)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(20):
            journals.resume("b").close()
    finally:
        over.set()
        for looker in lookers:
            looker.join()


def test_a_name_is_used_once(journals: Journals) -> None:
    with journals.begin("b", "run") as state:
        state.end("done")
    with pytest.raises(NameTakenError, match="already"):
        journals.begin("b", "run")
    assert journals.names() == ["b"]


def test_a_copied_laptop_does_not_own_what_the_first_one_runs(journals: Journals, tmp_path: Path) -> None:
    with journals.begin("b", "run") as state:
        state.intend("instance", "b-0", "z-a")
        copy = Journals(folder=tmp_path / "copy")
        shutil.copytree(journals.folder, copy.folder)
    for name in ("b.jsonl", "b.lock"):
        text = (copy.folder / name).read_text()
        here = describe_this_process()
        (copy.folder / name).write_text(text.replace(here.machine_id, "other").replace(here.boot_id, "another"))
    journal = read(copy)
    assert not journal.is_owner_alive
    assert journal.owner is not None
    assert not journal.owner.is_on_computer_of(describe_this_process())
    assert not is_process_alive(journal.owner)
    copy.resume("b").close()


def test_a_process_is_known_by_more_than_its_number() -> None:
    here = describe_this_process()
    assert is_process_alive(here)
    for change in ({"process_started": here.process_started - 60}, {"boot_id": "x"}, {"pid": 2**22 + 1}):
        assert not is_process_alive(type(here)(**{**here.__dict__, **change}))


def test_a_journal_of_a_newer_version_is_read_but_not_written(journals: Journals) -> None:
    journals.begin("b", "run").close()
    path = journals.folder / "b.jsonl"
    first = json.loads(path.read_text())
    newer = {"record": "wormhole", "at": first["at"], "name": "b-0"}
    path.write_text(json.dumps(first | {"format": 2}) + "\n" + json.dumps(newer) + "\n")
    journal = read(journals)
    assert kinds(journal) == ["begin", "wormhole"]
    assert "newer version" in journal.troubles[0]
    with pytest.raises(InputError, match="newer version"):
        journals.resume("b")
    assert kinds(read(journals)) == ["begin", "wormhole"]


def test_unknown_records_of_the_same_format_stay(journals: Journals) -> None:
    with journals.begin("b", "run") as state:
        state.record("wormhole", to="elsewhere")
        state.end("done")
    with journals.resume("b") as state:
        state.end("done again")
    assert kinds(read(journals)) == ["begin", "wormhole", "end", "owner", "end"]
    assert journals.open_journals() == []


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "a/b", "A", "b.jsonl", "."])
def test_names_that_no_journal_may_have_are_refused(journals: Journals, name: str) -> None:
    with pytest.raises(InputError):
        journals.read(name)
    with pytest.raises(InputError):
        journals.begin(name, "run")


def test_a_folder_that_cannot_be_written_is_reported_before_anything_is_created(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HpcError, match="nothing more may be created") as caught:
        Journals(folder=tmp_path / "file" / "journal").begin("b", "run")
    assert "make room" in caught.value.remedy


def test_journals_that_cannot_be_read_are_not_taken_for_none(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file where the folder should be")
    with pytest.raises(HpcError, match="journals cannot be read"):
        Journals(folder=tmp_path / "journal").open_journals()


def test_no_journal_was_ever_begun(journals: Journals) -> None:
    assert (journals.names(), journals.open_journals(), journals.read("b")) == ([], [], None)
    assert not journals.folder.exists()


def test_threads_write_whole_lines(journals: Journals) -> None:
    with journals.begin("b", "run") as state:

        def write(number: int) -> None:
            for step in range(20):
                state.record("job", job=f"job-{number}", state=f"step-{step}")

        threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        journal = state.read()
    assert journal.troubles == ()
    assert [len(job.states) for job in journal.jobs] == [20] * 6


def test_a_closed_journal_is_not_written(journals: Journals) -> None:
    reported: list[str] = []
    state = Journals(folder=journals.folder, on_trouble=reported.append).begin("b", "run")
    state.close()
    state.close()
    with pytest.raises(HpcError):
        state.intend("instance", "b-0")
    state.record("job", job="one", state="running")
    assert len(reported) == 1
    assert kinds(read(journals)) == ["begin"]
