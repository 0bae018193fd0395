#!/usr/bin/env bash
# HDF5 and MUMPS, static, for OpenSees to link. Sourced after sources.sh and platforms.sh.

# As OpenSees' build page does it (https://opensees.github.io/OpenSeesDocumentation/developer/build.html, Ubuntu), but
# without compression, so that no other library has to be linked, and position-independent for the Python module.
build_hdf5() {
  local source=$1 target=$2
  [[ ! -f $target/lib/libhdf5.a ]] || return 0
  (
    cd "$source" || exit 1
    CFLAGS="-O2 -fPIC" ./configure --quiet --prefix="$target" --disable-shared --without-zlib --disable-tests
    make --silent -j "${cores:?}"
    make --silent install
  )
}

# MUMPS' own makefiles, double precision, with PORD as its ordering (README and INSTALL in its archive). gfortran from
# 10 on rejects the differing argument types of MPI calls without -fallow-argument-mismatch. Its rules write $(AR)$@, so
# AR has to end with a space.
write_mumps_settings() {
  local fortran_flags="-O2 -fPIC -DALLOW_NON_INIT"
  if (($(gfortran -dumpversion | cut -d . -f 1) >= 10)); then
    fortran_flags+=" -fallow-argument-mismatch"
  fi
  cat <<EOF
LPORDDIR = \$(topdir)/PORD/lib/
IPORD = -I\$(topdir)/PORD/include/
LPORD = -L\$(LPORDDIR) -lpord
ORDERINGSF = -Dpord
ORDERINGSC = \$(ORDERINGSF)
LORDERINGS = \$(LPORD)
IORDERINGSC = \$(IPORD)
PLAT =
LIBEXT = .a
OUTC = -o
OUTF = -o
RM = /bin/rm -f
CC = ${mpicc:?}
FC = ${mpifort:?}
FL = ${mpifort:?}
AR = ar vr # this comment keeps the blank before it, which MUMPS needs
RANLIB = ranlib
LIBBLAS = ${lapack:?} ${blas:?}
SCALAP = ${scalapack:?}
CDEFS = -DAdd_
OPTF = $fortran_flags
OPTC = -O2 -fPIC
OPTL = -O2
INCS =
LIBS = \$(SCALAP)
LIBSEQNEEDED =
EOF
}

# OpenSees looks for the headers where its own MUMPS project would have left them below MUMPS_DIR.
build_mumps() {
  local source=$1 target=$2
  [[ ! -f $target/libdmumps.a ]] || return 0
  write_mumps_settings >"$source/Makefile.inc"
  make -C "$source" --silent -j "${cores:?}" d
  mkdir -p "$target/_deps/mumps-src"
  cp -R "$source/include" "$target/_deps/mumps-src/"
  cp "$source"/lib/lib{mumps_common,pord,dmumps}.a "$target/"
}
