#!/bin/sh
# The remote side's knowledge of jobs: names of the state files, identity of processes, how a state is read and decided.
# Sourced by the other scripts. POSIX shell and core utilities only (dash, bash, BusyBox ash).
#
# A job is a folder of the workspace with a folder .job in it:
#   limits     sh, written by the client: first "token=N.HEX" (marks the job's processes by the environment variable OPENSEES_HPC_JOB, and distinguishes one
#              submit of an ID from another), then log_name, output_name, grace_s, timeout_s, reap
#   settings   sh, written by the client: what to run
#   on_end     sh, written by the client if there is something to run after the end
#   timeout_s  the deadline, if there is one, in seconds from the beginning
#   placed     who put the folder there: "PID START BOOT"
#   run        who supervises it: "PID START BOOT UPTIME_S" (the job has begun)
#   program    the program itself: "PID START"
#   ending     who cancels it: "PID START BOOT"
#   over       the program has ended (written only on request)
#   swept      the canceller has found no process of it after that
#   request    "cancel", "timeout" or "shutdown" (of the host): the first one counts
#   end        how it ended, decided once: "HOW EXIT_CODE OUTPUT BEGAN ENDED USER_TIME SYSTEM_TIME"; HOW: ended, cancelled, timeout, lost
#   status     how the program ended, as the programs of our image report it: "exit CODE" or "signal NUMBER" (OpenSees jobs; nothing here reads it)
#   after      exit code of the command that runs after the end
#   reserve.N  room for one state file each, should the disk be full: request, over, end, after (read by the programs on the VM's image, too)
# Files that several may write (request, end) are linked into place, and replaced ones are moved there, so that they are complete or absent. A file that one
# process writes once is a single short line, which counts only with its newline: for a reader that is equivalent, and it costs no process.

# shellcheck disable=SC2034 # for the scripts that source this one
CONTROL=.opensees-hpc

boot_id() {
  BOOT=
  if [ -r /proc/sys/kernel/random/boot_id ]; then
    read -r BOOT </proc/sys/kernel/random/boot_id
  else
    BOOT=$(sysctl -n kern.boottime 2>/dev/null | tr -d ' ')
  fi
  BOOT=${BOOT:-unknown}
}

# Sets UPTIME (seconds; only differences mean something). The wall clock is used only where the kernel gives no uptime.
read_uptime() {
  if { read -r UPTIME _ </proc/uptime; } 2>/dev/null; then return; fi
  UPTIME=$(date +%s)
}

# Sets START (and LIVE, the state letter) for process $1; fails if there is none.
read_start() {
  if [ -r /proc/self/stat ]; then
    { IFS= read -r stat_line <"/proc/$1/stat"; } 2>/dev/null || return 1
    # The name in parentheses may hold spaces and parentheses; what follows the last one is fixed.
    stat_line=${stat_line##*) }
    # shellcheck disable=SC2086
    set -- $stat_line
    [ $# -ge 20 ] || return 1
    LIVE=$1
    shift 19
    START=$1
  else
    START=$(ps -o lstart= -p "$1" 2>/dev/null | tr -s ' ' '_')
    LIVE=$(ps -o stat= -p "$1" 2>/dev/null)
    [ -n "$START" ]
  fi
}

# Sets OWN_PID and OWN_START. Not for a subshell: $$ is the parent's there.
read_own_identity() {
  OWN_PID=$$
  read_start $$
  OWN_START=$START
}

# Sets OWN_PID: in a subshell $$ is the parent's.
read_own_pid() {
  if { read -r OWN_PID _ </proc/self/stat; } 2>/dev/null; then return; fi
  OWN_PID=$(sh -c 'echo $PPID')
}

# Whether process $1 with start time $2 of boot $3 still runs. A zombie does not.
is_alive() {
  [ "$3" = "$BOOT" ] && read_start "$1" && [ "$2" = "$START" ] || return 1
  case $LIVE in Z* | X*) return 1 ;; esac
}

# Give up one file of the reserve beside state file $1, so that another one fits. Fails if there is none left.
release_reserve() {
  for reserve in "${1%/*}"/reserve.*; do
    if [ -e "$reserve" ] && rm -f -- "$reserve"; then return 0; fi
  done
  return 1
}

# Write the one line $2 to file $1, which has no other writer. On a full disk as much of the reserve is given up as necessary.
write_line() {
  until { printf '%s\n' "$2" >"$1"; } 2>/dev/null; do
    release_reserve "$1" || return 1
  done
}

# Write $2 to file $1, completely or not at all, replacing its content. On a full disk as much of the reserve is given up as necessary.
write_state() {
  until { printf '%s\n' "$2" >"$1.$OWN_PID.tmp"; } 2>/dev/null && mv -f -- "$1.$OWN_PID.tmp" "$1"; do
    rm -f -- "$1.$OWN_PID.tmp"
    release_reserve "$1" || return 1
  done
}

# Write $2 to file $1 unless it exists. Fails if it exists or cannot be written.
write_once() {
  while :; do
    if { printf '%s\n' "$2" >"$1.$OWN_PID.tmp"; } 2>/dev/null && ln -- "$1.$OWN_PID.tmp" "$1" 2>/dev/null; then
      rm -f -- "$1.$OWN_PID.tmp"
      return 0
    fi
    rm -f -- "$1.$OWN_PID.tmp"
    [ ! -e "$1" ] || return 1
    release_reserve "$1" || break
  done
  # No hard links here: creating without clobbering is as exclusive, but a reader may see the file before it is complete.
  (
    set -C
    printf '%s\n' "$2" >"$1"
  ) 2>/dev/null
}

# Sets LINE to the first line of file $1; fails if there is no file or no complete line.
read_line() {
  { IFS= read -r LINE <"$1"; } 2>/dev/null
}

# Decide how the job in folder $1 ended: exit code $2 (or "-" if unknown), times "BEGAN ENDED USER SYSTEM" $3. The first decision counts.
decide_end() {
  output_there=0
  output_name=
  # shellcheck disable=SC1090,SC1091
  [ ! -e "./$1/.job/limits" ] || . "./$1/.job/limits"
  if [ -n "$output_name" ] && [ -e "$1/$output_name" ]; then output_there=1; fi
  how=ended
  [ "$2" != - ] || how=lost
  if read_line "$1/.job/request"; then
    case $LINE in cancel) how=cancelled ;; timeout) how=timeout ;; shutdown) how=lost ;; esac
  fi
  write_once "$1/.job/end" "$how $2 $output_there $3"
}

# Sets LINE to the token of the job in folder $1.
read_token() {
  read_line "$1/.job/limits" && LINE=${LINE#token=}
}

# Sets STATE for the job in folder $1:
#   end LINE | running | submitted | none       (none: no job, or one that was put there but never begun)
read_state() {
  STATE=none
  if read_line "$1/.job/end"; then
    STATE="end $LINE"
  elif read_line "$1/.job/run"; then
    read_run_state "$1" "$LINE"
  elif read_line "$1/.job/placed"; then
    # shellcheck disable=SC2086
    if is_alive $LINE; then STATE=submitted; fi
    # It may have begun between the two looks.
    if read_line "$1/.job/run"; then STATE=running; fi
  fi
}

read_run_state() {
  STATE=running
  # shellcheck disable=SC2086
  set -- "$1" $2
  if is_alive "$2" "$3" "$4"; then return; fi
  # It has no supervisor any more. It is running if its program is; else it has ended without a witness.
  if read_line "$1/.job/program"; then
    # shellcheck disable=SC2086
    if is_alive $LINE "$4"; then return; fi
  elif [ "$4" = "$BOOT" ]; then
    # The supervisor was killed when it had just begun: give the program time to write down its PID.
    read_uptime
    [ $((${UPTIME%%.*} - ${5%%.*})) -ge 5 ] || return
  fi
  if ! read_line "$1/.job/end"; then
    read_uptime
    [ "$4" = "$BOOT" ] || UPTIME=$5
    decide_end "$1" - "$5 $UPTIME - -"
    # On a full disk it cannot be written, but it is reported.
    read_line "$1/.job/end" || LINE="$how - $output_there $5 $UPTIME - -"
  fi
  STATE="end $LINE"
}

# Sets AFTER: - (nothing to run after the end), running, lost, or the exit code.
read_after() {
  AFTER=-
  [ -e "$1/.job/on_end" ] || return 0
  AFTER=running
  if ! read_line "$1/.job/after"; then
    # shellcheck disable=SC2086
    if read_line "$1/.job/run" && set -- "$1" $LINE && is_alive "$2" "$3" "$4"; then return; fi
    read_line "$1/.job/after" || LINE=lost
  fi
  AFTER=$LINE
}

pause() {
  sleep "$1" 2>/dev/null || sleep 1
}

# Print "mark PID TOKEN" for the processes that have the token of a job in their environment, and "process PID PARENT STATE" for all.
list_processes() {
  if [ -d /proc/self ]; then
    LC_ALL=C grep -zsoHe '^OPENSEES_HPC_JOB=.*' /proc/[0-9]*/environ 2>/dev/null | tr '\0' '\n' |
      sed -n 's|^/proc/\([0-9]*\)/environ:OPENSEES_HPC_JOB=|mark \1 |p'
    cat /proc/[0-9]*/stat 2>/dev/null | sed 's/^\([0-9]*\) (.*) \(.\) \([0-9]*\) .*/process \1 \3 \2/'
  else
    ps -axEww -o pid=,command= 2>/dev/null |
      awk 'match($0, /OPENSEES_HPC_JOB=[^ ]*/) { print "mark", $1, substr($0, RSTART + 17, RLENGTH - 17) }'
    ps -axo pid=,ppid=,stat= | sed 's/^/process /'
  fi
}

# From lines "job NAME TOKEN", then what list_processes prints: print "NAME PID" for each living process of these jobs. A job's processes are those that have its
# token and all their descendants.
walk_trees() {
  awk -v self="$OWN_PID" '
    $1 == "job" { names[$3] = $2 }
    $1 == "mark" && ($3 in names) && $2 != self { owner[$2] = names[$3] }
    $1 == "process" { parent[$2] = $3; state[$2] = $4 }
    END {
      do {
        grown = 0
        for (pid in parent) if (!(pid in owner) && (parent[pid] in owner)) { owner[pid] = owner[parent[pid]]; grown = 1 }
      } while (grown)
      for (pid in owner) if ((pid in state) && state[pid] !~ /^[ZX]/) print owner[pid], pid
    }'
}

# Print the PIDs of all processes of the job with token $1.
find_tree() {
  { printf 'job x %s\n' "$1" && list_processes; } | walk_trees | sed 's/^x //'
}

# End every process of the job with token $1: SIGTERM, $2 seconds of grace, then SIGKILL. Fails if some are left 10 s after that.
stop_tree() {
  signalled=' '
  read_uptime
  kill_at=$((${UPTIME%%.*} + $2))
  while tree=$(find_tree "$1") && [ -n "$tree" ]; do
    read_uptime
    now=${UPTIME%%.*}
    if [ "$now" -ge $((kill_at + 10)) ]; then return 1; fi
    for pid in $tree; do
      if [ "$now" -ge "$kill_at" ]; then
        kill -KILL "$pid" 2>/dev/null
      else
        case $signalled in *" $pid "*) ;; *) kill -TERM "$pid" 2>/dev/null && signalled="$signalled$pid " ;; esac
      fi
    done
    pause 0.05
  done
  return 0
}
