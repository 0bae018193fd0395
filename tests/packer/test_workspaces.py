"""Pushes that the VM starts without a client, in a workspace whose disk is full."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from packer.vm.lib.opensees_hpc.workspaces import JobState, Pushes, find_workspaces

LIMIT_S = 60.0
FILES = Path(__file__).parents[2] / "packer" / "vm" / "lib"


@dataclass(kw_only=True)
class FullWorkspace:
    """A workspace in which the end of a push cannot be recorded. ``codes``: the exit codes of successive pushes."""

    codes: list[int]
    path: Path = Path("w")
    begun: list[str] = field(default_factory=list)

    def states(self) -> list[JobState]:
        return [JobState(name="a.a1", phase="end", how="ended", after="lost")]

    def begin_push(self, name: str) -> subprocess.Popen[bytes]:
        self.begun.append(name)
        return subprocess.Popen(["/bin/sh", "-c", f"exit {self.codes.pop(0)}"])


def test_a_successful_push_is_not_repeated_although_its_end_could_not_be_recorded() -> None:
    workspace = FullWorkspace(codes=[6, 1, 0])
    pushes = Pushes(cast(Any, [workspace]), time.monotonic() + LIMIT_S)
    while pushes.step():
        time.sleep(0.01)
    assert workspace.begun == ["a.a1"] * 3


def test_processes_in_a_workspace_run_as_the_owner_of_the_home_folder(tmp_path: Path) -> None:
    """A job may have replaced its workspace by a link to a folder of root's that every user may write to."""
    home, elsewhere = tmp_path / "home" / "user", tmp_path / "elsewhere"
    manager = elsewhere / ".opensees-hpc" / "1" / "manager.sh"
    manager.parent.mkdir(parents=True)
    manager.touch()
    (home / "opensees-hpc").mkdir(parents=True)
    (home / "opensees-hpc" / "b").symlink_to(elsewhere)
    assert [found.owner for found in find_workspaces(tmp_path, "b", FILES)] == [home.stat()]


def _make_job(workspace: Path) -> Path:
    """Return a job that has ended, with a reserve of two files, which fill the disk."""
    folder = workspace / "a.a1" / ".job"
    folder.mkdir(parents=True)
    for name in ("reserve.1", "reserve.2"):
        (folder / name).write_text(" " * 4096)
    (folder / "end").write_text("ended 0 0 1.0 2.0 - -\n")
    (folder / "on_end").write_text("set -- sh -c 'exit 6'\n")
    return folder


def _run_on_a_full_disk(script: str, argument: Path, folder: Path) -> None:
    """Run a script on a disk with room for two non-empty files in addition to end and on_end."""
    text = (FILES / script).read_text().replace('. "${0%/*}/reserve.sh"', f". {FILES}/reserve.sh\n{{ONLY}}")
    only = f"""printf() {{
  [ "$(find '{folder}' -type f -size +0 ! -name end ! -name on_end | wc -l)" -lt 2 ] && command printf "$@"
}}"""
    subprocess.run(["/bin/sh", "-c", text.replace("{ONLY}", only), script, argument], check=False)


def test_the_end_of_a_push_is_recorded_on_a_full_disk(tmp_path: Path) -> None:
    folder = _make_job(tmp_path)
    _run_on_a_full_disk("after_end.sh", tmp_path / "a.a1", folder)
    assert (folder / "after").read_text() == "6\n"
    assert not (folder / "reserve.1").exists()
    assert (folder / "reserve.2").exists()


def test_running_jobs_are_condemned_on_a_full_disk(tmp_path: Path) -> None:
    folder = _make_job(tmp_path)
    (folder / "end").unlink()
    (folder / "run").touch()
    _run_on_a_full_disk("condemn_jobs.sh", tmp_path, folder)
    assert (folder / "request").read_text() == "shutdown\n"
    assert (folder / "reserve.2").exists()
