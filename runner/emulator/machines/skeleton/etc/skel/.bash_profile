# shellcheck shell=bash disable=SC1090
for script in "${OPENSEES_HPC_PREFIX%/opt/opensees-hpc}"/etc/profile.d/*.sh; do
  . "$script"
done
unset script
if [ -f ~/.bashrc ]; then
  . ~/.bashrc
fi
