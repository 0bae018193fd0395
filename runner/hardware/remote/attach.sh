#!/bin/sh
# attach.sh HOW PATH DIGEST: create or find a workspace, put our scripts into it (a tar on stdin) and list its jobs.
# HOW: given (PATH is the workspace, created if it does not exist) or beside (PATH is a folder; a new workspace is created in it).
# Prints the folder in which the session began, the workspace's absolute path, then what "manager.sh status" prints.

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

random_name() {
  printf 'exauq'
  LC_ALL=C tr -dc 'A-Za-z0-9' </dev/urandom | head -c 5
}

# shellcheck disable=SC2088 # a literal tilde
case $2 in
  '~') path=$HOME ;;
  '~/'*) path=$HOME/${2#'~/'} ;;
  /*) path=$2 ;;
  *) path=./$2 ;;
esac
began_in=$PWD
if [ "$1" = beside ]; then
  # BusyBox wants six characters to replace.
  if made=$(mktemp -d "$path/exauqXXXXX" 2>/dev/null); then
    path=$made
  else
    path=$path/$(random_name)
    mkdir -- "$path" || fail "no workspace can be created there"
  fi
else
  mkdir -p -- "$path" || fail "the workspace cannot be created"
fi
cd -- "$path" || fail "the workspace cannot be entered"
control=.opensees-hpc
if [ ! -e "$control/$3/manager.sh" ]; then
  new=$control/scripts.$$
  if ! { mkdir -p -- "$new" && tar -xmof - -C "$new"; }; then
    rm -rf -- "$new"
    fail "the workspace cannot be written to, or its disk is full"
  fi
  # Another client may do the same at this moment: then our folder lands inside theirs, and is removed.
  mv -- "$new" "$control/$3" && rm -rf -- "$control/$3/scripts.$$"
  [ -e "$control/$3/manager.sh" ] || fail "our scripts could not be put into the workspace"
fi
case $PWD$began_in in
  *'
'*) fail "a path with a newline in it cannot be a workspace" ;;
esac
printf '%s\n%s\n' "$began_in" "$PWD"
/bin/sh "$control/$3/manager.sh" sweep </dev/null
exec /bin/sh "$control/$3/manager.sh" status
