#!/bin/sh
# manager.sh VERB ...: the requests of a client to a workspace. The current folder is the workspace.
#
#   submit TOKEN HOW          a tar of job folders and a file .complete on stdin; one line a job: ok|exists|none|busy|failed <tab> NAME <tab> WHY
#                             HOW: new (the IDs must be free), again (they must be those of jobs that are over), any (either)
#   status [NAME...]          one line a job: NAME <tab> AFTER <tab> STATE (see common.sh); all jobs without names
#   cancel NAME...            end them and wait until they have ended, then as status
#   delete NAME...            one line a job: ok|none|busy|failed <tab> NAME <tab> WHY
#   show NAME FILE LINES      status line, then the size of the job's FILE, then its last LINES lines
#   read NAME FILE BYTES      the same, but its first BYTES bytes
#   extend SECONDS NAME...    move the deadline to SECONDS after the beginning of each job
#   sweep                     remove what broken connections left behind

here=${0%/*}
. "$here/common.sh"
boot_id
read_own_identity
# A verb runs to its end even if the client disconnects.
trap '' HUP PIPE

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

# answer NAME OUTCOME [WHY]
answer() {
  printf '%s\t%s\t%s\n' "$2" "$1" "${3-}"
}

print_state() {
  read_state "$1"
  read_after "$1"
  printf '%s\t%s\t%s\n' "$1" "$AFTER" "$STATE"
}

status() {
  if [ $# -gt 0 ]; then
    for name in "$@"; do print_state "$name"; done
    return
  fi
  for folder in */.job/; do
    [ -d "$folder" ] && print_state "${folder%/.job/}"
  done
  return 0
}

# Claim the right to move the folder of job $1 away. The claim is inside the folder that was checked, so that it cannot apply to a
# newer one of the same name, and a claimer that died is followed by the next number. Fails with OUTCOME and WHY set.
claim_folder() {
  OUTCOME=none
  WHY=
  workspace=$PWD
  cd -- "./$1/.job" 2>/dev/null || return 1
  OUTCOME=busy
  WHY='another client is replacing or deleting it'
  number=1
  taken=1
  while claimer=$(readlink "claim.$number"); do
    # shellcheck disable=SC2086
    if is_alive $claimer; then break; fi
    number=$((number + 1))
  done
  if [ -z "$claimer" ]; then
    ln -s "$$ $OWN_START $BOOT" "claim.$number" 2>/dev/null
    taken=$?
  fi
  cd -- "$workspace" || exit 1
  return $taken
}

# Whether job $1 is over. Fails with OUTCOME and WHY set.
is_over() {
  read_state "$1"
  read_after "$1"
  OUTCOME=busy
  WHY=$STATE
  case $STATE in running | submitted) return 1 ;; esac
  WHY='the command after its end is still running'
  [ "$AFTER" != running ]
}

# Move the folder of job $1 to the bin if $2 (is_over or may_replace) allows it. It is called again after the claim: another client may have put
# a new job there in between. Fails with OUTCOME and WHY set.
retire_folder() {
  "$2" "$1" && claim_folder "$1" && "$2" "$1" || return 1
  mkdir -p "$bin" && mv -- "./$1" "$bin/" && return 0
  OUTCOME=failed
  WHY='it cannot be moved away'
  return 1
}

empty_bin() {
  [ ! -e "$bin" ] || rm -rf -- "$bin"
}

delete() {
  bin="$CONTROL/bin.$$"
  for name in "$@"; do
    if retire_folder "$name" is_over; then answer "$name" ok; else answer "$name" "$OUTCOME" "$WHY"; fi
  done
  empty_bin || fail "the folders could not be removed"
}

submit() {
  token=$1
  mode=$2
  new="$CONTROL/new.$token.$$"
  bin="$CONTROL/bin.$token.$$"
  trap 'rm -rf -- "$new"' EXIT
  trap 'exit 1' INT TERM
  if ! { mkdir -p "$new" && echo "$$ $OWN_START $BOOT" >"$new/.owner"; }; then
    fail "the workspace cannot be written to, or its disk is full"
  fi
  tar -xmof - -C "$new" || fail "the files of the jobs could not be unpacked"
  [ -e "$new/.complete" ] || fail "the files of the jobs did not arrive completely"
  rm -f "$new/.complete"
  for folder in "$new"/*/; do
    prepare "${folder%/}" || fail "the disk is full"
  done
  # All in one call: each of these renames fails if another folder is there. The others are checked one by one.
  set -- "$new"/*
  [ "$mode" = again ] || mv -- "$@" ./ 2>/dev/null
  placed=$#
  for folder in "$@"; do
    name=${folder##*/}
    if [ ! -e "$folder" ] || place "$folder" "$name"; then
      set -- "$@" "$name"
    else
      answer "$name" "$OUTCOME" "$WHY"
    fi
  done
  shift "$placed"
  [ $# -eq 0 ] || launch "$@"
  empty_bin
}

# Record which process puts the folder in place, and create the reserve that is given up if the disk is full at the job's end.
prepare() {
  {
    printf '%s\n' "$$ $OWN_START $BOOT" >"$1/.job/placed" &&
      put_by "$1/.job" &&
      write_hand_tool "$1/.job/manager.sh"
  } 2>/dev/null
}

put_by() {
  for number in 1 2 3 4; do
    printf '%4095s\n' '' >"$1/reserve.$number" || return 1
  done
}

# A script for a user on this host who is in the job's folder.
write_hand_tool() {
  case $here in
    /*) return 0 ;;
  esac
  # shellcheck disable=SC2016
  printf '%s\n' '#!/bin/bash' '# This job by hand: bash manager.sh status|cancel|delete' \
    'folder=$(cd -- "$(dirname -- "$0")/.." && pwd)' \
    'cd -- "$folder/.." && exec /bin/sh '"$here"'/manager.sh "${1:-status}" "${folder##*/}"' >"$1"
}

# Move folder $1 into place as job $2: a rename, which fails if another one is there. Fails with OUTCOME and WHY set.
place() {
  if [ "$mode" = again ] && read_state "$2" && [ "$STATE" = none ] && ! was_tried "$2"; then
    OUTCOME=none
    WHY='it was not submitted before'
    return 1
  fi
  for _ in 1 2 3; do
    if mv -- "$1" ./ 2>/dev/null; then return 0; fi
    if ! retire_folder "$2" may_replace && [ "$OUTCOME" != none ]; then return 1; fi
  done
  OUTCOME=failed
  WHY='it could not be moved into place'
  return 1
}

# Whether the folder of job $1 was put there by this very submit: by an earlier try, whose answer did not reach the client.
is_ours() {
  read_token "$1" && [ "${LINE#*.}" = "$token" ]
}

# Whether an earlier try of this submit has put the folder of job $1 there, or moved an older one away, before it was killed.
was_tried() {
  if is_ours "$1"; then return 0; fi
  for old in "$CONTROL/bin.$token".*/"$1"; do
    [ ! -d "$old" ] || return 0
  done
  return 1
}

# Whether the folder in the place of job $1 may be moved away. Fails with OUTCOME and WHY set; none: it does not exist any more.
may_replace() {
  OUTCOME=none
  WHY=
  [ -e "$1" ] || return 1
  OUTCOME=failed
  WHY='something that is not a job has this name in the workspace, or it cannot be written to'
  [ -d "$1/.job" ] || return 1
  read_state "$1"
  if is_ours "$1"; then
    OUTCOME=ok
    WHY=
    # An earlier try has succeeded, unless it was killed before the job had begun.
    [ "$STATE" = none ]
    return
  fi
  OUTCOME=exists
  WHY=$STATE
  [ "$STATE" = none ] || [ "$mode" != new ] || return 1
  is_over "$1"
}

# Start the launcher, detached from the connection. Ignored signals are inherited, and programs must be able to end by this one: "yes | head -1".
start_launcher() (
  trap - HUP PIPE
  if ! setsid -f /bin/sh "$here/launcher.sh" "$PWD" "$@" </dev/null >/dev/null 2>&1; then
    if command -v setsid >/dev/null; then
      setsid /bin/sh "$here/launcher.sh" "$PWD" "$@" </dev/null >/dev/null 2>&1 &
    else
      nohup /bin/sh "$here/launcher.sh" "$PWD" "$@" </dev/null >/dev/null 2>&1 &
    fi
  fi
)

# Start the named jobs, and wait until each has a supervisor.
launch() {
  start_launcher "$@"
  tries=0
  for name in "$@"; do
    until read_line "$name/.job/run"; do
      tries=$((tries + 1))
      if [ $tries -gt 3000 ]; then break; fi
      pause 0.01
    done
    if read_line "$name/.job/run"; then
      answer "$name" ok
    else
      answer "$name" failed 'its supervisor did not start'
    fi
  done
}

cancel() {
  for name in "$@"; do
    read_state "$name"
    case $STATE in running | submitted) break ;; esac
  done
  case $STATE in running | submitted) stop "$@" ;; esac
  status "$@"
}

# Run stop.sh detached from the connection, and wait for it.
stop() {
  if command -v setsid >/dev/null; then
    setsid /bin/sh "$here/stop.sh" "$@" </dev/null >/dev/null 2>&1 &
  else
    nohup /bin/sh "$here/stop.sh" "$@" </dev/null >/dev/null 2>&1 &
  fi
  wait
}

print_size() {
  print_state "$1"
  file="./$1/$2"
  if [ -f "$file" ]; then wc -c <"$file" | tr -d ' '; else echo -; fi
}

show() {
  print_size "$1" "$2"
  if [ "$3" -gt 0 ] && [ -f "$file" ]; then tail -n "$3" -- "$file"; fi
  return 0
}

read_file() {
  print_size "$1" "$2"
  if [ -f "$file" ]; then head -c "$3" -- "$file"; fi
  return 0
}

extend() {
  seconds=$1
  shift
  for name in "$@"; do
    if [ -e "$name/.job/timeout_s" ]; then write_state "./$name/.job/timeout_s" "$seconds"; fi
    print_state "$name"
  done
}

sweep() {
  for new in "$CONTROL"/new.*; do
    [ -d "$new" ] || continue
    # shellcheck disable=SC2086
    if read_line "$new/.owner"; then
      is_alive $LINE && continue
    elif read_start "${new##*.}"; then
      continue # it is being created: its creator's PID is in the name, and nothing else is written down yet
    fi
    rm -rf -- "$new"
  done
  for old in "$CONTROL"/bin.*; do
    if [ -d "$old" ] && ! read_start "${old##*.}"; then rm -rf -- "$old"; fi
  done
  return 0
}

verb=$1
shift
case $verb in
  submit | status | cancel | delete | show | extend | sweep) "$verb" "$@" ;;
  read) read_file "$@" ;;
  *) fail "manager.sh: unknown verb $verb" ;;
esac
