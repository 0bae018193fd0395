"""The role by which VMs delete themselves: the stack of a batch has it from the base."""

from __future__ import annotations

import json

from runner.commands.batch_run import analysis_spec
from runner.commands.definition import load_definition
from runner.model import names
from tests.commands.batches.client import Client

KEY = "opensees-hpc:self_delete_role"


def test_whoever_goes_on_with_a_batch_grants_the_role_that_it_began_with(client: Client) -> None:
    project, name = client.context.settings.project, client.batch.name
    client.define("a")
    loaded = load_definition(client.context, name)
    assert analysis_spec(client.context, loaded, []).config[KEY] == f"projects/{project}/roles/other"
    stored = client.batch.store.get_control(name, names.DEFINITION)
    assert stored is not None
    values = json.loads(stored.content)
    del values["self_delete_role"]
    client.batch.store.put_control(name, names.DEFINITION, json.dumps(values).encode())
    older = load_definition(client.context, name)
    assert analysis_spec(client.context, older, []).config[KEY] == names.self_delete_role(project)
