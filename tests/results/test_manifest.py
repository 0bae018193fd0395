"""Result sets are unpacked whole and checked, or refused with nothing kept."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

from runner.errors import DiskError
from runner.results.manifest import CorruptResultsError, check_name, holds_files, read_manifest, unpack_archive
from tests.support.bucket import crc32c, pack

FILES = {
    "out/drift.txt": b"1 2 3\n",
    "with\nnewline": b"x",
    "-leading dash": b"y",
    "ünïcode": "é".encode(),
    "bad\udcffbyte": b"z",
    "empty": b"",
}


def _make(folder: Path, files: dict[str, bytes]) -> tuple[Path, dict[str, Any]]:
    """An archive in a file and its manifest's values, as push-results writes them."""
    packed, values = pack(files)
    archive = folder / "results.tar.zst"
    archive.write_bytes(packed)
    return archive, values


def test_hostile_names_arrive_safely(tmp_path: Path) -> None:
    archive, values = _make(tmp_path, FILES)
    into = tmp_path / "home" / "job"
    into.parent.mkdir()
    unpack_archive(archive, read_manifest(values), into)
    found = {str(path.relative_to(into)): path.read_bytes() for path in into.rglob("*") if path.is_file()}
    assert found == FILES
    assert [path.name for path in into.parent.iterdir()] == ["job"]


@pytest.mark.parametrize("name", ["../escape", "/etc/passwd", "a/../../b", "..", ""])
def test_names_that_lead_outside_are_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorruptResultsError, match="refused"):
        check_name(name)
    if name:
        archive, values = _make(tmp_path, {"good": b"1", name: b"2"})
        with pytest.raises(CorruptResultsError):
            unpack_archive(archive, read_manifest(values), tmp_path / "job")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["results.tar.zst"]


def test_a_link_is_refused(tmp_path: Path) -> None:
    archive, values = _make(tmp_path, {"good": b"1"})
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        member = tarfile.TarInfo("good")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    packed = zstandard.ZstdCompressor().compress(plain.getvalue())
    archive.write_bytes(packed)
    values["archive"] = {"size": len(packed), "crc32c": crc32c(packed)}
    with pytest.raises(CorruptResultsError, match="refused"):
        unpack_archive(archive, read_manifest(values), tmp_path / "job")


def _flip_archive(archive: Path, values: dict[str, Any]) -> None:
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(bytes(content))


def _cut_archive(archive: Path, values: dict[str, Any]) -> None:
    archive.write_bytes(archive.read_bytes()[:-1])


def _cut_archive_and_manifest(archive: Path, values: dict[str, Any]) -> None:
    content = archive.read_bytes()[:-20]
    archive.write_bytes(content)
    values["archive"] = {"size": len(content), "crc32c": crc32c(content)}


def _no_archive_at_all(archive: Path, values: dict[str, Any]) -> None:
    archive.write_bytes(b"<html>not found</html>")
    values["archive"] = {"size": 22, "crc32c": crc32c(b"<html>not found</html>")}


def _change_file_crc(archive: Path, values: dict[str, Any]) -> None:
    values["files"][0]["crc32c"] = crc32c(b"something else")


def _change_file_size(archive: Path, values: dict[str, Any]) -> None:
    values["files"][0]["size"] += 1


def _add_missing_file(archive: Path, values: dict[str, Any]) -> None:
    values["files"].append({"path": "missing", "size": 1, "crc32c": crc32c(b"1")})


def _forget_file(archive: Path, values: dict[str, Any]) -> None:
    values["files"].pop()


DAMAGES = [
    _flip_archive,
    _cut_archive,
    _cut_archive_and_manifest,
    _no_archive_at_all,
    _change_file_crc,
    _change_file_size,
    _add_missing_file,
    _forget_file,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
def test_corruption_is_detected_and_nothing_is_left(tmp_path: Path, damage: Any) -> None:
    archive, values = _make(tmp_path, FILES)
    damage(archive, values)
    with pytest.raises(CorruptResultsError):
        unpack_archive(archive, read_manifest(values), tmp_path / "job")
    assert [path.name for path in tmp_path.iterdir()] == ["results.tar.zst"]


def test_two_files_with_the_same_path_are_refused(tmp_path: Path) -> None:
    archive, values = _make(tmp_path, {"a": b"1", "a/b": b"2"})
    with pytest.raises(CorruptResultsError, match="same path"):
        unpack_archive(archive, read_manifest(values), tmp_path / "job")


def test_a_folder_that_is_there_is_not_touched(tmp_path: Path) -> None:
    archive, values = _make(tmp_path, FILES)
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "old").write_text("kept")
    with pytest.raises(DiskError):
        unpack_archive(archive, read_manifest(values), tmp_path / "job")
    assert [path.name for path in (tmp_path / "job").iterdir()] == ["old"]


def test_a_folder_is_known_again_by_its_manifest(tmp_path: Path) -> None:
    archive, values = _make(tmp_path, FILES)
    manifest = read_manifest(values)
    unpack_archive(archive, manifest, tmp_path / "job")
    assert holds_files(tmp_path / "job", manifest)
    (tmp_path / "job" / "more").write_text("of the user's own")
    assert holds_files(tmp_path / "job", manifest)
    (tmp_path / "job" / "empty").write_text("not any more")
    assert not holds_files(tmp_path / "job", manifest)
    assert not holds_files(tmp_path / "none", manifest)


@pytest.mark.parametrize("values", [{}, [], None, {"format": 2}, {"format": 1, "files": [{}]}, "text"])
def test_a_corrupt_manifest_is_reported(values: Any) -> None:
    with pytest.raises(CorruptResultsError):
        read_manifest(values)
