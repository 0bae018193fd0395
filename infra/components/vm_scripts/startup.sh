#!/bin/sh
# Startup script of a batch's VM, run as root at every boot: starts the watchdog that ends the VM when nobody watches its
# batch any more. An image from before the watchdog has none; then maxRunDuration is what ends the VM.
watchdog="${OPENSEES_HPC_PREFIX:-/opt/opensees-hpc}/bin/watch-lease"
if [ ! -x "$watchdog" ]; then
  echo "no lease is watched: there is no $watchdog in this image"
  exit 0
fi
exec "$watchdog" --start
