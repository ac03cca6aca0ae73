# make serve   builds the page and serves it (installs what is missing first)
# make test    runs every check there is
# make dist    writes the optimised static site to dist/

TRUNK_VERSION := 0.21.14
BINDGEN_VERSION := $(shell sed -n '/^name = "wasm-bindgen"$$/{n;s/version = "\(.*\)"/\1/p;}' Cargo.lock)
BINARYEN_VERSION := 132
AXE_VERSION := 4.14.1
TOOLS := $(CURDIR)/target/tools
export PATH := $(TOOLS)/bin:$(TOOLS)/node_modules/.bin:$(HOME)/.cargo/bin:$(PATH)

.PHONY: serve test dist tools fmt lint unit browser

serve: tools
	@echo "groundglass will be at http://127.0.0.1:8080/"
	trunk serve --release --offline

dist: tools
	trunk build --release --offline

# What building the page needs, beside Rust itself.
tools:
	@rustup target list --installed | grep -q wasm32-unknown-unknown || rustup target add wasm32-unknown-unknown
	@trunk --version 2>/dev/null | grep -q . || cargo install trunk --version $(TRUNK_VERSION) --locked --no-default-features --features rustls --root $(TOOLS)
	@wasm-bindgen --version 2>/dev/null | grep -qF "$(BINDGEN_VERSION)" || cargo install wasm-bindgen-cli --version $(BINDGEN_VERSION) --root $(TOOLS)
	@{ wasm-opt --version && test -f $(TOOLS)/node_modules/axe-core/axe.min.js; } >/dev/null 2>&1 \
	  || npm install --no-save --prefix $(TOOLS) binaryen@$(BINARYEN_VERSION) axe-core@$(AXE_VERSION) \
	  || echo "wasm-opt and axe-core are not to be had: going on without them"
	@cargo fetch --locked

test: fmt lint unit dist browser

fmt:
	cargo fmt --check

lint: tools
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --target wasm32-unknown-unknown --lib --bins -- -D warnings
	cargo clippy --locked --target wasm32-unknown-unknown --features webgpu --lib --bins -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --lib

unit:
	cargo test --locked --release --lib --bins --test cli --test parity --test training --test exports --test hostile

# Needs dist/, Chromium and ChromeDriver; names what it skips. Screenshots go to artifacts/.
browser:
	cargo test --locked --release --test browser
