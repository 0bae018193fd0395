#!/usr/bin/env bash
# The packages that the recipe `full` needs on each system, and the paths of their libraries. Sourced after python.sh.
#
# MPICH on both, although OpenSees' build page has Open MPI: its launcher starts ranks as root and beyond the number of
# cores without an option, and passes file descriptors on, through which openseesmp learns how each rank ended.

build_packages() {
  case $(package_tool) in
    apt-get)
      echo git curl ca-certificates cmake make gcc g++ gfortran tcl8.6-dev libeigen3-dev liblapack-dev libblas-dev \
        mpich libmpich-dev libscalapack-mpich-dev python3-dev
      ;;
    dnf)
      echo git curl cmake make gcc gcc-c++ gcc-gfortran tcl-devel eigen3-devel lapack-devel blas-devel \
        mpich mpich-devel scalapack-mpich-devel scalapack-common "$(python_packages | cut -d ' ' -f 1)-devel"
      ;;
  esac
}

# ScaLAPACK and Eigen are in EPEL, and some of their dependencies are in the repository that Rocky disables by default.
enable_repositories() {
  [[ $(package_tool) == dnf ]] || return 0
  dnf install -y -q epel-release dnf-plugins-core
  case $(read_os) in
    *-8*) dnf config-manager --set-enabled powertools ;;
    *-9* | *-10*) dnf config-manager --set-enabled crb ;;
  esac
}

first_file() {
  local file
  for file in "$@"; do
    if [[ -e $file ]]; then
      printf '%s\n' "$file"
      return
    fi
  done
  fail "none of these files exists: $*"
}

# Sets the paths that the build needs. Globs because the folder has the architecture's name on Debian.
# shellcheck disable=SC2034
locate_libraries() {
  mpi_bin=$(dirname "$(first_file /usr/lib64/mpich/bin/mpicc /usr/bin/mpicc.mpich)")
  mpicc=$(first_file "$mpi_bin/mpicc.mpich" "$mpi_bin/mpicc")
  mpicxx=$(first_file "$mpi_bin/mpicxx.mpich" "$mpi_bin/mpicxx")
  mpifort=$(first_file "$mpi_bin/mpifort.mpich" "$mpi_bin/mpifort")
  scalapack=$(first_file /usr/lib64/mpich/lib/libscalapack.so /usr/lib/*/libscalapack-mpich.so)
  lapack=$(first_file /usr/lib64/liblapack.so /usr/lib/*/liblapack.so)
  blas=$(first_file /usr/lib64/libblas.so /usr/lib/*/libblas.so)
  tcl_library=$(first_file /usr/lib64/libtcl8.6.so /usr/lib/*/libtcl8.6.so)
  tcl_include=$(dirname "$(first_file /usr/include/tcl8.6/tcl.h /usr/include/tcl.h)")
  tcl_scripts=$(dirname "$(dirname "$(first_file /usr/share/tcl8.6/init.tcl /usr/share/tcltk/tcl8.6/init.tcl)")")
}
