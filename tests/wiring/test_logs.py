"""The log of a command: where it is, who can read it, that it has no secrets, and that no error of it ends a command."""

from __future__ import annotations

import logging
import multiprocessing
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from runner.model.redaction import Redaction
from runner.wiring import logs
from runner.wiring.logs import CommandLog, command_log, current_log
from tests.disks import largest_file

SECRET = "hunter2hunter2hunter2"
LOGGER = logging.getLogger("runner.results.tests")
LINE = "a line of a log that is as long as many are, with numbers: %05d"


def environment(home: Path, **more: str) -> dict[str, str]:
    return {"OPENSEES_HPC_HOME": str(home), **more}


def read(home: Path, name: str) -> str:
    return (home / "logs" / f"{name}.log").read_text(encoding="utf-8")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with command_log(environment(home), "status", {}) as log:
        LOGGER.info("something")
        report = log.report_crash(ValueError("x"))
    assert log.path == home / "logs" / "status.log"
    assert report is not None
    assert (mode(home), mode(home / "logs"), mode(log.path)) == (0o700, 0o700, 0o600)
    assert (mode(report.parent), mode(report)) == (0o700, 0o600)
    assert "runner.results.tests: something" in read(home, "status")


def test_the_log_of_a_batch_has_the_lines_from_before_its_name_was_known(tmp_path: Path) -> None:
    with command_log(environment(tmp_path), "run", {}) as log:
        LOGGER.info("before")
        LOGGER.info("the batch is b1", extra={"batch": "b1"})
        LOGGER.info("after")
        assert log.path == tmp_path / "logs" / "b1.log"
    assert [word for word in ("before", "the batch is", "after") if word in read(tmp_path, "b1")] == [
        "before",
        "the batch is",
        "after",
    ]
    assert "before" in read(tmp_path, "run")
    assert "after" not in read(tmp_path, "run")


def test_a_batch_that_is_known_from_the_start(tmp_path: Path) -> None:
    with command_log(environment(tmp_path), "extend", {}, batch="b1"):
        LOGGER.info("moved")
    assert "moved" in read(tmp_path, "b1")


@pytest.mark.parametrize("name", ["../../elsewhere", "/etc/passwd", "a b", ""])
def test_an_invalid_name_names_no_file(tmp_path: Path, name: str) -> None:
    with command_log(environment(tmp_path / "home"), "extend", {}, batch=name) as log:
        LOGGER.info("x", extra={"batch": name})
        assert log.path == tmp_path / "home" / "logs" / "extend.log"


def test_no_secret_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text(f"{SECRET}-a\n")
    given = environment(tmp_path, SOME_TOKEN=f"{SECRET}-b")
    with command_log(given, "run", {"operator": f"{SECRET}-b"}) as log:
        shared = tmp_path / "google" / "passphrases" / "bucket"
        shared.parent.mkdir(parents=True)
        shared.write_text(f"{SECRET}-c")
        LOGGER.info("next", extra={"batch": "b1"})
        for value in (f"{SECRET}-a", f"{SECRET}-b", f"{SECRET}-c", f"Authorization: Bearer {SECRET}"):
            LOGGER.warning("plain: %s", value)
            LOGGER.error("with its traceback", exc_info=ValueError(value))
            assert log.report_crash(RuntimeError(value)) is not None
        with pytest.raises(ZeroDivisionError):
            fail_with(f"token={SECRET}")
    written = [file for folder in ("logs", "crashes") for file in (tmp_path / folder).iterdir()]
    assert len(written) >= 3
    assert not [file for file in written if SECRET in file.read_text(encoding="utf-8")]
    assert "with its traceback" in read(tmp_path, "b1")


def fail_with(text: str) -> None:
    try:
        raise ValueError(text)
    except ValueError:
        LOGGER.exception("failed")
        _ = 1 / 0


def test_other_packages_log_only_warnings(tmp_path: Path) -> None:
    with command_log(environment(tmp_path), "run", {}, debug=True):
        for name in ("urllib3.connectionpool", "asyncssh", "google.auth", "somebody"):
            logging.getLogger(name).info("chatter")
            logging.getLogger(name).warning("warned by %s", name)
        LOGGER.debug("fine")
    text = read(tmp_path, "run")
    assert "chatter" not in text
    assert (text.count("warned by"), text.count("fine")) == (4, 1)


def test_debug_logs_more_and_to_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for debug in (False, True):
        with command_log(environment(tmp_path), "run", {}, debug=debug):
            LOGGER.debug("fine %s, password=%s", debug, SECRET)
    assert ("fine False" in read(tmp_path, "run"), "fine True" in read(tmp_path, "run")) == (False, True)
    shown = capsys.readouterr().err
    assert ("fine False" in shown, "fine True" in shown, SECRET in shown) == (False, True, False)


def test_a_full_disk_ends_nothing(tmp_path: Path) -> None:
    with command_log(environment(tmp_path), "run", {}) as log:
        with largest_file(1):
            LOGGER.info("lost")
            LOGGER.info("the batch is b1", extra={"batch": "b1"})
            assert log.report_crash(ValueError("x")) is None
            assert log.path is None
        LOGGER.info("there is room again")
        assert log.path == tmp_path / "logs" / "b1.log"
    assert "there is room again" in read(tmp_path, "b1")


def test_a_folder_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("a file")
    with command_log(environment(home), "run", {}) as log:
        LOGGER.info("lost")
        assert (log.path, log.report_crash(ValueError("x"))) == (None, None)


def test_a_message_that_does_not_match_its_arguments_ends_nothing(tmp_path: Path) -> None:
    log = CommandLog(tmp_path, "run", {}, Redaction())
    for message, argument in (("%d", "no number"), ("%s", "next")):
        log.emit(LOGGER.makeRecord(LOGGER.name, logging.INFO, "", 0, message, (argument,), None))
    log.close()
    assert read(tmp_path, "run").endswith(": next\n")


def test_a_log_that_is_too_large_is_rotated(tmp_path: Path) -> None:
    log = CommandLog(tmp_path, "run", {}, Redaction(), largest_bytes=1000)
    for number in range(200):
        log.emit(LOGGER.makeRecord(LOGGER.name, logging.INFO, "", 0, LINE, (number,), None))
    log.close()
    files = sorted((tmp_path / "logs").iterdir())
    assert [file.name for file in files] == ["run.log", *(f"run.log.{n}" for n in range(1, logs.OLDER_FILES + 1))]
    assert all(file.stat().st_size < 1300 and mode(file) == 0o600 for file in files)
    assert f"{199:05d}" in files[0].read_text()


def write_many(home: Path, first: int) -> None:
    log = CommandLog(home, "run", {}, Redaction(), largest_bytes=20_000)
    for number in range(first, first + 100):
        log.emit(LOGGER.makeRecord(LOGGER.name, logging.INFO, "", 0, LINE, (number,), None))
    log.close()


def test_two_commands_can_write_to_one_log(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=write_many, args=(tmp_path, first)) for first in (0, 1000)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = [line for file in (tmp_path / "logs").iterdir() for line in file.read_text().splitlines()]
    numbers = sorted(int(line.rpartition(" ")[2]) for line in lines)
    assert numbers == [*range(100), *range(1000, 1100)]


def test_old_logs_and_reports_are_removed(tmp_path: Path) -> None:
    for folder, end, count in (("logs", ".log", logs.LOGS_KEPT), ("crashes", ".txt", logs.CRASHES_KEPT)):
        (tmp_path / folder).mkdir()
        for number in range(count + 5):
            (tmp_path / folder / f"old-{number}{end}").write_text("x")
    with command_log(environment(tmp_path), "run", {}) as log:
        assert log.report_crash(ValueError("x")) is not None
    assert len(list((tmp_path / "logs").iterdir())) == logs.LOGS_KEPT
    assert len(list((tmp_path / "crashes").iterdir())) == logs.CRASHES_KEPT
    assert (tmp_path / "logs" / "run.log").exists()


def test_nothing_is_attached_before_or_after(tmp_path: Path) -> None:
    before = list(logging.getLogger().handlers), logging.getLogger("runner").level
    with command_log(environment(tmp_path), "run", {}, debug=True) as log:
        assert current_log() is log
    assert current_log() is None
    assert (logging.getLogger().handlers, logging.getLogger("runner").level) == before


def test_an_import_attaches_nothing() -> None:
    program = "import logging, runner.cli.verbs.batches, runner.hardware; print(logging.getLogger().handlers, logging.getLogger('runner').handlers)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "[] []\n"


def test_a_crash_report_has_what_maintainers_need(tmp_path: Path) -> None:
    with command_log(environment(tmp_path), "results", {"batch": "b1"}) as log:
        LOGGER.info("the last that was done")
        report = log.report_crash(ValueError("that went wrong"))
    assert report is not None
    text = report.read_text()
    for words in (
        "opensees-hpc ",
        "results(batch='b1')",
        "Python 3",
        "ValueError: that went wrong",
        "the last that was done",
    ):
        assert words in text
