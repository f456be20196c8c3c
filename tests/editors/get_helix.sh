#!/usr/bin/env bash
# get_helix.sh PREFIX: Helix in PREFIX, nothing outside of it is touched; prints its path. Does nothing where it is there
# already. HELIX_SUITE names another Debian than the one it comes from.
set -euo pipefail
prefix=${1:?usage: get_helix.sh PREFIX}
# shellcheck source=tests/editors/debian.sh
. "$(dirname "$0")/debian.sh"
mkdir -p "$prefix"
prefix=$(cd "$prefix" && pwd)
root=$prefix/helix/root helix=$prefix/helix/root/usr/lib/hx/hx

if [ ! -e "$prefix/helix/.complete" ] || ! "$helix" --version >/dev/null 2>&1; then
    unpack "$prefix/helix" "${HELIX_SUITE:-forky}" hx
    rebase "$prefix" "$root" "$helix"
    "$helix" --version >&2
    touch "$prefix/helix/.complete"
fi
echo "$helix"
