# Two commands do everything: `make demo` and `make test`. See the README.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# Outside the checkout, so that a fresh clone rebuilds only the workspace.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/labora/target
LABORA_CACHE ?= $(HOME)/.cache/labora
BIN := $(CARGO_TARGET_DIR)/release
CARGO := source $(LABORA_CACHE)/env; cargo

SEED ?= 1
ROUNDS ?= 6
DATASET ?=

.PHONY: help setup build demo test lint bench spec data clean

help:
	@echo "make demo     train a digit classifier on a fresh chain (SEED= ROUNDS= DATASET=path change the run)"
	@echo "make test     run all tests"
	@echo "make build    build the node, the client and the demonstration"
	@echo "make lint     check formatting and run clippy"
	@echo "make bench    run the benchmarks"
	@echo "make spec     write the chain specifications into chain-spec/"

setup:
	@scripts/setup.sh

build: setup
	@$(CARGO) build --release --locked -p labora-node -p labora-cli -p labora-demo

data: setup
	@scripts/mnist.sh $(LABORA_CACHE)/mnist

demo: build $(if $(DATASET),,data)
	@$(BIN)/labora-demo --digits $(LABORA_CACHE)/mnist --dataset "$(DATASET)" --seed $(SEED) --rounds $(ROUNDS)

test: build data
	@$(CARGO) test --release --locked --workspace
	@tests/polkadot-js/run.sh $(BIN)/labora-node

lint: setup
	@cargo fmt --all --check
	@$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings

bench: build data
	@$(CARGO) bench --locked -p labora-engine
	@$(CARGO) run --release --locked -p labora-tests --bin labora-measure

spec: build
	@chain-spec/generate.sh $(BIN)/labora-node

clean:
	rm -rf demo-output demo-summary.json
