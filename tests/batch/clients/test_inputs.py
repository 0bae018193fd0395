"""The input files of a batch: never whole in memory, the same for each client that attaches, gone with the batch."""

from __future__ import annotations

import os
import threading
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from runner.errors import CloudError, HpcError, InputError
from runner.jobsfile.definition import load_definition
from runner.jobsfile.input_files import fetch_inputs, forget_inputs_of_gone, save_inputs
from tests.batch.clients.client import Client
from tests.batch.clients.test_ends import attach_to, run
from tests.support.bucket import Batch, read_tree

LIMIT_S = 60.0
BIG_BYTES = 48 << 20
MOST_IN_MEMORY_BYTES = 24 << 20
CLIENTS = 6


def _unpacked(client: Client) -> Path:
    return client.state_folder / "local" / "inputs" / client.context.settings.project


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a job."""
    model = tmp_path / "model"
    (model / "records").mkdir(parents=True)
    (model / "main.tcl").write_text("puts done\n")
    (model / "records" / ("é" + "long" * 40)).write_bytes(b"1 2 3")
    (model / "tool").write_text("#!/bin/sh\n")
    (model / "tool").chmod(0o755)
    return model


def _files(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(read_tree(folder)))


def test_they_are_unpacked_unchanged_and_private_to_this_user(client: Client, batch: Batch, folder: Path) -> None:
    key = save_inputs(client.context, batch.name, folder, _files(folder))
    assert save_inputs(client.context, batch.name, folder, _files(folder)) == key
    here = fetch_inputs(client.context, batch.name, key)
    assert read_tree(here) == read_tree(folder)
    assert os.access(here / "tool", os.X_OK) and not os.access(here / "main.tcl", os.X_OK)
    assert [path.name for path in here.parent.iterdir()] == [key]
    assert all(path.stat().st_mode & 0o077 == 0 for path in _unpacked(client).rglob("*"))


def test_big_ones_are_never_whole_in_memory(client: Client, batch: Batch, folder: Path) -> None:
    with (folder / "big").open("wb") as file:
        for _ in range(BIG_BYTES >> 20):
            file.write(os.urandom(1 << 20))
    files = _files(folder)
    tracemalloc.start()
    try:
        key = save_inputs(client.context, batch.name, folder, files)
        here = fetch_inputs(client.context, batch.name, key)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MOST_IN_MEMORY_BYTES
    assert (here / "big").read_bytes() == (folder / "big").read_bytes()


def test_clients_that_attach_at_once_get_the_same_folder(client: Client, batch: Batch, folder: Path) -> None:
    for number in range(200):
        (folder / "records" / str(number)).write_text(str(number))
    key = save_inputs(client.context, batch.name, folder, _files(folder))
    barrier, got = threading.Barrier(CLIENTS), list[Path]()

    def fetch() -> None:
        barrier.wait(LIMIT_S)
        got.append(fetch_inputs(client.context, batch.name, key))

    threads = [threading.Thread(target=fetch) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert len(got) == CLIENTS
    assert set(got) == {_unpacked(client) / batch.name / key}
    assert read_tree(got[0]) == read_tree(folder)
    assert [path.name for path in got[0].parent.iterdir()] == [key]


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_altered_input_files_are_not_run(client: Client, batch: Batch, folder: Path, content: bytes) -> None:
    key = save_inputs(client.context, batch.name, folder, _files(folder))
    batch.store.put_control(batch.name, f"inputs/{key}.tar.gz", content)
    with pytest.raises(CloudError, match="not those that it began with"):
        fetch_inputs(client.context, batch.name, key)
    assert list((_unpacked(client) / batch.name).iterdir()) == []


def test_a_file_that_was_deleted_since_the_preflight_is_reported(client: Client, batch: Batch, folder: Path) -> None:
    files = _files(folder)
    (folder / "tool").unlink()
    with pytest.raises(InputError, match="can no longer be read"):
        save_inputs(client.context, batch.name, folder, files)
    assert list(_unpacked(client).iterdir()) == []


def test_they_are_deleted_with_the_batch(client: Client, batch: Batch) -> None:
    client.define("a")
    client.write_lease(detached=True)
    load_definition(client.context, batch.name)
    assert list((_unpacked(client) / batch.name).iterdir())
    with pytest.raises(HpcError, match="no VM today"):
        attach_to(client)
    assert not client.has_definition()
    assert list(_unpacked(client).iterdir()) == []


def test_the_client_that_begins_a_batch_keeps_no_copy_of_them(client: Client) -> None:
    with pytest.raises(HpcError, match="no VM today"):
        run(client, "a")
    assert list(_unpacked(client).iterdir()) == []


def test_files_of_a_batch_that_another_client_ended_are_deleted(client: Client, batch: Batch) -> None:
    client.define("a")
    load_definition(client.context, batch.name)
    forget_inputs_of_gone(client.context)
    assert [path.name for path in _unpacked(client).iterdir()] == [batch.name]
    batch.store.delete_control(batch.name)
    forget_inputs_of_gone(client.context)
    assert list(_unpacked(client).iterdir()) == []


def test_files_of_another_project_are_kept(client: Client, batch: Batch, folder: Path) -> None:
    """One state folder serves all projects of a target; the bucket of each knows its own batches alone."""
    key = save_inputs(client.context, batch.name, folder, _files(folder))
    here = fetch_inputs(client.context, batch.name, key)
    batch.store.delete_control(batch.name)  # the bucket of the other project never had it
    settings = client.context.settings.model_copy(update={"project": "another-project"})
    forget_inputs_of_gone(replace(client.context, settings=settings))
    assert read_tree(here) == read_tree(folder)
    forget_inputs_of_gone(client.context)
    assert not here.exists()


def test_files_of_a_batch_that_a_process_here_runs_are_kept(client: Client, batch: Batch, folder: Path) -> None:
    key = save_inputs(client.context, batch.name, folder, _files(folder))
    here = fetch_inputs(client.context, batch.name, key)
    batch.store.delete_control(batch.name)
    with client.context.journals.begin(batch.name, "run"):
        forget_inputs_of_gone(client.context)
        assert read_tree(here) == read_tree(folder)
    forget_inputs_of_gone(client.context)
    assert not here.exists()
