#!/bin/sh
# condemn_jobs.sh WORKSPACE: writes down for every job that has not ended that its end, when it comes, is the machine's.
# The job manager (runner/hardware/remote) reads it; a request that is there already stays.
# shellcheck source=packer/vm/lib/reserve.sh
. "${0%/*}/reserve.sh"
cd -- "$1" || exit 1
for run in ./*/.job/run; do
  folder=${run%/run}
  if [ -e "$run" ] && [ ! -e "$folder/end" ]; then
    write_line "$folder/request.$$.tmp" shutdown && ln "$folder/request.$$.tmp" "$folder/request" 2>/dev/null
    rm -f "$folder/request.$$.tmp"
  fi
done
exit 0
