#!/usr/bin/env bash
# Sources of the recipe `full`: fetched, checked against versions.env, unpacked. Sourced after common.sh.

read_versions() {
  # shellcheck source=packer/bake/versions.env
  source "${here:?}/versions.env"
  require_variables OPENSEES_REPOSITORY OPENSEES_COMMIT HDF5_VERSION HDF5_URL HDF5_SHA256 \
    MUMPS_VERSION MUMPS_URL MUMPS_SHA256
  [[ $OPENSEES_COMMIT =~ ^[0-9a-f]{40}$ ]] || fail "OPENSEES_COMMIT is not a full commit hash"
}

# unpack_source URL SHA256 FOLDER
unpack_source() {
  local url=$1 sha256=$2 folder=$3
  [[ ! -d $folder ]] || return 0
  fetch_verified "$url" "$sha256" "$folder.tar.gz"
  mkdir "$folder.part"
  tar -xzf "$folder.tar.gz" -C "$folder.part" --strip-components 1
  mv "$folder.part" "$folder"
}

# checkout_commit REPOSITORY COMMIT FOLDER: just that commit, without history.
checkout_commit() {
  local repository=$1 commit=$2 folder=$3
  if [[ ! -d $folder/.git ]]; then
    git init --quiet "$folder"
    git -C "$folder" remote add origin "$repository"
  fi
  git -C "$folder" fetch --quiet --depth 1 origin "$commit"
  git -C "$folder" checkout --quiet --force "$commit"
  [[ $(git -C "$folder" rev-parse HEAD) == "$commit" ]] || fail "$repository is not at $commit"
}
