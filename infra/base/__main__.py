"""Entry point of ``pulumi up`` by hand in this folder; the tasks run the same ``declare`` as an inline program."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from infra.base.program import declare

declare()
