#!/bin/sh
# Writing state files of a job on a disk that may be full. Sourced.

# write_line FILE LINE: gives up what the job manager has put by beside the state files, as much as it takes.
write_line() {
  until { printf '%s\n' "$2" >"$1"; } 2>/dev/null; do
    release_reserve "$1" || return 1
  done
}

# release_reserve FILE: one file of the reserve beside FILE; fails if there is none left.
release_reserve() {
  for reserve in "${1%/*}"/reserve.*; do
    if [ -e "$reserve" ] && rm -f -- "$reserve"; then return 0; fi
  done
  return 1
}
