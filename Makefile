# Two commands do everything: `make demo` and `make test`. See the README.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# Outside the checkout, so that a fresh clone rebuilds only the workspace.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/labora/target
LABORA_CACHE ?= $(HOME)/.cache/labora
BIN := $(CARGO_TARGET_DIR)/release
# The real digits: some tests train on them.
export LABORA_MNIST := $(LABORA_CACHE)/mnist
CARGO := source $(LABORA_CACHE)/env; cargo

SEED ?= 1
ROUNDS ?= 6
# Nodes that train together.
NODES ?= 1
DATASET ?=
# FRESH=1: begin anew where an earlier demonstration was interrupted.
FRESH ?=
# How long each fuzz target runs.
SECONDS ?= 10
# For `make weights`: --steps, --repeats, --factor.
WEIGHTS ?=

# The node whose chain `make rehearse` reads.
URL ?= ws://127.0.0.1:9944

# QUICK=1: `make bench` measures little, to see that it works.
QUICK ?=

# How long `make soak` goes on.
MINUTES ?= 5

.PHONY: help setup build demo soak attack test lint bench fuzz weights rehearse spec data clean

help:
	@echo "make demo     train a digit classifier on a fresh chain (SEED= ROUNDS= NODES= DATASET=path change the run)"
	@echo "              after Ctrl-C it goes on where it was; FRESH=1 starts anew"
	@echo "make attack   play attackers against real nodes, and print what each gains and loses"
	@echo "make soak     kill, hang and damage the nodes of a training network for MINUTES=5, and check that nothing is lost"
	@echo "make test     run all tests"
	@echo "make build    build the node, the client and the demonstration"
	@echo "make lint     check formatting and run clippy"
	@echo "make bench    measure the engine beside its peers, and the verification (QUICK=1: in seconds, products of 1024^3 only)"
	@echo "make fuzz     fuzz every target for SECONDS=10"
	@echo "make weights  measure what the runtime's calls cost, and write runtime/src/weights.rs"
	@echo "make rehearse upgrade a copy of the state of the chain at URL=ws://127.0.0.1:9944 to this runtime, with every check"
	@echo "make spec     write the chain specifications into chain-spec/"

setup:
	@scripts/setup.sh

# The whole workspace: a part of it would select other features of the dependencies, and compile most of them twice.
build: setup
	@$(CARGO) build --release --locked --workspace --all-targets

data: setup
	@scripts/mnist.sh $(LABORA_MNIST)

demo: build $(if $(DATASET),,data)
	@$(BIN)/labora-demo --digits $(LABORA_MNIST) --dataset "$(DATASET)" --seed $(SEED) --rounds $(ROUNDS) --nodes $(NODES) \
		--state $(LABORA_CACHE)/demo $(if $(FRESH),--fresh)

attack: build
	@$(BIN)/labora-attack

soak: build data
	@$(BIN)/labora-soak --digits $(LABORA_MNIST) --minutes $(MINUTES) --seed $(SEED)

test: build data
	@$(CARGO) test --release --locked --workspace --no-fail-fast
	@scripts/neon.sh
	@tests/polkadot-js/run.sh $(BIN)/labora-node
	@tests/deploy/check.py $(BIN)/labora-node

lint: setup
	@cargo fmt --all --check
	@cargo fmt --manifest-path fuzz/Cargo.toml --check
	@$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings

# The engine's peers are Python packages, in a folder of their own; without them, as with QUICK=1 at first, their rows are empty.
bench: build data
	@[ -x $(LABORA_CACHE)/peers/bin/python ] || [ -n "$(QUICK)" ] || { python3 -m venv $(LABORA_CACHE)/peers \
		&& $(LABORA_CACHE)/peers/bin/pip install --quiet -r scripts/requirements.txt; } || rm -rf $(LABORA_CACHE)/peers
	@$(if $(QUICK),rm -f $(LABORA_CACHE)/measured.md,$(BIN)/labora-measure | tee $(LABORA_CACHE)/measured.md)
	@$(if $(QUICK),,$(CARGO) bench --locked --workspace --bench product)
	@$(if $(QUICK),,if command -v valgrind >/dev/null; then $(CARGO) bench --locked --workspace --bench instructions; \
		else echo "No instructions are counted: Valgrind is not installed."; fi)
	@$(CARGO) bench --locked --workspace --bench summary -- $(if $(QUICK),--quick) --python $(LABORA_CACHE)/peers/bin/python \
		--measure $(LABORA_CACHE)/measured.md --out $(CURDIR)/bench-summary.json

# A build of its own, with coverage counters.
fuzz: setup
	@scripts/fuzz.sh $(SECONDS)

# The runtime with a feature that no chain's has, as the build of the runtime makes Wasm of it, in a folder of its own.
SPECIAL_RUNTIME := $(CARGO_TARGET_DIR)/special/wasm32v1-none/release/labora_runtime.wasm
define special-runtime
	source $(LABORA_CACHE)/env; \
	export CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/special CARGO_PROFILE_RELEASE_PANIC=abort CARGO_PROFILE_RELEASE_LTO=thin; \
	export RUSTFLAGS="-C link-arg=--export-table -C link-arg=--export=__heap_base -C link-arg=--import-memory --cfg substrate_runtime"; \
	cargo $${WASM_BUILD_TOOLCHAIN:++$$WASM_BUILD_TOOLCHAIN} rustc --release --locked -p labora-runtime --lib --no-default-features \
		--features $(1) --target wasm32v1-none --crate-type cdylib
endef

weights: build
	@$(call special-runtime,runtime-benchmarks)
	@$(BIN)/labora-weights $(SPECIAL_RUNTIME) $(WEIGHTS) --weights runtime/src/weights.rs
	@rustfmt --edition 2021 runtime/src/weights.rs

# Changes nothing: the chain's state is copied.
rehearse: build
	@$(call special-runtime,try-runtime)
	@$(BIN)/labora-rehearse $(URL) $(SPECIAL_RUNTIME)

spec: build
	@chain-spec/generate.sh $(BIN)/labora-node

clean:
	rm -rf demo-output demo-summary.json attack-summary.json soak-summary.json bench-summary.json
