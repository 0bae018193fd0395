"""What a client does when it has lost the lease of its batch."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from runner.batch.controller import Controller
from runner.batch.fleet import Fleet
from runner.batch.messages import Inbox, LeaseGone, LeaseLost, Message
from runner.errors import HpcError, NotFoundError
from runner.jobsfile.preflight import JobInputs
from runner.lease.keeper import WatchedError
from runner.model.batch import parse_batch
from runner.model.plan import make_plan
from runner.model.settings import Settings
from runner.results.collector import Collector
from tests.support.small_cloud import SmallCompute, small_context


@pytest.mark.parametrize(
    ("message", "kind"), [(LeaseLost(holder="somebody@there 2"), WatchedError), (LeaseGone(), NotFoundError)]
)
def test_a_batch_is_left_alone_only_if_another_client_runs_it(
    tmp_path: Path, message: Message, kind: type[HpcError]
) -> None:
    context = small_context(tmp_path, SmallCompute())
    batch = parse_batch("batch: b\njobs: [{name: a, dir: d}]\n", tmp_path / "b.yaml")
    with context.journals.begin("b", "run") as journal:
        inbox = Inbox()
        controller = Controller(
            context=context.with_journal(journal),
            plan=make_plan(batch, Settings(), name="b"),
            inputs=[JobInputs(job=job, files=(), size_bytes=0) for job in batch.jobs],
            collector=cast(Collector, SimpleNamespace()),
            fleet=cast(Fleet, SimpleNamespace(request=lambda wishes: None)),
            inbox=inbox,
            check=lambda within_s=0.0: None,
        )
        inbox.add(message)
        with pytest.raises(kind):
            controller.run()
