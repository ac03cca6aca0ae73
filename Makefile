# make serve   builds the page and serves it (installs what is missing first)
# make test    runs every check there is
# make dist    writes the optimised static site to dist/, with the JavaScript package in dist/package/
# make race    times this program and its peers by turns (downloads them first: some gigabytes)
# make gate    fails if this revision is slower than BASE=REVISION
# make fuzz    feeds every decoder of untrusted files for FUZZ_SECONDS each (needs nightly Rust)

TRUNK_VERSION := 0.21.14
BINDGEN_VERSION := $(shell sed -n '/^name = "wasm-bindgen"$$/{n;s/version = "\(.*\)"/\1/p;}' Cargo.lock)
DENY_VERSION := 0.20.2
FUZZ_VERSION := 0.13.2
FUZZ_SECONDS ?= 120
TOOLS := $(CURDIR)/target/tools
RACE := $(CURDIR)/target/race
BASE ?= HEAD~1
# Where they are built: once for what they share, without what a debugger would need or a crash would unwind.
INSTALL := CARGO_PROFILE_DEV_DEBUG=false CARGO_PROFILE_DEV_PANIC=abort CARGO_PROFILE_DEV_DEBUG_ASSERTIONS=false cargo install --locked --root $(TOOLS) --target-dir $(TOOLS)/build
export PATH := $(TOOLS)/bin:$(TOOLS)/node_modules/.bin:$(HOME)/.cargo/bin:$(PATH)

# Of make's two jobs each may use all cores: cargo would take them for a limit of its own.
unexport MAKEFLAGS

.PHONY: serve test native page dist package tools fmt lint lint-native lint-page deny unit browser race gate fuzz

serve: tools
	@echo "groundglass will be at http://127.0.0.1:8080/"
	trunk serve --release --offline

dist: tools
	trunk build --release --offline
	$(MAKE) package

# The predictor for other people's pages, with types and an example, in dist/package/.
package: tools
	cargo build --locked --profile wasm-release --target wasm32-unknown-unknown --bin package
	wasm-bindgen --target web --out-name groundglass --out-dir dist/package target/wasm32-unknown-unknown/wasm-release/package.wasm
	TRUNK_STAGING_DIR=dist/package TRUNK_SOURCE_DIR=. sh www/optimise.sh
	cp www/package/* dist/package/

# What building the page needs, beside Rust itself.
tools:
	@rustup target list --installed | grep -q wasm32-unknown-unknown || rustup target add wasm32-unknown-unknown
	@trunk --version 2>/dev/null | grep -q . || $(INSTALL) trunk --debug --version $(TRUNK_VERSION) --no-default-features
	@wasm-bindgen --version 2>/dev/null | grep -qF "$(BINDGEN_VERSION)" || $(INSTALL) --debug --path www/tools/wasm-bindgen --force
	@{ wasm-opt --version && esbuild --version && cmp -s www/tools/package-lock.json $(TOOLS)/package-lock.json; } >/dev/null 2>&1 \
	  || { mkdir -p $(TOOLS) && cp www/tools/package.json www/tools/package-lock.json $(TOOLS) && npm ci --ignore-scripts --prefix $(TOOLS); } \
	  || echo "wasm-opt, esbuild and axe-core were not found; skipping them"
	@cargo fetch --locked

# Two chains at a time, for much of either keeps one core busy: this machine's programs and their tests, and the page
# with those that drive it. A browser waits for seconds, a test that trains for minutes: the first goes before.
test: fmt
	$(MAKE) -j2 --output-sync=recurse native page

native:
	$(MAKE) lint-native
	$(MAKE) deny
	$(MAKE) unit

page:
	$(MAKE) lint-page
	$(MAKE) dist
	$(MAKE) browser

fmt:
	cargo fmt --check

lint: lint-native lint-page

# In the profile of the tests, whose macros and build scripts are then built once.
lint-native:
	cargo clippy --locked --profile checks --features webgpu --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --profile checks --features webgpu --no-deps --lib

# In that of the page, likewise: the workers, and what is built without the feature `network`.
lint-page: tools
	cargo clippy --locked --profile wasm-release --target wasm32-unknown-unknown --features webgpu --lib --bins -- -D warnings
	cargo clippy --locked --profile wasm-release --target wasm32-unknown-unknown --no-default-features --lib --bin app --bin reader --bin reader_pictures -- -D warnings

# Licences, sources and duplicates of what is linked; known weaknesses where their list can be reached.
deny:
	@cargo deny --version 2>/dev/null | grep -q . || $(INSTALL) cargo-deny --debug --version $(DENY_VERSION)
	cargo deny --log-level error --locked check licenses bans sources
	@if cargo deny --log-level error fetch db >/dev/null 2>&1; then cargo deny --log-level error check --disable-fetch advisories; \
	  else echo "SKIPPED: the list of known weaknesses was not reached"; test -z "$$GITHUB_ACTIONS"; fi

# Compiled first, as fast as may be: the browser's tests wait for it.
unit:
	cargo test --locked --profile checks --features webgpu --no-run
	nice -n 10 cargo test --locked --profile checks --features webgpu --lib --bins --test cli --test golden --test parity --test planes --test training --test data --test documents --test exports --test malformed_input --test outputs --test reference_files --test structure --test texts --test webgpu
	nice -n 10 cargo test --locked --profile checks --features webgpu --doc

# Needs dist/, Chromium and ChromeDriver; names what it skips. Screenshots go to artifacts/.
browser:
	cargo test --locked --profile checks --features webgpu --test browser

race: dist
	cargo build --locked --release
	test -x $(RACE)/bin/python || python3 -m venv $(RACE)
	$(RACE)/bin/pip install -q -r tests/race/requirements.txt
	cp tests/race/package.json tests/race/package-lock.json $(RACE) && npm ci --ignore-scripts --prefix $(RACE)
	$(RACE)/bin/python tests/race/race.py target/release/groundglass --dist dist --web $(RACE)/node_modules

gate:
	git worktree remove --force target/gate 2>/dev/null; git worktree add --detach target/gate $(BASE)
	cd target/gate && cargo build --locked --release --target-dir $(CURDIR)/target/gate-build
	cargo build --locked --release
	python3 tests/race/gate.py target/gate-build/release/groundglass target/release/groundglass

fuzz:
	@cargo fuzz --version 2>/dev/null | grep -q . || $(INSTALL) cargo-fuzz --version $(FUZZ_VERSION)
	GROUNDGLASS_SEEDS=$(CURDIR)/fuzz/seeds GROUNDGLASS_HOSTILE=1 cargo test --locked --release --test malformed_input
	for target in image dicom weights manifest; do \
	  mkdir -p fuzz/corpus/$$target; \
	  cargo +nightly fuzz run --sanitizer none $$target fuzz/corpus/$$target fuzz/seeds -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=3000 -timeout=20 -print_final_stats=1 || exit 1; \
	done
