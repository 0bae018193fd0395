#!/bin/sh
# launcher.sh WORKSPACE JOB...: begin jobs whose folders are in place. Runs in a session of its own; forks one supervisor a job and ends.
# A supervisor starts the program, waits for it, watches its deadline, decides how it ended, and runs what is to be run afterwards.

here=${0%/*}
. "$here/common.sh"
cd -- "$1" || exit 1
shift
boot_id
DEFAULT_SIGNALS=
# Processes in the background of a shell ignore SIGINT, and MPI programs then hang at the first one they are sent.
if env --default-signal=INT,QUIT true 2>/dev/null; then DEFAULT_SIGNALS=--default-signal=INT,QUIT; fi

supervise() {
  job=$1
  # A handler, not "ignore": what is ignored would be inherited by the program.
  trap : HUP INT USR1
  read_own_pid
  # A cancel ends the program, not this: who asks this to end is a machine that goes down, and the program with it.
  trap '[ -e "$job/.job/end" ] || write_once "$job/.job/request" shutdown' TERM
  read_start "$OWN_PID"
  read_uptime
  began=$UPTIME
  write_state "$job/.job/run" "$OWN_PID $START $BOOT $began" || exit 1
  log_name=
  timeout_s=
  grace_s=5
  reap=0
  # shellcheck disable=SC1090,SC1091
  . "./$job/.job/limits"
  read_line "$job/.job/token"
  token=$LINE
  watch_pid=
  if [ -n "$timeout_s" ]; then
    watch_deadline "$job" </dev/null >/dev/null 2>&1 &
    watch_pid=$!
  fi
  # shellcheck disable=SC2086
  env $DEFAULT_SIGNALS "OPENSEES_HPC_JOB=$token" /bin/sh "$here/program.sh" "$PWD/$job" </dev/null >>"$job/$log_name" 2>&1
  code=$?
  read_uptime
  ended=$UPTIME
  read_times
  [ -z "$watch_pid" ] || kill "$watch_pid" 2>/dev/null
  if [ "$reap" = 1 ]; then stop_tree "$token" "$grace_s"; fi
  # Who asked for the end wants to hear of it when all are gone, not before.
  while [ -e "$job/.job/request" ] && ! stop_tree "$token" "$grace_s"; do :; done
  decide_end "$job" "$code" "$began $ended $children_user $children_system"
  run_afterwards "$job"
}

# Sets children_user and children_system: processor time of the program and all of its descendants that were waited for.
read_times() {
  children_user=-
  children_system=-
  times >"$job/.job/times" 2>/dev/null || return 0
  { read -r _ && read -r children_user children_system; } <"$job/.job/times" 2>/dev/null
  children_user=${children_user:--}
  children_system=${children_system:--}
}

# The deadline may be moved while the job runs: .job/timeout_s holds the seconds from its beginning.
watch_deadline() {
  read_own_pid
  sleeper=
  trap '[ -z "$sleeper" ] || kill "$sleeper" 2>/dev/null; exit 0' TERM
  while :; do
    read_line "$1/.job/timeout_s" || exit 0
    timeout_s=$LINE
    read_uptime
    # Whole seconds, and never too early.
    left=$((${began%%.*} + timeout_s + 1 - ${UPTIME%%.*}))
    [ "$left" -gt 0 ] || break
    [ "$left" -le 2 ] || left=2
    sleep "$left" &
    sleeper=$!
    wait "$sleeper"
    sleeper=
  done
  trap : TERM
  [ ! -e "$1/.job/end" ] && write_once "$1/.job/request" timeout || exit 0
  printf '\nopensees-hpc: timed out after %s s; the job is being stopped\n' "$timeout_s" >>"$1/$log_name"
  stop_tree "$token" "$grace_s"
}

run_afterwards() {
  [ -e "$1/.job/on_end" ] || return 0
  (
    cd -- "$1" || exit 125
    read -r OPENSEES_HPC_JOB_END OPENSEES_HPC_JOB_EXIT _ <.job/end
    export OPENSEES_HPC_JOB_END OPENSEES_HPC_JOB_EXIT
    # shellcheck disable=SC1091
    . ./.job/on_end
    exec "$@"
  ) </dev/null >"$1/.job/after.log" 2>&1
  write_state "$1/.job/after" "$?"
}

for job in "$@"; do
  supervise "$job" </dev/null >/dev/null 2>&1 &
done
exit 0
