#!/bin/sh
# Writing state files of a job on a disk that may be full. Sourced.

# write_line FILE LINE: writes the line; while the disk is full it deletes reserve files, which the job manager keeps beside the
# state files.
write_line() {
  until { printf '%s\n' "$2" >"$1"; } 2>/dev/null; do
    release_reserve "$1" || return 1
  done
}

# release_reserve FILE: deletes one reserve file beside FILE; fails if none is left.
release_reserve() {
  for reserve in "${1%/*}"/reserve.*; do
    if [ -e "$reserve" ] && rm -f -- "$reserve"; then return 0; fi
  done
  return 1
}
