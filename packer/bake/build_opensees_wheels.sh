#!/usr/bin/env bash
# sudo bash build_opensees_wheels.sh N: the OpenSees-MP engine from OpenSeesPy's and MPICH's wheels, in minutes.
# Needs no root if OPENSEES_HPC_PREFIX names a folder of your own. Running it again changes only what is out of date.
# `build_opensees_wheels.sh N check` lists what this computer lacks for it, and does nothing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=packer/bake/lib/common.sh
source "$here/lib/common.sh"
# shellcheck source=packer/bake/lib/python.sh
source "$here/lib/python.sh"

main() {
  local prefix installer python
  read_cores "$@" >/dev/null # every recipe takes it; there is nothing to compile here
  prefix=$(read_prefix)
  require_basics
  if [[ ${2:-} == check ]]; then
    installer=$(find_python)
    require_localhost "$installer"
    return
  fi
  if is_own_image; then
    log_step "system packages"
    # shellcheck disable=SC2046
    install_packages $(python_packages)
  fi
  installer=$(find_python)
  python=$(find_base_python "$installer")
  log_step "wheels for $python into $prefix"
  install_wheels "$installer" "$here/wheels/requirements.lock" "$prefix"
  record_python "$python" "$prefix"
  log_step "commands"
  install_commands "$prefix" wheels "$python"
  log_step "done: $prefix/bin"
}

main "$@"
