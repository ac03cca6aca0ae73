#!/bin/sh
# Finishes a build; Trunk calls it. Shrinks the wasm, moves the programs into a folder named after their
# content, so that no browser ever mixes two versions, and tells the service worker what there is.
set -eu
cd "$TRUNK_STAGING_DIR"
[ "${TRUNK_PROFILE:-release}" = release ] && sh "$TRUNK_SOURCE_DIR/www/optimise.sh"
programs="app.js app_bg.wasm start.js style.css reader.js reader_bg.wasm
  reader_pictures.js reader_pictures_bg.wasm worker_cpu.js worker_cpu_bg.wasm
  worker_cpu_fma.js worker_cpu_fma_bg.wasm worker_gpu.js worker_gpu_bg.wasm"
# Half of what JavaScript costs a user are names and blanks.
if [ "${TRUNK_PROFILE:-release}" = release ] && command -v esbuild >/dev/null 2>&1; then
  for script in ./*.js; do
    esbuild --minify --log-level=warning "$script" --outfile="$script.small"
    mv "$script.small" "$script"
  done
fi
# shellcheck disable=SC2086
version=$(cat $programs texts/*.json | sha256sum | cut -c 1-12)
mkdir "app-$version"
mv texts "app-$version/"
# shellcheck disable=SC2086
mv $programs "app-$version/"
sed -e "s|\./style\.css|style.css|; s|\"/*style\.css\"|\"app-$version/style.css\"|; s|\"start\.js\"|\"app-$version/start.js\"|" index.html > index.new
mv index.new index.html
grep -q "app-$version/style.css" index.html
grep -q "app-$version/start.js" index.html
shell="\"\", \"icon.svg\", \"manifest.webmanifest\""
for file in app.js app_bg.wasm start.js style.css; do
  shell="$shell, \"app-$version/$file\""
done
names=""
for file in $programs; do names="$names\"$file\", "; done
for file in "app-$version"/texts/*.json; do names="$names\"${file#app-*/}\", "; done
sed -e "s|^const FOLDER = .*|const FOLDER = \"app-$version\";|; s|^const PROGRAMS = .*|const PROGRAMS = [$names];|; s|^const VERSION = .*|const VERSION = \"$(cat index.html "app-$version/start.js" | sha256sum | cut -c 1-12)\";|; s|^const SHELL = .*|const SHELL = [$shell];|" \
  "$TRUNK_SOURCE_DIR/www/service-worker.js" > service-worker.js
