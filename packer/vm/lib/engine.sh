#!/usr/bin/env bash
# Shared by the commands in bin/: the prefix, the Python that it was built for, the environment of the engine.
# Sourced, with `prefix` set by the command from its own location, so that a copied tree works where it is.

prefix=${prefix:?}

fail() {
  local code=$1
  shift
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit "$code"
}

is_usable_python() {
  "$1" -S -E -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1])' "$python_version" 2>/dev/null
}

# Sets `python`: what OPENSEES_HPC_PYTHON names, else the interpreter the wheels were installed with, else one on PATH
# of the same version (compiled modules fit no other).
find_python() {
  python_version=$(<"$prefix/etc/python-version") || fail 69 "this prefix is incomplete: $prefix"
  local recorded candidate
  recorded=$(<"$prefix/etc/python-path")
  for candidate in "${OPENSEES_HPC_PYTHON:-}" "$recorded" python3 "python$python_version"; do
    if [[ -n $candidate ]] && is_usable_python "$candidate"; then
      python=$candidate
      return
    fi
  done
  fail 69 "needs Python $python_version, for which this image was built: install it, or set OPENSEES_HPC_PYTHON"
}

require_tcl() {
  "$python" -S -E -c 'import _tkinter' 2>/dev/null ||
    fail 69 "$python has no Tcl (_tkinter): apt-get install python3-tk" \
      "(dnf install python3-tkinter; on Rocky 8 and 9 python$python_version-tkinter)"
}

# One thread per rank unless the caller says otherwise: the cores are divided among the ranks.
export_engine() {
  local site="$prefix/lib/site-packages"
  export PYTHONPATH="$prefix/lib:$site:$prefix/lib/native${PYTHONPATH:+:$PYTHONPATH}"
  export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
}

# OpenSeesPy's wheel needs the libraries that it ships, and the launcher of the MPI that is linked into it.
export_wheels() {
  local site="$prefix/lib/site-packages"
  export LD_LIBRARY_PATH="$site/openseespylinux/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
  export OPENSEES_HPC_MPI_BIN="$site/bin"
}

# Whether the real OpenSees is installed (recipe full); its ranks are started by the MPI that it was linked with.
has_native() {
  [[ -x $prefix/lib/native/OpenSeesMP ]]
}

export_native() {
  export OPENSEES_HPC_MPI_BIN="$prefix/lib/native/mpi"
}

require_ranks() {
  [[ $1 =~ ^[1-9][0-9]{0,4}$ ]] || fail 2 "the number of ranks must be 1 or more, not '$1'"
}

require_script() {
  [[ -f $1 && -r $1 ]] || fail 66 "no such script: $1"
}
