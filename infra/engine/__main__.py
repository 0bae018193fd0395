"""``python -m infra.engine [--cache FOLDER]``: find or install a Pulumi CLI and print the folders for PATH, joined by colons."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from infra.engine.cli import Request, default_cache, ensure_engine
from infra.engine.pins import load_pins
from infra.engine.process import run_main


def print_folders(cache: Path | None) -> None:
    request = Request(pins=load_pins(), cache=cache or default_cache(), environment=os.environ)
    engine = ensure_engine(request)
    sys.stdout.write(os.pathsep.join(str(folder) for folder in engine.folders) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.engine", description=__doc__)
    parser.add_argument("--cache", type=Path, help="the user's cache folder of this project")
    arguments = parser.parse_args()
    return run_main(lambda: print_folders(arguments.cache))


if __name__ == "__main__":
    raise SystemExit(main())
