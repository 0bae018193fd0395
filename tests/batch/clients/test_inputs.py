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
    return client.home / "local" / "inputs" / client.context.settings.project


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a job."""
    made = tmp_path / "model"
    (made / "records").mkdir(parents=True)
    (made / "main.tcl").write_text("puts done\n")
    (made / "records" / ("é" + "long" * 40)).write_bytes(b"1 2 3")
    (made / "tool").write_text("#!/bin/sh\n")
    (made / "tool").chmod(0o755)
    return made


def _files(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(read_tree(folder)))


def test_they_come_back_as_they_were_and_for_this_user_alone(client: Client, batch: Batch, folder: Path) -> None:
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
def test_what_somebody_else_put_there_is_not_run(client: Client, batch: Batch, folder: Path, content: bytes) -> None:
    key = save_inputs(client.context, batch.name, folder, _files(folder))
    batch.store.put_control(batch.name, f"inputs/{key}.tar.gz", content)
    with pytest.raises(CloudError, match="not those that it was begun with"):
        fetch_inputs(client.context, batch.name, key)
    assert list((_unpacked(client) / batch.name).iterdir()) == []


def test_a_file_that_went_since_it_was_looked_for_is_said(client: Client, batch: Batch, folder: Path) -> None:
    files = _files(folder)
    (folder / "tool").unlink()
    with pytest.raises(InputError, match="cannot be read any more"):
        save_inputs(client.context, batch.name, folder, files)
    assert list(_unpacked(client).iterdir()) == []


def test_they_go_with_the_batch(client: Client, batch: Batch) -> None:
    client.define("a")
    client.write_lease(detached=True)
    load_definition(client.context, batch.name)
    assert list((_unpacked(client) / batch.name).iterdir())
    with pytest.raises(HpcError, match="no VM today"):
        attach_to(client)
    assert not client.has_definition()
    assert list(_unpacked(client).iterdir()) == []


def test_one_who_begins_a_batch_keeps_no_copy_of_them(client: Client) -> None:
    with pytest.raises(HpcError, match="no VM today"):
        run(client, "a")
    assert list(_unpacked(client).iterdir()) == []


def test_what_another_client_ended_is_forgotten_here(client: Client, batch: Batch) -> None:
    client.define("a")
    load_definition(client.context, batch.name)
    forget_inputs_of_gone(client.context)
    assert [path.name for path in _unpacked(client).iterdir()] == [batch.name]
    batch.store.delete_control(batch.name)
    forget_inputs_of_gone(client.context)
    assert list(_unpacked(client).iterdir()) == []


def test_what_another_project_has_is_not_forgotten(client: Client, batch: Batch, folder: Path) -> None:
    """One home serves all projects of a target; the bucket of each knows its own batches alone."""
    key = save_inputs(client.context, batch.name, folder, _files(folder))
    here = fetch_inputs(client.context, batch.name, key)
    batch.store.delete_control(batch.name)  # the bucket of the other project never had it
    settings = client.context.settings.model_copy(update={"project": "another-project"})
    forget_inputs_of_gone(replace(client.context, settings=settings))
    assert read_tree(here) == read_tree(folder)
    forget_inputs_of_gone(client.context)
    assert not here.exists()


def test_what_a_process_here_is_at_is_not_forgotten(client: Client, batch: Batch, folder: Path) -> None:
    key = save_inputs(client.context, batch.name, folder, _files(folder))
    here = fetch_inputs(client.context, batch.name, key)
    batch.store.delete_control(batch.name)
    with client.context.journals.begin(batch.name, "run"):
        forget_inputs_of_gone(client.context)
        assert read_tree(here) == read_tree(folder)
    forget_inputs_of_gone(client.context)
    assert not here.exists()
