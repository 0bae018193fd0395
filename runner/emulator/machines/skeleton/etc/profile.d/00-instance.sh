# shellcheck shell=sh
# The computer's /etc/profile has just replaced PATH: put the instance's own folders in front again.
instance_root=${OPENSEES_HPC_PREFIX%/opt/opensees-hpc}
PATH=$OPENSEES_HPC_PREFIX/bin:$instance_root/usr/local/bin:$instance_root/usr/bin:$PATH
export PATH
unset instance_root
