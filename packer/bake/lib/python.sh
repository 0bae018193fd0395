#!/usr/bin/env bash
# Which Python an image uses, and its packages from the lock file. Sourced after common.sh.

# Packages with a Python of at least 3.11, Tcl and pip. Rocky 8's own python3 is 3.6, so it gets 3.11 as well.
python_packages() {
  case $(read_os) in
    rocky-8* | rhel-8* | almalinux-8* | rocky-9* | rhel-9* | almalinux-9*)
      echo python3.11 python3.11-pip python3.11-tkinter
      ;;
    fedora-* | rocky-* | rhel-* | almalinux-*) echo python3 python3-pip python3-tkinter ;;
    *) echo python3 python3-pip python3-tk ;;
  esac
}

# why_not_usable PYTHON: prints what is wrong with it, nothing if it is usable.
why_not_usable() {
  "$1" -E -c '
import importlib.util, sys
if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    print("is %d.%d, not 3.11 to 3.13" % sys.version_info[:2])
elif importlib.util.find_spec("_tkinter") is None:
    print("has no Tcl (_tkinter)")
elif importlib.util.find_spec("pip") is None:
    print("has no pip")
' 2>/dev/null || printf 'does not run\n'
}

# Prints a usable interpreter by the name it was found under: a virtual environment has the pip that the system's own Python may lack.
find_python() {
  local candidate why=() reason
  for candidate in ${OPENSEES_HPC_PYTHON:+"$OPENSEES_HPC_PYTHON"} python3 python3.13 python3.12 python3.11; do
    command -v "$candidate" >/dev/null || continue
    reason=$(why_not_usable "$candidate")
    if [[ -z $reason ]]; then
      printf '%s\n' "$candidate"
      return
    fi
    why+=("$candidate $reason")
  done
  printf '%s\n' "${why[@]:-no python3 on PATH}" >&2
  fail "no usable Python: install $(python_packages), or name one with OPENSEES_HPC_PYTHON"
}

# require_localhost PYTHON: MPI's ranks find each other by that name, which a system without /etc/hosts does not know.
require_localhost() {
  "$1" -E -c 'import socket; socket.gethostbyname("localhost")' 2>/dev/null ||
    fail "the name localhost has no address: /etc/hosts lacks the line '127.0.0.1 localhost'"
}

# find_base_python PYTHON: the interpreter behind a shim or virtual environment, so that the image needs neither.
find_base_python() {
  "$1" -E -c 'import sys; print(getattr(sys, "_base_executable", None) or sys.executable)'
}

# install_wheels PYTHON LOCK PREFIX: installs exactly the files that the lock names into PREFIX/lib/site-packages, with the
# pip of PYTHON. What was installed from the same lock and Python stays. A tree installed with --target can be moved, a
# virtual environment cannot.
install_wheels() {
  local python=$1 lock=$2 prefix=$3
  local site="$prefix/lib/site-packages" stamp
  stamp="$(sha256_of "$lock") $("$python" -E -c 'import sys, sysconfig; print(sys.version_info[:2], sysconfig.get_platform())')"
  if [[ -f $site/.lock && $(<"$site/.lock") == "$stamp" ]]; then
    return
  fi
  rm -rf "$site.new"
  if [[ $(read_home_of_image "$prefix") == yes && -z ${PIP_CACHE_DIR:-} ]]; then
    export PIP_NO_CACHE_DIR=1
  fi
  PIP_ROOT_USER_ACTION=ignore "$python" -m pip install --disable-pip-version-check --no-input --progress-bar off \
    --quiet --no-deps --only-binary :all: --require-hashes --target "$site.new" -r "$lock"
  printf '%s\n' "$stamp" >"$site.new/.lock"
  rm -rf "$site"
  mv "$site.new" "$site"
}

# Whether files in HOME would be part of the image: this system becomes one, or one root folder holds both.
read_home_of_image() {
  local prefix=$1 root=${1%"$default_prefix"}
  if is_own_image || [[ $root != "$prefix" && ${HOME:-} == "$root"/* ]]; then echo yes; else echo no; fi
}

# record_python PYTHON PREFIX: records the version, the only one that compiled modules fit, for the commands to look for.
record_python() {
  local python=$1 prefix=$2
  "$python" -E -c 'import sys; print("%d.%d" % sys.version_info[:2])' | write_file "$prefix/etc/python-version"
  write_file "$prefix/etc/python-path" <<<"$python"
}
