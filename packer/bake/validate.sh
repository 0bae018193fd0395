#!/usr/bin/env bash
# validate.sh: runs known models with the commands of the image and compares their results. One line per check; the last line
# is a JSON object with the versions of everything in the image, also written to PREFIX/etc/versions.json. Exit 1 on any mismatch.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=packer/bake/lib/common.sh
source "$here/lib/common.sh"
# shellcheck source=packer/bake/lib/versions.sh
source "$here/lib/versions.sh"

failures=0

report() {
  local verdict=$1
  shift
  printf '%-4s %s\n' "$verdict" "$*"
  if [[ $verdict == FAIL ]]; then
    failures=$((failures + 1))
  fi
}

is_close() {
  awk -v got="$1" -v want="$2" -v tolerance="$3" '
    BEGIN { gap = got - want; if (gap < 0) gap = -gap; size = want < 0 ? -want : want; exit !(gap <= tolerance * size) }'
}

# run_model COMMAND MODEL: runs it in a folder of its own, with its output in $work/MODEL.log and a time limit, so that a hang is
# a failure.
run_model() {
  local words
  read -r -a words <<<"$1"
  (cd "$work" && run_limited "$prefix/bin/${words[0]}" "${words[@]:1}" "$here/../models/$2") >"$work/$2.log" 2>&1
}

run_limited() {
  if command -v timeout >/dev/null; then timeout --kill-after=5 120 "$@"; else "$@"; fi
}

run_model_once() {
  local command=$1 model=$2 code=0
  [[ ! -f $work/$model.log ]] || return 0
  run_model "$command" "$model" || code=$?
  if ((code != 0)); then
    report FAIL "$command $model ended with $code"
    tail -n 20 "$work/$model.log"
  fi
}

check_digits() {
  local command model name expected tolerance got
  while IFS=$'\t' read -r command model name expected tolerance; do
    [[ $command != '#'* ]] || continue
    run_model_once "$command" "$model"
    got=$(awk -v name="$name" '$1 == "CHECK" && $2 == name { print $3 }' "$work/$model.log")
    if [[ $got =~ ^-?[0-9] ]] && is_close "$got" "$expected" "$tolerance"; then
      report ok "$name = $got"
    else
      report FAIL "$name = ${got:-missing}, expected $expected within $tolerance ($command $model)"
    fi
  done <"$here/../models/expected.tsv"
}

check_error_ends_run() {
  local code=0
  run_model "openseesmp 2" error.tcl || code=$?
  if ((code == 1)); then
    report ok "an error on one rank ends all, with $code"
  else
    report FAIL "an error on one rank ended with $code, expected 1"
  fi
}

check_push_results() {
  if "$prefix/bin/push-results" --help >"$work/push.log" 2>&1; then
    report ok "push-results loads"
  else
    report FAIL "push-results does not load"
    tail -n 20 "$work/push.log"
  fi
}

# This script runs as root, jobs do not.
check_readable_by_all() {
  local closed
  closed=$(find "$prefix" ! -type l \( ! -perm -004 -o -perm -100 ! -perm -001 \) | head -n 5)
  if [[ -z $closed ]]; then
    report ok "every user can read and run what is installed"
  else
    report FAIL "not every user can read or run: ${closed//$'\n'/, }"
  fi
}

main() {
  prefix=$(read_prefix)
  [[ -x $prefix/bin/openseesmp ]] || fail "nothing is installed in $prefix"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  check_digits
  check_error_ends_run
  check_push_results
  check_readable_by_all
  ((failures == 0)) || fail "$failures checks failed"
  print_versions "$prefix" >"$work/versions.json"
  write_file "$prefix/etc/versions.json" <"$work/versions.json"
  cat "$work/versions.json"
}

main "$@"
