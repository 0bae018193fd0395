#!/usr/bin/env bash
# native_rank.sh BINARY main.tcl [args]: one rank of the real OpenSeesMP (or the one process of OpenSees) under the driver.
# Output goes to the launcher's own streams, not through mpiexec, so that the last line is written before any rank is ended.
set -euo pipefail

native=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/native
binary=$1
shift
if [[ -n ${OPENSEES_HPC_OUTPUT_FDS:-} ]]; then
  IFS=, read -r output errors <<<"$OPENSEES_HPC_OUTPUT_FDS"
  exec 1>&"$output" 2>&"$errors"
fi
exec "$native/$binary" "$native/driver.tcl" "$@"
