#!/bin/sh
# stop.sh NAME...: end jobs with all their processes; the other half of "manager.sh cancel", detached from the connection. The current folder is the workspace.
# One loop for all jobs, which lists the processes of the host once a round. A job gets SIGTERM, after its grace SIGKILL. It is given up 10 s after
# that, or if its supervisor does nothing for long. Where no supervisor is left, the end is decided here in its place.

here=${0%/*}
. "$here/common.sh"
boot_id
read_own_identity

# Request the end of the jobs. Sets active: the numbers of the running ones.
begin() {
  active=
  number=0
  for name in "$@"; do
    read_state "$name"
    case $STATE in running | submitted) ;; *) continue ;; esac
    token=
    # shellcheck disable=SC2034 # used by eval
    grace_s=5
    # shellcheck disable=SC1090
    [ ! -e "./$name/.job/limits" ] || . "./$name/.job/limits"
    # Before the request: it is what the supervisor looks for when it has seen one.
    write_line "$name/.job/ending" "$$ $OWN_START $BOOT"
    write_once "./$name/.job/request" cancel
    number=$((number + 1))
    active="$active $number"
    read_uptime
    now=${UPTIME%%.*}
    eval "name_$number=\$name token_$number=\$token grace_$number=\$grace_s give_up_$number=\$((now + grace_s + 15))"
    eval "kill_at_$number= kills_$number= over_$number= swept_$number= busy_$number="
  done
}

# Sets the variables of job number $1, without the number.
recall() {
  name='' grace='' give_up='' busy=''
  eval "name=\$name_$1 token=\$token_$1 grace=\$grace_$1 give_up=\$give_up_$1"
  eval "kill_at=\$kill_at_$1 kills=\$kills_$1 over=\$over_$1 swept=\$swept_$1 busy=\$busy_$1"
}

# Note which programs are over, before the processes are listed: the list then has all processes of such a job.
note_over() {
  for i in $active; do
    recall "$i"
    if [ -e "$name/.job/over" ]; then eval "over_$i=1"; fi
  done
}

print_jobs() {
  for i in $active; do
    recall "$i"
    [ -n "$swept" ] || printf 'job %s %s\n' "$i" "$token"
  done
}

# Send process $2 of job number $1 the signal that is due. Sets the job's busy to the number of this round.
send_signal() {
  recall "$1"
  eval "busy_$1=$round signalled=\${signalled_$2-}"
  if [ -z "$kill_at" ]; then
    kill_at=$((now + grace))
    eval "kill_at_$1=$kill_at"
  fi
  if [ "$now" -ge "$kill_at" ]; then
    kill -KILL "$2" 2>/dev/null
    [ -n "$kills" ] || eval "kills_$1=1 give_up_$1=$((now + 10))"
  elif [ -z "$signalled" ]; then
    kill -TERM "$2" 2>/dev/null && eval "signalled_$2=1"
  fi
}

# Remove from active the jobs that have ended or are given up; notify the supervisors of jobs without processes.
note_ended() {
  left=
  for i in $active; do
    recall "$i"
    read_state "$name"
    case $STATE in end* | none) continue ;; esac
    [ "$now" -lt "$give_up" ] || continue
    if [ -n "$over" ] && [ -z "$swept" ] && [ "$busy" != "$round" ] && write_line "$name/.job/swept" "$now"; then
      eval "swept_$i=1 give_up_$i=$((now + 15))"
    fi
    left="$left $i"
  done
  active=$left
}

begin "$@"
round=0
while [ -n "$active" ]; do
  round=$((round + 1))
  note_over
  found=$({ print_jobs && list_processes; } | walk_trees)
  read_uptime
  now=${UPTIME%%.*}
  while read -r job pid; do
    [ -z "$pid" ] || send_signal "$job" "$pid"
  done <<END
$found
END
  note_ended
  # Most jobs end at once; the others have a grace period.
  if [ -z "$active" ]; then break; fi
  if [ $round -lt 10 ]; then pause 0.02; else pause 0.1; fi
done
