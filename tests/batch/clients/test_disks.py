"""What this computer's disk does to a definition on its way to and from the bucket: an error with a remedy."""

from __future__ import annotations

import pytest

from runner.errors import DiskError, InputError
from runner.jobsfile.definition import load_definition, save_definition
from tests.batch.clients.client import Client


def test_inputs_that_were_deleted_before_they_were_sent(client: Client) -> None:
    definition = client.define("a", is_saved=False)
    main = definition.inputs[0].job.folder / "main.tcl"
    main.unlink()
    with pytest.raises(InputError, match=r"main\.tcl: can no longer be read: No such file") as caught:
        save_definition(client.context, definition)
    assert "until its jobs have started" in caught.value.remedy
    assert not client.has_definition()


def test_inputs_without_disk_space_here(client: Client) -> None:
    client.define("a")
    inputs = client.state_folder / "local" / "inputs" / client.context.settings.project
    inputs.rmdir()  # empty: what this client packed had no name there
    inputs.write_text("no folder")
    with pytest.raises(DiskError, match="cannot write below") as caught:
        load_definition(client.context, client.batch.name)
    assert "OPENSEES_HPC_HOME names another folder" in caught.value.remedy
    assert "bucket" not in caught.value.remedy
