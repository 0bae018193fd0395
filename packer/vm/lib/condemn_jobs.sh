#!/bin/sh
# condemn_jobs.sh WORKSPACE: records for every running job that, when it ends, the VM has ended it.
# The job manager (runner/hardware/remote) reads these requests; an existing one stays.
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
