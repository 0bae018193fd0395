#!/bin/sh
# after_end.sh JOB_FOLDER: runs again what the job's supervisor runs after its end, and writes down how that went.
# For a job whose push failed, or was cut off.
cd -- "$1" || exit 125
read -r OPENSEES_HPC_JOB_END OPENSEES_HPC_JOB_EXIT _ <.job/end || exit 125
export OPENSEES_HPC_JOB_END OPENSEES_HPC_JOB_EXIT
exec </dev/null >>.job/after.log 2>&1
(
  # shellcheck disable=SC1091
  . ./.job/on_end
  exec "$@"
)
code=$?
printf '%s\n' "$code" >".job/after.$$.tmp" && mv -f ".job/after.$$.tmp" .job/after
exit "$code"
