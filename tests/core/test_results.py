"""Result sets on their way home: whole and checked, or refused with nothing kept."""

from __future__ import annotations

import base64
import io
import tarfile
from pathlib import Path
from typing import Any

import google_crc32c
import pytest
import zstandard

from runner.core.results import CorruptResultsError, check_name, read_manifest, unpack_archive

FILES = {
    "out/drift.txt": b"1 2 3\n",
    "with\nnewline": b"x",
    "-leading dash": b"y",
    "ünïcode": "é".encode(),
    "bad\udcffbyte": b"z",
    "empty": b"",
}


def _crc(content: bytes) -> str:
    checksum: Any = google_crc32c.Checksum(content)
    return base64.b64encode(checksum.digest()).decode()


def _make(folder: Path, files: dict[str, bytes]) -> tuple[Path, dict[str, Any]]:
    """An archive and its manifest's values, as push-results writes them."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    packed = zstandard.ZstdCompressor().compress(plain.getvalue())
    archive = folder / "results.tar.zst"
    archive.write_bytes(packed)
    listed = [{"path": name, "size": len(content), "crc32c": _crc(content)} for name, content in files.items()]
    return archive, {"format": 1, "archive": {"size": len(packed), "crc32c": _crc(packed)}, "files": listed}


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
    values["archive"] = {"size": len(packed), "crc32c": _crc(packed)}
    with pytest.raises(CorruptResultsError, match="refused"):
        unpack_archive(archive, read_manifest(values), tmp_path / "job")


def _flip_archive(archive: Path, values: dict[str, Any]) -> None:
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(bytes(content))


def _cut_archive(archive: Path, values: dict[str, Any]) -> None:
    archive.write_bytes(archive.read_bytes()[:-1])


def _change_file_crc(archive: Path, values: dict[str, Any]) -> None:
    values["files"][0]["crc32c"] = _crc(b"something else")


def _add_missing_file(archive: Path, values: dict[str, Any]) -> None:
    values["files"].append({"path": "missing", "size": 1, "crc32c": _crc(b"1")})


def _forget_file(archive: Path, values: dict[str, Any]) -> None:
    values["files"].pop()


@pytest.mark.parametrize(
    "damage", [_flip_archive, _cut_archive, _change_file_crc, _add_missing_file, _forget_file], ids=lambda f: f.__name__
)
def test_damage_is_seen_and_the_old_folder_stays(tmp_path: Path, damage: Any) -> None:
    archive, values = _make(tmp_path, FILES)
    damage(archive, values)
    into = tmp_path / "job"
    into.mkdir()
    (into / "old").write_text("kept")
    with pytest.raises(CorruptResultsError):
        unpack_archive(archive, read_manifest(values), into)
    assert [path.name for path in into.iterdir()] == ["old"]


@pytest.mark.parametrize("values", [{}, [], None, {"format": 2}, {"format": 1, "files": [{}]}, "text"])
def test_a_damaged_manifest_is_told(values: Any) -> None:
    with pytest.raises(CorruptResultsError):
        read_manifest(values)
