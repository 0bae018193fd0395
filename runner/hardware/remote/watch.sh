#!/bin/sh
# watch.sh NAME FROM NAME FROM ...: report what happens to jobs, as frames on stdout, until all of them have ended. The current folder is the workspace.
#   FROM is a number: the job's log from that byte on, then its end.   FROM is "end": only its end.   FROM is "after": its end once the command
#   that runs after it has ended too.
# Frames (I counts the pairs of arguments from 1):
#   L I N <newline> N bytes of log      E I AFTER STATE (see common.sh; state "none": no such job)      K (nothing new; shows that someone listens)

here=${0%/*}
. "$here/common.sh"
boot_id
OWN_PID=$$
LARGEST_FRAME=262144
TICK_S=0.1
LAZY_TICK_S=0.2
LAZY_AFTER_TICKS=100
LOOK_EVERY_TICKS=20
SPEAK_EVERY_TICKS=40

if stat -c %s / >/dev/null 2>&1; then
  print_sizes() { stat -L -c %s -- "$@" 2>/dev/null; }
elif stat -f %z / >/dev/null 2>&1; then
  print_sizes() { stat -L -f %z -- "$@" 2>/dev/null; }
else
  print_sizes() { for log in "$@"; do wc -c <"$log" 2>/dev/null; done; }
fi

count=0
active=
while [ $# -ge 2 ]; do
  count=$((count + 1))
  active="$active $count"
  # shellcheck disable=SC2034 # used by eval
  log_name=
  # shellcheck disable=SC1090
  [ ! -e "./$1/.job/limits" ] || . "./$1/.job/limits"
  eval "name_$count=./\$1 from_$count=\$2 log_$count=./\$1/\$log_name"
  shift 2
done

# Sets name, from and log for number $1.
recall() {
  name=
  eval "name=\$name_$1 from=\$from_$1 log=\$log_$1"
}

# Find out which jobs are over, before the sizes are read, so that these include all that they wrote. Sets over (numbers) and the logs as "$@" of the caller.
note_ended() {
  over=' '
  for i in $active; do
    recall "$i"
    if [ ! -e "$name/.job/end" ]; then
      # Check more closely now and then: the supervisor may have been killed, or the folder deleted.
      [ "$look" = 1 ] || continue
      read_state "$name"
      case $STATE in running | submitted) continue ;; esac
    fi
    if [ "$from" = after ]; then
      read_after "$name"
      [ "$AFTER" != running ] || continue
    fi
    over="$over$i "
  done
}

send_log() {
  # $1 number, $2 size; sends at most one frame
  length=$(($2 - from))
  moved=1
  if [ $length -gt $LARGEST_FRAME ]; then
    length=$LARGEST_FRAME
    hurry=1
  fi
  printf 'L %s %s\n' "$1" "$length" || exit 0
  tail -c "+$((from + 1))" -- "$log" | head -c "$length" || exit 0
  from=$((from + length))
  eval "from_$1=$from"
}

# One round over all jobs. Needs the logs' sizes in the order of active (only those with a log).
send_news() {
  left=
  for i in $active; do
    recall "$i"
    case $from in
      end | after) size=0 from=0 ;;
      *)
        size=${1-}
        [ $# -eq 0 ] || shift
        if [ "${size:-0}" -gt "$from" ]; then send_log "$i" "$size"; fi
        ;;
    esac
    case $over in
      *" $i "*)
        if [ "$from" -ge "${size:-0}" ]; then
          read_after "$name"
          read_state "$name"
          printf 'E %s %s %s\n' "$i" "$AFTER" "$STATE" || exit 0
          moved=1
          continue
        fi
        ;;
    esac
    left="$left $i"
  done
  active=$left
}

quiet=0
ticks=0
look=1
while [ -n "$active" ]; do
  note_ended
  set --
  for i in $active; do
    recall "$i"
    case $from in end | after) continue ;; esac
    [ -f "$log" ] || log=/dev/null
    set -- "$@" "$log"
  done
  sizes=
  [ $# -eq 0 ] || sizes=$(print_sizes "$@")
  wanted=$#
  # shellcheck disable=SC2086
  set -- $sizes
  moved=0
  hurry=0
  # If a log vanished in between, the numbers do not fit the jobs: the next round will.
  [ $# -ne $wanted ] || send_news "$@"
  look=0
  ticks=$((ticks + 1))
  [ $hurry = 0 ] || continue
  quiet=$((moved == 1 ? 0 : quiet + 1))
  [ $((ticks % LOOK_EVERY_TICKS)) -ne 0 ] || look=1
  if [ $((ticks % SPEAK_EVERY_TICKS)) -eq 0 ]; then printf 'K\n' || exit 0; fi
  if [ $quiet -lt $LAZY_AFTER_TICKS ]; then pause $TICK_S; else pause $LAZY_TICK_S; fi
done
