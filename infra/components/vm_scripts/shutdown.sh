#!/bin/sh
# Shutdown script of a batch's VM, run as root at shutdown: reports a preemption in the bucket, and pushes finished results.
last_act="${OPENSEES_HPC_PREFIX:-/opt/opensees-hpc}/bin/on-shutdown"
if [ -x "$last_act" ]; then
  exec "$last_act"
fi
