#!/usr/bin/env bash
# enter.sh ROOT USER [--show HOST GUEST]… -- NAME=VALUE… COMMAND…: runs a command as USER of the system in the folder ROOT,
# with the file systems that a kernel mounts at boot, and with folders of the host shown read-only at other places.
#
# To be run by `unshare --mount --pid --fork --kill-child --propagation private`: what is mounted here is nowhere else, and
# whatever the command leaves running ends with it. This shell is the system's process 1, which collects orphans.
set -euo pipefail

show() {
  mkdir -p "$2"
  mount --bind "$1" "$2"
  mount -o remount,bind,ro "$2"
}

root=$1 user=$2
shift 2
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
while [[ $1 == --show ]]; do
  show "$2" "$root$3"
  shift 3
done
shift
code=0
chroot --userspec="$user:$user" "$root" /usr/bin/env -i "$@" </dev/null || code=$?
exit "$code"
