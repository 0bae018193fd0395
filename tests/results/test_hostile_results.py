"""Results from a hostile VM: refused as corrupt, with bounded memory and disk space."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.model.foreign import MOST_BYTES, decode_json
from runner.results.manifest import CorruptResultsError, Manifest, read_manifest, unpack_archive
from tests.results.hostile import KINDS, manifest_of, pack_hostile
from tests.support.bucket import compress, crc32c, pack

ROOT = Path(__file__).resolve().parents[2]
MOST_GROWN_BYTES = 64 << 20


def _unpack_in_child(archive: Path, manifest: Path, into: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.results.unpack_child", *map(str, (archive, manifest, into))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    values: dict[str, Any] = json.loads(done.stdout)
    return values


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_that_is_huge_inside_is_refused_in_little_memory(tmp_path: Path, kind: str) -> None:
    packed = pack_hostile(kind)
    (tmp_path / "archive").write_bytes(packed)
    (tmp_path / "manifest").write_text(json.dumps(manifest_of(packed)))
    cost = _unpack_in_child(tmp_path / "archive", tmp_path / "manifest", tmp_path / "job")
    assert cost["outcome"], "it was taken"
    assert 0 < cost["grown_bytes"] < MOST_GROWN_BYTES, cost
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "manifest"]


def _read(content: bytes) -> Manifest:
    try:
        values = decode_json(content)
    except ValueError as error:
        raise CorruptResultsError(str(error)) from error
    return read_manifest(values)


_GOOD = manifest_of(b"packed" * 1000)


def _changed(*place: Any, value: str) -> bytes:
    """The text of a good manifest with something else in one place."""
    values = json.loads(json.dumps(_GOOD))
    inner = values
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = "PLACE"
    return json.dumps(values).replace('"PLACE"', value).encode()


NUMBERS = [
    "1e999",
    "-1e999",
    "1e400",
    "NaN",
    "Infinity",
    "-1",
    "true",
    "1.5",
    "null",
    '"1"',
    "1" * 400,
    "9" * 5000,
    "[]",
]
MANIFESTS = {
    **{f"the archive's size is {text[:9]}": _changed("archive", "size", value=text) for text in NUMBERS},
    **{f"a file's size is {text[:9]}": _changed("files", 0, "size", value=text) for text in NUMBERS},
    "more than fits": _changed("files", 0, "size", value=str(1 << 60)),
    "lists in lists": b"[" * 1500 + b"]" * 1500,
    "lists in a path": _changed("files", 0, "path", value="[" * 1500 + "]" * 1500),
    "objects in objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a file twice": _changed("files", value=json.dumps(2 * _GOOD["files"])),  # type: ignore[operator]
    "a name twice": json.dumps(_GOOD).replace('"format": 1', '"format": 1, "format": 1').encode(),
    "UTF-16": json.dumps(_GOOD).encode("utf-16"),
    "Latin-1": '{"format": 1, "é": 1}'.encode("latin-1"),
    "huge": b'{"format": 1, "files": [' + b" " * MOST_BYTES + b"]}",
    "millions of empty lists": b"[" + b"[]," * 8_000_000 + b"[]]",
    "millions of words": b"[" + b'"ab",' * 6_000_000 + b"1]",
    "a path of a million letters": _changed("files", 0, "path", value=json.dumps("a" * 1_000_000)),
    "a thousand folders": _changed("files", 0, "path", value=json.dumps("a/" * 1000 + "b")),
    "an end that is text": _changed("end", value='"ended"'),
    "a time of 1e999": _changed("end", value='{"how":"ended","exit_code":0,"wall_s":1e999,"core_s":null}'),
    "an exit code of a hundred digits": _changed(
        "end", value='{"how":"ended","exit_code":%s,"wall_s":1,"core_s":null}' % ("9" * 100)
    ),
    "files that are a number": _changed("files", value="7"),
    "files that are text": _changed("files", value='"text"'),
}


@pytest.mark.parametrize("content", MANIFESTS.values(), ids=MANIFESTS.keys())
def test_a_hostile_manifest_is_corrupt(content: bytes) -> None:
    with pytest.raises(CorruptResultsError) as caught:
        _read(content)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", ["n" * 300, "f/" * 50 + "n" * 300, "n" * 255 + "/" + "m" * 256])
def test_a_name_that_is_too_long_here_is_reported_as_such_and_not_as_a_full_disk(tmp_path: Path, name: str) -> None:
    packed, values = pack({"good": b"1", name: b"2"})
    (tmp_path / "archive").write_bytes(packed)
    with pytest.raises(CorruptResultsError, match=r"nn.*cannot be unpacked here: File name too long"):
        unpack_archive(tmp_path / "archive", read_manifest(values), tmp_path / "job")
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(st.sampled_from([("format",), ("archive",), ("archive", "size"), ("files",), ("files", 0), ("end",)]), _values)
def test_whatever_stands_in_a_manifest_it_is_a_manifest_or_corrupt(place: tuple[Any, ...], value: Any) -> None:
    content = _changed(*place, value=json.dumps(value))
    try:
        manifest = _read(content)
    except CorruptResultsError:
        return
    assert manifest.archive.size >= 0
    assert all(item.size >= 0 for item in manifest.files.values())


@given(st.binary(max_size=200))
def test_whatever_bytes_a_manifest_is(content: bytes) -> None:
    with pytest.raises(CorruptResultsError):
        _read(content)


_FILES = {"good": b"1", "folder/" + "long" * 40: b"22", "x": b"3" * 600}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(min_value=0, max_value=5000), st.binary(min_size=1, max_size=30)), min_size=1, max_size=4
    ),
    st.integers(min_value=0, max_value=20_000),
)
def test_whatever_is_changed_in_an_archive_it_is_whole_or_corrupt(
    changes: list[tuple[int, bytes]], length: int
) -> None:
    import zstandard

    packed, values = pack(_FILES)
    plain = bytearray(zstandard.ZstdDecompressor().decompressobj().decompress(packed))
    for at, content in changes:
        plain[at : at + len(content)] = content
    packed = compress(bytes(plain[:length]))
    values["archive"] = {"size": len(packed), "crc32c": crc32c(packed)}
    with tempfile.TemporaryDirectory() as folder:
        archive, into = Path(folder, "archive"), Path(folder, "job")
        archive.write_bytes(packed)
        try:
            unpack_archive(archive, read_manifest(values), into)
        except CorruptResultsError:
            assert [path.name for path in Path(folder).iterdir()] == ["archive"]
            return
        assert {str(path.relative_to(into)): path.read_bytes() for path in into.rglob("*") if path.is_file()} == _FILES
