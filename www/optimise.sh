#!/bin/sh
# Shrinks the built wasm with wasm-opt, where there is one; finish.sh calls it.
# Results are kept by content, because the GPU worker takes minutes.
set -eu
if ! command -v wasm-opt >/dev/null 2>&1; then
  echo "wasm-opt was not found: the site works, but its programs are larger"
  exit 0
fi
# Named one by one: "all features" would write encodings that browsers do not read yet.
flags="-O2 --strip-producers --enable-simd --enable-bulk-memory --enable-bulk-memory-opt
  --enable-nontrapping-float-to-int --enable-sign-ext --enable-mutable-globals
  --enable-reference-types --enable-multivalue"
cache="$TRUNK_SOURCE_DIR/target/wasm-opt-cache"
mkdir -p "$cache"
common="$flags"
for wasm in "$TRUNK_STAGING_DIR"/*_bg.wasm; do
  # What all browsers run must do without: wasm-opt refuses an instruction that is not enabled.
  case "$wasm" in
    */worker_cpu_fma_bg.wasm) flags="$common --enable-relaxed-simd" ;;
    *) flags="$common" ;;
  esac
  key=$( (cat "$wasm"; echo "$flags"; wasm-opt --version) | sha256sum | cut -c 1-32)
  if [ ! -f "$cache/$key" ]; then
    # shellcheck disable=SC2086
    wasm-opt $flags "$wasm" -o "$cache/$key.partial"
    mv "$cache/$key.partial" "$cache/$key"
  fi
  cp "$cache/$key" "$wasm"
done
