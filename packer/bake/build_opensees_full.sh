#!/usr/bin/env bash
# sudo bash build_opensees_full.sh N: OpenSees, OpenSeesMP and OpenSeesPy from source, with MPI, MUMPS, ScaLAPACK, Tcl
# and HDF5, on Rocky 8 or 9 and Debian or Ubuntu. `build_opensees_full.sh N plan` prints what would be done, and does nothing;
# `… N check` lists what this computer lacks for it, and does nothing either.
#
# Written from OpenSees' build pages:
#   https://opensees.github.io/OpenSeesDocumentation/developer/build.html (section Ubuntu)
#   https://github.com/OpenSees/OpenSees/blob/master/.github/workflows/build_cmake.yml and CMakeLists.txt
# The Python packages (push-results, and OpenSeesPy on several ranks) come from the same lock file as in the recipe wheels.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=packer/bake/lib/common.sh
source "$here/lib/common.sh"
# shellcheck source=packer/bake/lib/python.sh
source "$here/lib/python.sh"
# shellcheck source=packer/bake/lib/sources.sh
source "$here/lib/sources.sh"
# shellcheck source=packer/bake/lib/platforms.sh
source "$here/lib/platforms.sh"
# shellcheck source=packer/bake/lib/solvers.sh
source "$here/lib/solvers.sh"

# One line per step: what, from where, and the commit or checksum that pins it. Needs nothing but this folder.
print_plan() {
  cat <<EOF
system	$(read_os)
prefix	$prefix
cores	$cores
packages	$(python_packages) $(build_packages)
hdf5	$HDF5_VERSION $HDF5_URL sha256:$HDF5_SHA256
mumps	$MUMPS_VERSION $MUMPS_URL sha256:$MUMPS_SHA256
opensees	$OPENSEES_REPOSITORY commit:$OPENSEES_COMMIT
targets	OpenSees OpenSeesMP OpenSeesPy
wheels	wheels/requirements.lock sha256:$(sha256_of "$here/wheels/requirements.lock")
commands	openseesmp opensees openseespy push-results
EOF
}

# The largest file takes 1.9 GiB to compile: no more compilers at once than the memory holds.
limit_cores() {
  local memory_gib
  memory_gib=$(awk '/^MemTotal/ { print int($2 / 1048576) }' /proc/meminfo)
  cores=$((memory_gib / 2 < cores ? memory_gib / 2 : cores))
  cores=$((cores > 0 ? cores : 1))
}

fetch_sources() {
  mkdir -p "$sources"
  unpack_source "$HDF5_URL" "$HDF5_SHA256" "$sources/hdf5"
  unpack_source "$MUMPS_URL" "$MUMPS_SHA256" "$sources/mumps"
  checkout_commit "$OPENSEES_REPOSITORY" "$OPENSEES_COMMIT" "$sources/opensees"
}

# OpenSees' CMake looks for static libraries only (CMAKE_FIND_LIBRARY_SUFFIXES), so the shared ones that systems ship are
# passed explicitly. It copies Tcl's scripts from CONAN_LIB_DIRS_TCL, with Conan or without.
configure_opensees() {
  local python=$1 python_include python_library
  python_include=$("$python" -E -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
  python_library=$("$python" -E -c 'import sysconfig; get = sysconfig.get_config_var; print(get("LIBDIR"), get("LDLIBRARY"), sep="/")')
  cmake -S "$sources/opensees" -B "$build" \
    -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_C_COMPILER=gcc -DCMAKE_CXX_COMPILER=g++ -DCMAKE_Fortran_COMPILER=gfortran \
    -DMPI_C_COMPILER="$mpicc" -DMPI_CXX_COMPILER="$mpicxx" -DMPI_Fortran_COMPILER="$mpifort" \
    -DMUMPS_DIR="$solvers/mumps" -DHDF5_ROOT="$solvers/hdf5" \
    -DSCALAPACK_LIBRARIES="$scalapack" -DLAPACK_LIBRARIES="$lapack;$blas" \
    -DTCL_LIBRARY="$tcl_library" -DTCL_INCLUDE_PATH="$tcl_include" -DCONAN_LIB_DIRS_TCL="$tcl_scripts" \
    -DPython_EXECUTABLE="$python" -DPython_INCLUDE_DIR="$python_include" -DPython_LIBRARY="$python_library"
}

compile_opensees() {
  local target
  for target in OpenSees OpenSeesMP OpenSeesPy; do
    log_step "compiling $target on $cores cores"
    cmake --build "$build" --config Release --target "$target" --parallel "$cores"
  done
}

# The build page renames the module: Python finds it as opensees.so only.
install_opensees() {
  local native="$prefix/lib/native" name
  mkdir -p "$native"
  for name in OpenSees OpenSeesMP; do
    install -m 755 "$(first_file "$build/bin/$name" "$build/$name")" "$native/$name"
  done
  install -m 755 "$(first_file "$build/lib/OpenSeesPy.so" "$build/OpenSeesPy.so")" "$native/opensees.so"
  ln -sfn "$(dirname "$(first_file "$mpi_bin/mpiexec.hydra" "$mpi_bin/mpiexec")")" "$native/mpi"
}

record_versions() {
  "$prefix/lib/native/OpenSees" "$here/../models/version.tcl" >"$prefix/etc/opensees-version" 2>&1
  write_file "$prefix/etc/built.json" <<EOF
{"opensees": "$(tail -n 1 "$prefix/etc/opensees-version")", "opensees-commit": "$OPENSEES_COMMIT",
 "hdf5": "$HDF5_VERSION", "mumps": "$MUMPS_VERSION"}
EOF
}

main() {
  local cores prefix installer python sources build solvers
  cores=$(read_cores "$@")
  prefix=$(read_prefix)
  read_versions
  if [[ ${2:-} == plan ]]; then
    print_plan
    return
  fi
  is_own_image || fail "compiling needs root, and the image's own prefix $default_prefix (this one: $prefix)"
  require_basics
  if [[ ${2:-} == check ]]; then
    return
  fi
  limit_cores
  sources="$prefix/src" build="$prefix/build" solvers="$prefix/src/solvers"
  log_step "system packages"
  enable_repositories
  # shellcheck disable=SC2046
  install_packages $(python_packages) $(build_packages)
  locate_libraries
  log_step "sources"
  fetch_sources
  log_step "HDF5 and MUMPS"
  build_hdf5 "$sources/hdf5" "$solvers/hdf5"
  build_mumps "$sources/mumps" "$solvers/mumps"
  installer=$(find_python)
  python=$(find_base_python "$installer")
  log_step "configuring OpenSees"
  configure_opensees "$python"
  compile_opensees
  log_step "installing"
  install_opensees
  install_wheels "$installer" "$here/wheels/requirements.lock" "$prefix"
  record_python "$python" "$prefix"
  install_commands "$prefix" full "$python"
  record_versions
  log_step "done: $prefix/bin"
}

main "$@"
