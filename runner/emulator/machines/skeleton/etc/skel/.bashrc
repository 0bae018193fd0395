# shellcheck shell=bash
# Read by every shell that SSH starts, so nothing here may print.
if [ -n "${PS1-}" ]; then
  PS1='[\u@$HOSTNAME \W]\$ '
fi
