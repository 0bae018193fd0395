#!/usr/bin/env bash
# sudo bash cleanup.sh: removes what must not be copied with an image: caches, keys, histories, identity.
# On a user's own computer (any prefix but the image's) only what is below the prefix is touched.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=packer/bake/lib/common.sh
source "$here/lib/common.sh"

clean_prefix() {
  local prefix=$1
  rm -rf "$prefix/lib/site-packages.new" "$prefix/src" "$prefix/build" "$prefix/lib/site-packages/include"
  find "$prefix" -type f \( -name '*.part' -o -name '*.log' \) -delete
}

clean_packages() {
  case $(package_tool) in
    apt-get) apt-get clean && rm -rf /var/lib/apt/lists/* ;;
    dnf) dnf clean all -q && rm -rf /var/cache/dnf ;;
  esac
}

# The identity of this VM. A copy generates its own at first boot.
clean_identity() {
  rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub /var/lib/systemd/random-seed
  rm -rf /var/lib/cloud/instances /var/lib/cloud/instance /var/lib/dhcp/*.leases
  : >/etc/machine-id
  rm -f /var/lib/dbus/machine-id
  rm -f /etc/sudoers.d/google_sudoers
}

clean_home() {
  local home=$1
  rm -rf "$home/.ssh" "$home/.cache" "$home/.config/gcloud" "$home/.gsutil"
  rm -f "$home/.bash_history" "$home/.python_history" "$home/.lesshst" "$home/.wget-hsts"
}

clean_logs() {
  find /var/log -type f -exec truncate --size 0 {} +
  rm -rf /var/log/journal/* /var/tmp/*
}

main() {
  local prefix home
  prefix=$(read_prefix)
  log_step "cleaning $prefix"
  clean_prefix "$prefix"
  if is_own_image; then
    log_step "cleaning the system"
    clean_packages
    for home in /root /home/*; do
      clean_home "$home"
    done
    clean_identity
    clean_logs
  fi
  log_step "clean"
}

main "$@"
