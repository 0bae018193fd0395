# Sourced or run by tests in bash and zsh: source the bootstrap that $1 names, and print what that changed.
# shellcheck shell=bash
list_options() {
  set +o
}

list_functions() {
  if [ -n "${ZSH_VERSION-}" ]; then
    # shellcheck disable=SC2296
    eval 'print -l ${(ok)functions}'
  else
    compgen -A function
  fi
}

options_before=$(list_options)
functions_before=$(list_functions)
arguments_before=$*
# shellcheck disable=SC1090
. "$1"
echo "pulumi=$(command -v pulumi)"
echo "python3=$(command -v python3)"
if [ "$(list_options)" = "$options_before" ]; then echo options=same; fi
if [ "$*" = "$arguments_before" ]; then echo arguments=same; fi
if [ "$(list_functions)" = "$functions_before" ]; then echo functions=; fi
case "$(set)" in
  *opensees_hpc_*=* | *ENGINE_STAMP=*) echo variables=left ;;
  *) echo variables= ;;
esac
path_before=$PATH
# shellcheck disable=SC1090
. "$1"
if [ "$PATH" = "$path_before" ]; then echo twice=same; fi
