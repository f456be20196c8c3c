#!/usr/bin/env bash
# get_nvim.sh PREFIX: a Neovim 0.12 in PREFIX, nothing outside of it is touched; prints its path. Does nothing where it is
# there already. NVIM_SUITE names another Debian than the one it comes from.
set -euo pipefail
prefix=${1:?usage: get_nvim.sh PREFIX}
# shellcheck source=tests/editors/debian.sh
. "$(dirname "$0")/debian.sh"
mkdir -p "$prefix"
prefix=$(cd "$prefix" && pwd)
root=$prefix/nvim/root nvim=$prefix/nvim/root/usr/bin/nvim

if [ ! -e "$prefix/nvim/.complete" ] || ! "$nvim" --version >/dev/null 2>&1; then
    unpack "$prefix/nvim" "${NVIM_SUITE:-forky}" neovim
    rebase "$prefix" "$root" "$nvim"
    "$nvim" --version | head -1 >&2
    touch "$prefix/nvim/.complete"
fi
echo "$nvim"
