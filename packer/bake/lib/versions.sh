#!/usr/bin/env bash
# The versions of everything in an image, as one JSON object of strings. Sourced after common.sh.

# print_versions PREFIX
print_versions() {
  local prefix=$1 python
  python=$(<"$prefix/etc/python-path")
  OPENSEES_HPC_OS=$(read_os) "$python" -E - "$prefix" <<'PYTHON'
import importlib.metadata
import json
import os
import pathlib
import platform
import sys

prefix = pathlib.Path(sys.argv[1])
installed = importlib.metadata.distributions(path=[str(prefix / "lib" / "site-packages")])
wanted = {"mpich", "numpy", "openseespy", "openseespylinux", "openseespymac", "google-cloud-storage", "zstandard"}
versions = {
    "recipe": (prefix / "etc" / "recipe").read_text().strip(),
    "os": os.environ["OPENSEES_HPC_OS"],
    "machine": platform.machine(),
    "python": platform.python_version(),
}
versions |= {found.name.lower(): found.version for found in installed if found.name.lower() in wanted}
built = prefix / "etc" / "built.json"
if built.is_file():
    versions |= json.loads(built.read_text())
print(json.dumps(versions, sort_keys=True))
PYTHON
}
