#!/bin/sh
# Shutdown script of a batch's VM, run as root when it is told to go: says so in the bucket, and saves what is finished.
last_act="${OPENSEES_HPC_PREFIX:-/opt/opensees-hpc}/bin/on-shutdown"
if [ -x "$last_act" ]; then
  exec "$last_act"
fi
