#!/bin/sh
# program.sh JOB_FOLDER: become the job's program. Its environment already bears the job's token, so that it and all its children can be found.

job=$1
here=${0%/*}
. "$here/common.sh"
cd -- "$job" || exit 125
OWN_PID=$$
read_start $$
write_state .job/program "$$ $START" || exit 125
# Cancelled before it began.
if [ -e .job/request ]; then exit 143; fi
# shellcheck disable=SC1091
. ./.job/settings
exec "$@"
