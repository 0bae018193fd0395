#!/bin/sh
# after_end.sh JOB_FOLDER: repeats what the supervisor runs after the end of the job, and records its exit code.
# For a job whose push failed or was interrupted.
# shellcheck source=packer/vm/lib/reserve.sh
. "${0%/*}/reserve.sh"
cd -- "$1" || exit 125
read -r OPENSEES_HPC_JOB_END OPENSEES_HPC_JOB_EXIT _ <.job/end || exit 125
export OPENSEES_HPC_JOB_END OPENSEES_HPC_JOB_EXIT
log=.job/after.log
{ true >>"$log"; } 2>/dev/null || log=/dev/null
exec </dev/null >>"$log" 2>&1
(
  # shellcheck disable=SC1091
  . ./.job/on_end
  exec "$@"
)
code=$?
write_line ".job/after.$$.tmp" "$code" && mv -f ".job/after.$$.tmp" .job/after
exit "$code"
