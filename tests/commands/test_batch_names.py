"""Names of batches as they are typed: what can be none, and what nothing knows, is a mistake and no answer of the cloud's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runner.commands import attach, extend, results
from runner.context import Context
from runner.errors import InputError, NotFoundError
from runner.options.batches import Attach
from tests.support.cloud_inventory import BUCKET, ME, Inventory
from tests.support.command_site import CommandSite


def attach_to(context: Context, batch: str) -> None:
    attach.execute(context, Attach(batch=batch))


def extend_it(context: Context, batch: str) -> None:
    extend.execute(context, batch=batch, minutes=5)


def download(context: Context, batch: str) -> None:
    results.execute(context, batch=batch)


@pytest.mark.parametrize("name", ["../b1", "B1", "b1;reboot", "b" * 80])
@pytest.mark.parametrize("command", [attach_to, extend_it, download], ids=lambda f: f.__name__)
def test_invalid_batch_names_are_refused(
    fresh_site: CommandSite, command: Callable[[Context, str], None], name: str
) -> None:
    with pytest.raises(InputError, match="is not the name of a batch") as caught:
        command(fresh_site.context(), name)
    assert caught.value.remedy
    assert not fresh_site.is_cloud_running


def test_an_unknown_batch_cannot_be_attached_to(inventory: Inventory) -> None:
    with pytest.raises(InputError, match="no batch frame-1") as caught:
        attach_to(inventory.site.context(), "frame-1")
    assert caught.value.remedy == "`invoke status` shows what exists"
    inventory.bucket(BUCKET, ME)
    inventory.put("frames-1/job/attempt-1/COMMITTED")
    with pytest.raises(InputError) as caught:
        attach_to(inventory.site.context(), "frame-1")
    assert caught.value.remedy == "did you mean frames-1?"


@pytest.mark.parametrize("has_bucket", [True, False])
def test_a_batch_that_has_ended_is_reported_as_ended(inventory: Inventory, has_bucket: bool) -> None:
    if has_bucket:
        inventory.bucket(BUCKET, ME)
    with inventory.site.context().journals.begin("frames-1", "run") as state:
        state.end("completed")
    with pytest.raises(NotFoundError, match="it has ended, or never began") as caught:
        attach_to(inventory.site.context(), "frames-1")
    assert "invoke cleanup --batch frames-1" in caught.value.remedy
