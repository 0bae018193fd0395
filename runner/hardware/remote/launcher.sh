#!/bin/sh
# launcher.sh WORKSPACE JOB...: start jobs whose folders are in place. Runs in a session of its own; forks one supervisor a job and ends.
# A supervisor starts the program, waits for it, watches its deadline, decides how it ended, and runs the command that follows.

here=${0%/*}
. "$here/common.sh"
cd -- "$1" || exit 1
shift
boot_id
DEFAULT_SIGNALS=
# Processes in the background of a shell ignore SIGINT, and MPI programs then hang at the first one they are sent. HUP and PIPE: if the SSH server or
# nohup ignores them.
if env --default-signal=INT,QUIT,HUP,PIPE true 2>/dev/null; then DEFAULT_SIGNALS=--default-signal=INT,QUIT,HUP,PIPE; fi

supervise() {
  job=$1
  # A handler, not "ignore": what is ignored would be inherited by the program.
  trap : HUP INT USR1
  read_own_pid
  # A cancel ends the program, not this process: a signal to this one comes from a host that is shutting down, and the program with it.
  trap '[ -e "$job/.job/end" ] || write_once "$job/.job/request" shutdown' TERM
  read_start "$OWN_PID"
  read_uptime
  began=$UPTIME
  write_line "$job/.job/run" "$OWN_PID $START $BOOT $began" || exit 1
  if [ -n "$gate" ]; then
    # Closed by exec: a shell keeps a copy of a descriptor that it closes for one command only, and would wait for itself.
    exec 9>&-
    read -r _ <"$gate"
  fi
  token=
  log_name=
  timeout_s=
  grace_s=5
  reap=0
  # shellcheck disable=SC1090,SC1091
  . "./$job/.job/limits"
  watch_pid=
  if [ -n "$timeout_s" ]; then
    watch_deadline "$job" </dev/null >/dev/null 2>&1 &
    watch_pid=$!
  fi
  # shellcheck disable=SC2119
  (become_program) </dev/null >>"$job/$log_name" 2>&1
  code=$?
  read_uptime
  ended=$UPTIME
  read_times
  [ -z "$watch_pid" ] || kill "$watch_pid" 2>/dev/null
  await_sweep || end_leftovers
  decide_end "$job" "$code" "$began $ended $children_user $children_system"
  run_afterwards "$job"
}

# The canceller looks for the processes of all its jobs together: wait until it has found none of this job. Fails if there is no canceller (any more).
await_sweep() {
  [ -e "$job/.job/request" ] && write_line "$job/.job/over" "$code" || return 1
  set -- 0.02 0.05 0.1 0.2 0.4
  until [ -e "$job/.job/swept" ]; do
    # shellcheck disable=SC2086
    read_line "$job/.job/ending" && is_alive $LINE || return 1
    pause "${1:-1}"
    [ $# -eq 0 ] || shift
  done
}

# Report the end to the client that requested it only when all processes have ended.
end_leftovers() {
  if [ "$reap" = 1 ]; then stop_tree "$token" "$grace_s"; fi
  while [ -e "$job/.job/request" ] && ! stop_tree "$token" "$grace_s"; do :; done
}

# Runs in a process of its own and becomes the job's program, whose environment has the job's token from then on.
# shellcheck disable=SC2120 # "$@" is what settings sets
become_program() {
  cd -- "./$job" || exit 125
  read_own_pid
  read_start "$OWN_PID"
  write_line .job/program "$OWN_PID $START" || exit 125
  # Cancelled before it began. A request that comes after this look is repeated until the end is written, and finds the program.
  if [ -e .job/request ]; then exit 143; fi
  # shellcheck disable=SC1091
  . ./.job/settings
  # shellcheck disable=SC2086
  exec env $DEFAULT_SIGNALS "OPENSEES_HPC_JOB=$token" "$@"
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
  until [ -e "$1/.job/end" ]; do
    stop_tree "$token" "$grace_s"
    pause 0.1
  done
}

run_afterwards() {
  [ -e "$1/.job/on_end" ] || return 0
  after_log="$1/.job/after.log"
  { true >"$after_log"; } 2>/dev/null || after_log=/dev/null
  (
    cd -- "$1" || exit 125
    read -r OPENSEES_HPC_JOB_END OPENSEES_HPC_JOB_EXIT _ <.job/end
    export OPENSEES_HPC_JOB_END OPENSEES_HPC_JOB_EXIT
    # shellcheck disable=SC1091
    . ./.job/on_end
    exec "$@"
  ) </dev/null >"$after_log" 2>&1
  write_line "$1/.job/after" "$?"
}

# Many jobs start their work when all of them have a supervisor; else the first ones would take the processor from those that are not started yet. The
# gate opens when its only writer, this process, closes it or ends.
gate=
if [ $# -gt 4 ] && mkfifo "$CONTROL/gate.$$" 2>/dev/null; then
  gate="$CONTROL/gate.$$"
  exec 9<>"$gate"
fi
for job in "$@"; do
  supervise "$job" </dev/null >/dev/null 2>&1 &
done
if [ -n "$gate" ]; then
  tries=0
  for job in "$@"; do
    until read_line "$job/.job/run" || [ $tries -gt 1000 ]; do
      tries=$((tries + 1))
      pause 0.01
    done
  done
  # First the name, then the writer: a reader that opens it in between would wait for ever.
  rm -f "$gate"
  exec 9>&-
fi
exit 0
