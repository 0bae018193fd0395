#!/usr/bin/env bash
# Helpers of the build scripts. Sourced, with `here` set to the folder packer/bake.

here=${here:?}
# Users of the image must be able to read what is installed, however strict root's own umask is.
umask 022
step_started=$SECONDS

# log_step MESSAGE: prints which step begins, and how long the previous one took.
log_step() {
  printf '[%4ds +%ds] %s\n' "$SECONDS" "$((SECONDS - step_started))" "$*"
  step_started=$SECONDS
}

fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

require_variables() {
  local name
  for name in "$@"; do
    [[ -n ${!name:-} ]] || fail "$name is not set"
  done
}

# Tools that the scripts of a bake, and later those of the jobs, need. Minimal systems lack some of them.
require_basics() {
  local name missing=()
  for name in awk find gzip sed tar; do
    command -v "$name" >/dev/null || missing+=("$name")
  done
  ((${#missing[@]} == 0)) || fail "not on PATH: ${missing[*]}; install the packages that have them (awk: gawk, find: findutils)"
}

# The number of cores to build with, from the first argument.
read_cores() {
  [[ ${1:-} =~ ^[1-9][0-9]*$ ]] || fail "usage: sudo bash ${0##*/} N   (N: cores to build with)"
  printf '%s\n' "$1"
}

default_prefix=/opt/opensees-hpc

read_prefix() {
  local prefix=${OPENSEES_HPC_PREFIX:-$default_prefix}
  [[ $prefix == /* && $prefix != / ]] || fail "OPENSEES_HPC_PREFIX must be an absolute folder, not '$prefix'"
  printf '%s\n' "${prefix%/}"
}

# Whether this system becomes an image. System packages are installed only then: any other prefix is on a user's own computer.
is_own_image() {
  [[ $(read_prefix) == "$default_prefix" && $(id -u) == 0 ]]
}

read_os() {
  # shellcheck source=/dev/null
  (source /etc/os-release && printf '%s-%s\n' "$ID" "${VERSION_ID:-0}") 2>/dev/null || uname -s -r | tr ' A-Z' '-a-z'
}

package_tool() {
  local tool
  for tool in apt-get dnf; do
    if command -v "$tool" >/dev/null; then
      printf '%s\n' "$tool"
      return
    fi
  done
  fail "this system has neither apt-get nor dnf: install the packages by hand"
}

install_packages() {
  case $(package_tool) in
    apt-get)
      export DEBIAN_FRONTEND=noninteractive
      apt-get -o DPkg::Lock::Timeout=300 -qq update
      apt-get -o DPkg::Lock::Timeout=300 -qq install --no-install-recommends -y "$@"
      ;;
    dnf) dnf install -y -q --setopt=install_weak_deps=False "$@" ;;
  esac
}

sha256_of() {
  if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

# fetch_verified URL SHA256 FILE: downloads unless FILE already exists with that checksum.
fetch_verified() {
  local url=$1 sha256=$2 file=$3
  if [[ ! -f $file || $(sha256_of "$file") != "$sha256" ]]; then
    curl --fail --silent --show-error --location --retry 5 --retry-delay 2 --output "$file.part" "$url"
    mv "$file.part" "$file"
  fi
  [[ $(sha256_of "$file") == "$sha256" ]] || fail "checksum of $url is $(sha256_of "$file"), expected $sha256"
}

# write_file FILE: writes stdin to a new file. An existing file of that name may share its contents with another tree (a
# copy that consists of hard links), which must not change.
write_file() {
  rm -f "$1"
  mkdir -p "$(dirname "$1")"
  cat >"$1"
}

# install_commands PREFIX RECIPE PYTHON: installs what stays on the VM, and records which engine it drives. Compiled now,
# because users of the image may not write there later.
install_commands() {
  local prefix=$1 recipe=$2 python=$3
  rm -rf "${prefix:?}/bin" "$prefix/lib/opensees_hpc" "$prefix/share" "$prefix/lib/native/driver.tcl" "$prefix"/lib/*.sh
  mkdir -p "$prefix/bin" "$prefix/lib" "$prefix/share"
  cp "$here"/../vm/bin/* "$prefix/bin/"
  cp -R "$here"/../vm/lib/. "$prefix/lib/"
  cp "$here/../LICENSES.md" "$prefix/share/"
  chmod 755 "$prefix"/bin/* "$prefix/lib/native_rank.sh"
  rm -rf "$prefix/lib/opensees_hpc/__pycache__"
  "$python" -E -m compileall -q "$prefix/lib/opensees_hpc"
  write_file "$prefix/etc/recipe" <<<"$recipe"
  open_to_all "$prefix"
}

# open_to_all PREFIX: lets jobs and systemd read and run what is installed, whatever its modes and SELinux types were.
open_to_all() {
  chmod a+rx "$1"
  chmod -R a+rX "$1/bin" "$1/etc" "$1/lib" "$1/share"
  if is_own_image && command -v restorecon >/dev/null; then restorecon -R "$1"; fi
}
