#!/usr/bin/env bash
# Helpers of the build scripts. Sourced, with `here` set to the folder packer/.

here=${here:?}
step_started=$SECONDS

# Says what begins, and how long what came before took.
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

# The number of cores to build with, from the only argument.
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

# Only an image of its own gets system packages. With another prefix we are a guest on somebody's machine.
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
  fail "neither apt-get nor dnf is here: install the packages by hand"
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

# fetch_verified URL SHA256 FILE: downloads unless FILE is there already with that checksum.
fetch_verified() {
  local url=$1 sha256=$2 file=$3
  if [[ ! -f $file || $(sha256_of "$file") != "$sha256" ]]; then
    curl --fail --silent --show-error --location --retry 5 --retry-delay 2 --output "$file.part" "$url"
    mv "$file.part" "$file"
  fi
  [[ $(sha256_of "$file") == "$sha256" ]] || fail "checksum of $url is $(sha256_of "$file"), expected $sha256"
}

# install_commands PREFIX RECIPE: what stays on the VM, and which engine it drives.
install_commands() {
  local prefix=$1 recipe=$2
  mkdir -p "$prefix/bin" "$prefix/lib" "$prefix/etc" "$prefix/share"
  cp "$here"/files/bin/* "$prefix/bin/"
  cp -R "$here"/files/lib/. "$prefix/lib/"
  cp "$here/LICENSES.md" "$prefix/share/"
  chmod 755 "$prefix"/bin/*
  printf '%s\n' "$recipe" >"$prefix/etc/recipe"
}
