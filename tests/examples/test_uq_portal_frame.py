"""The UQ example on a plain sshd, with the OpenSees that an image has. On an embedded VM it is run by hand: that bakes an image."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from examples.histogram import draw_histogram
from examples.uq_portal_frame import PARAMETERS, draw_samples
from tests.hardware.hosts import openssh_host
from tests.prefix import opensees_prefix

__all__ = ["opensees_prefix"]
ROOT = Path(__file__).resolve().parents[2]


def test_samples_have_the_moments_they_should() -> None:
    columns = list(zip(*draw_samples(500, seed=1), strict=True))
    for column, (mean, variation) in zip(columns, PARAMETERS.values(), strict=True):
        assert abs(statistics.fmean(column) / mean - 1) < 0.01
        assert abs(statistics.stdev(column) / mean / variation - 1) < 0.05


def test_histogram_shows_every_value() -> None:
    picture = ElementTree.fromstring(draw_histogram([1.0, 1.0, 2.0, 5.0], title="t", axis="x", bins=4))
    bars = [bar for bar in picture.iter("{http://www.w3.org/2000/svg}rect") if bar.get("fill") == "#4477aa"]
    heights = [float(bar.get("height", "")) for bar in bars]
    assert [height / max(heights) for height in heights] == [1.0, 0.5, 0.0, 0.5]


def test_example_on_a_plain_host(tmp_path: Path, opensees_prefix: Path) -> None:
    home = tmp_path / "me"
    (home / ".ssh").mkdir(parents=True)
    picture, far = tmp_path / "drift.svg", tmp_path / "far away"
    with openssh_host(tmp_path / "h") as host:
        (home / ".ssh/known_hosts").write_text(f"[{host.address}]:{host.port} {host.host_key}")
        command = [sys.executable, "-m", "examples.uq_portal_frame", "--host", f"{host.user}@{host.host_port}"]
        command += ["--key", str(host.key), "--program", str(opensees_prefix / "bin/opensees"), "--folder", str(far)]
        command += ["--samples", "4", "--picture", str(picture)]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, "HOME": str(home)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "4 of 4 analyses" in done.stderr
    ElementTree.parse(picture)
    assert sorted(path.name for path in far.iterdir()) == ["portal_frame.tcl", "record.txt"]
