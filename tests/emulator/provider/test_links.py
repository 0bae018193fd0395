"""Different names of one resource are recognised as equal; others are not."""

from __future__ import annotations

import pytest

from runner.emulator.provider.links import relative, same_image, same_link, same_name

ROOT = "https://www.googleapis.com/compute/v1/"
IMAGE = ROOT + "projects/p/global/images/opensees-hpc-20260101"


@pytest.mark.parametrize(
    "said",
    [
        "projects/p/global/images/family/opensees-hpc",
        ROOT + "projects/p/global/images/family/opensees-hpc",
        "global/images/family/opensees-hpc",
        "family/opensees-hpc",
        "p/opensees-hpc",
        "opensees-hpc",
        "opensees-hpc-20260101",
        "projects/p/global/images/opensees-hpc-20260101",
        "global/images/opensees-hpc-20260101",
    ],
)
def test_image_could_have_come_from(said: str) -> None:
    assert same_image(IMAGE, said)


@pytest.mark.parametrize(
    "said",
    [
        "projects/q/global/images/family/opensees-hpc",
        "projects/p/global/images/family/other",
        "projects/p/global/images/opensees-hpc-20260102",
        "projects/p/global/images/opensees-hpc",
        "q/opensees-hpc",
    ],
)
def test_image_cannot_have_come_from(said: str) -> None:
    assert not same_image(IMAGE, said)


def test_links_and_names() -> None:
    network = ROOT + "projects/p/global/networks/n"
    assert same_link(network, "projects/p/global/networks/n")
    assert same_link(network, "n")
    assert not same_link(network, "projects/q/global/networks/n")
    assert same_name(ROOT + "projects/p/zones/z", "z")
    assert relative(network) == "projects/p/global/networks/n"
