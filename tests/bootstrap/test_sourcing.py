"""``source bootstrap``: the same environment for a shell, which is left as it was otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bootstrap.clone import Clone

CHECK = Path(__file__).with_name("source_bootstrap.sh")


@pytest.mark.parametrize("options", ["", "-u", "-e", "-eu", "-f"])
def test_bash_gets_path_and_keeps_the_rest(ready_clone: Clone, options: str) -> None:
    command = [str(ready_clone.tools / "bash"), *([options] if options else []), str(CHECK), str(ready_clone.bootstrap)]
    done = ready_clone.shell(command)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        f"pulumi={ready_clone.tools / 'pulumi'}",
        f"python3={ready_clone.venv / 'bin' / 'python3'}",
        "options=same",
        "arguments=same",
        "functions=",
        "variables=",
        "twice=same",
    ]


def test_failure_leaves_bash_alive(bare_clone: Clone) -> None:
    script = 'path=$PATH; source "$1" || echo "failed with $?"; [[ $PATH == "$path" ]] && echo same'
    done = bare_clone.shell([str(bare_clone.tools / "bash"), "-c", script, "bash", str(bare_clone.bootstrap)])
    assert done.stdout.splitlines() == ["failed with 1", "same"]
    assert "no Python 3.11" in done.stderr


def test_sh_runs_it_with_bash(ready_clone: Clone) -> None:
    done = ready_clone.shell([str(ready_clone.tools / "sh"), str(ready_clone.bootstrap), "pulumi", "version"])
    assert done.stdout == "v3.231.0\n"
