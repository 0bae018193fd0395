"""A process that creates a stack and is interrupted meanwhile: ``python -m tests.infra.interrupted SITE CONFIG`` (JSON both).

Prints ``begun`` when its VM is being created, and ``interrupted`` when the engine has ended.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from infra.analysis.program import declare
from runner.stacks.contract import StackProgress, StackSpec
from runner.stacks.pulumi import EngineSite
from tests.infra.engine import make_stacks


def on_progress(progress: StackProgress) -> None:
    if progress.type.endswith(":Instance") and progress.state == "started":
        print("begun", flush=True)  # noqa: T201


def main(site: str, config: str) -> int:
    folders = {key: Path(value) for key, value in json.loads(site).items()}
    location = EngineSite(
        env=dict(os.environ), cli_bin=folders["cli_bin"], infra=folders["infra"], work=folders["work"]
    )
    stacks = make_stacks(location, {"analysis": declare})
    try:
        stacks.up(StackSpec(project="analysis", name="b6", config=json.loads(config)), on_progress)
    except KeyboardInterrupt:
        print("interrupted", flush=True)  # noqa: T201
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
