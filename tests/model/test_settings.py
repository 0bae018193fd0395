"""Settings: defaults, file, environment, and how wrong ones are reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import InputError
from runner.model.settings import read_settings, variable_name

FILE = Path("settings.yaml")


def test_defaults_are_those_of_the_embedded_cloud() -> None:
    settings = read_settings("", FILE, {})
    assert (settings.target, settings.project) == ("local", "local-project")
    assert settings.zones_to_try == ["europe-west4-a", "europe-west4-b", "europe-west4-c"]
    assert settings.owner == "you"


def test_the_environment_overrides_the_file() -> None:
    text = "region: europe-west1\ndisk_gib: 30\n"
    environment = {"OPENSEES_HPC_REGION": "us-central1", "OPENSEES_HPC_ZONES": "us-central1-f, us-central1-a"}
    settings = read_settings(text, FILE, environment)
    assert (settings.region, settings.disk_gib) == ("us-central1", 30)
    assert settings.zones_to_try == ["us-central1-f", "us-central1-a"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("regoin: x\n", "settings.yaml:1:1: unknown key 'regoin'"),
        ("region: Europe\n", "settings.yaml:1:1: region: a region looks like europe-west4"),
        ("project: X\n", "a project ID has"),
        ("zones: [us-central1-a]\n", "is not in region"),
        ("ssh_source_ranges: [0.0.0.0/0]\n", "SSH open to everyone is refused"),
        ("ssh_source_ranges: [here]\n", "does not appear to be"),
        ("machine_type: big\n", "known machine types"),
        ("disk_gib: 3\n", "disk_gib"),
        ("- a\n", "settings are a mapping"),
    ],
)
def test_a_wrong_setting_is_reported_with_its_place(text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_settings(text, FILE, {})
    assert words in str(caught.value)


def test_a_wrong_variable_is_reported_by_its_name() -> None:
    with pytest.raises(InputError) as caught:
        read_settings("", FILE, {variable_name("target"): "azure"})
    assert "environment variable OPENSEES_HPC_TARGET" in str(caught.value)


@pytest.mark.parametrize(
    ("operator", "principal"),
    [
        ("me@example.org", "user:me@example.org"),
        ("ci@my-project.iam.gserviceaccount.com", "serviceAccount:ci@my-project.iam.gserviceaccount.com"),
    ],
)
def test_an_operator_is_a_person_or_a_service_account(operator: str, principal: str) -> None:
    assert read_settings(f"operator: {operator}\n", FILE, {}).principal == principal
