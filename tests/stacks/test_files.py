"""Settings files: the engine's own folder, and the link for ``pulumi`` by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from runner.stacks.files import StackFiles

HAND = "Pulumi.base.yaml"


@pytest.fixture
def infra(tmp_path: Path) -> Path:
    folder = tmp_path / "infra" / "base"
    folder.mkdir(parents=True)
    (folder / "Pulumi.yaml").write_text("name: opensees-hpc-base\nruntime: python\n", encoding="utf-8")
    return tmp_path / "infra"


def make_files(tmp_path: Path, infra: Path, work: str = "work") -> StackFiles:
    return StackFiles(infra=infra, work=tmp_path / work, project="base")


def test_by_hand_the_same_settings_are_seen(tmp_path: Path, infra: Path) -> None:
    files = make_files(tmp_path, infra)
    files.write_settings("base", {"opensees-hpc:owner": "you"})
    read = yaml.safe_load((infra / "base" / HAND).read_text(encoding="utf-8"))
    assert read == {"config": {"opensees-hpc:owner": "you"}}
    assert (files.work / "Pulumi.yaml").read_text(encoding="utf-8").startswith("name: opensees-hpc-base")


def test_two_states_do_not_share_settings(tmp_path: Path, infra: Path) -> None:
    here, there = make_files(tmp_path, infra), make_files(tmp_path, infra, "other")
    here.write_settings("base", {"a:b": "here"})
    there.write_settings("base", {"a:b": "there"})
    assert "here" in (here.work / HAND).read_text(encoding="utf-8")
    assert "there" in (infra / "base" / HAND).read_text(encoding="utf-8")
    here.forget_settings("base")
    assert "there" in (infra / "base" / HAND).read_text(encoding="utf-8")
    there.forget_settings("base")
    assert not (infra / "base" / HAND).is_symlink()


def test_what_the_engine_wrote_about_secrets_is_kept(tmp_path: Path, infra: Path) -> None:
    (infra / "base" / HAND).write_text("encryptionsalt: v1:x\nconfig: {a:b: c}\n", encoding="utf-8")
    files = make_files(tmp_path, infra)
    files.write_settings("base", {"opensees-hpc:owner": "you"})
    files.write_settings("base", {"opensees-hpc:owner": "me"})
    read = yaml.safe_load((files.work / HAND).read_text(encoding="utf-8"))
    assert read == {"encryptionsalt": "v1:x", "config": {"opensees-hpc:owner": "me"}}


def test_what_the_engine_wrote_about_another_states_secrets_is_not(tmp_path: Path, infra: Path) -> None:
    there = make_files(tmp_path, infra, "other")
    there.prepare()
    (there.work / HAND).write_text("encryptionsalt: v1:theirs\n", encoding="utf-8")
    there.link_settings("base")
    here = make_files(tmp_path, infra)
    here.write_settings("base", {"a:b": "here"})
    assert "theirs" not in (here.work / HAND).read_text(encoding="utf-8")


def test_texts_stay_texts(tmp_path: Path, infra: Path) -> None:
    files = make_files(tmp_path, infra)
    config = {"n:count": "2", "n:flag": "true", "n:list": '["a"]', "n:expires": "20261122-1530", "n:odd": "a: #b"}
    files.write_settings("base", config)
    assert yaml.safe_load((files.work / HAND).read_text(encoding="utf-8"))["config"] == config


def test_a_checkout_that_cannot_be_written_to_has_no_links(tmp_path: Path, infra: Path) -> None:
    (infra / "base" / HAND).mkdir()
    make_files(tmp_path, infra).write_settings("base", {"a:b": "c"})
    assert (infra / "base" / HAND).is_dir()


def test_removing_missing_settings_is_no_error(tmp_path: Path, infra: Path) -> None:
    make_files(tmp_path, infra).forget_settings("base")
