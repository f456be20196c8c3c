#!/usr/bin/env bash
# get_emacs.sh PREFIX: Emacs with lsp-mode in PREFIX, nothing outside of it is touched; prints the path of a script that
# starts it. Does nothing where it is there already. EMACS_SUITE names another Debian than the one it comes from.
set -euo pipefail
prefix=${1:?usage: get_emacs.sh PREFIX}
# shellcheck source=tests/editors/debian.sh
. "$(dirname "$0")/debian.sh"
mkdir -p "$prefix"
prefix=$(cd "$prefix" && pwd)
root=$prefix/emacs/root emacs=$prefix/emacs/emacs

if [ ! -e "$prefix/emacs/.complete" ] || ! "$emacs" --version >/dev/null 2>&1; then
    unpack "$prefix/emacs" "${EMACS_SUITE:-forky}" emacs-nox elpa-lsp-mode
    program=$(find "$root/usr/bin" -name 'emacs-nox*' | head -1)
    rebase "$prefix" "$root" "$program"
    # What a compiler needs, and texts for people: Emacs only runs here.
    rm -rf "$root"/usr/include "$root"/usr/lib/gcc "$root"/usr/lib/linux "$root"/usr/share/{doc,locale,man,info,perl}
    dumped=$(find "$root/usr/libexec/emacs" -name 'emacs-*.pdmp' | head -1)
    helpers=$(dirname "$dumped")
    data=$(find "$root/usr/share/emacs" -maxdepth 2 -name etc -type d | head -1)
    lisp=$(find "$(dirname "$data")/lisp" -type d | sort | paste -sd :)
    site=$root/usr/share/emacs/site-lisp
    mv "$site/elpa-src" "$site/elpa" # where Emacs looks for packages of the system
    cat >"$emacs" <<SCRIPT
#!/bin/sh
# It was unpacked, not installed, so it is told where its files are.
export EMACSLOADPATH='$lisp:$site' EMACSDATA='$data' EMACSDOC='$data' EMACSPATH='$helpers'
exec '$program' --dump-file='$dumped' "\$@"
SCRIPT
    chmod +x "$emacs"
    HOME=$prefix/emacs "$emacs" --quick --batch --eval '(progn
        (setq native-comp-jit-compilation nil native-comp-enable-subr-trampolines nil byte-compile-warnings nil)
        (package-initialize)
        (byte-recompile-directory (car (last command-line-args)) 0))' "$site/elpa" >/dev/null 2>&1
    "$emacs" --version | head -1 >&2
    touch "$prefix/emacs/.complete"
fi
echo "$emacs"
