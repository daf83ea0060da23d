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
DATASET ?=

.PHONY: help setup build demo attack test lint bench spec data clean

help:
	@echo "make demo     train a digit classifier on a fresh chain (SEED= ROUNDS= DATASET=path change the run)"
	@echo "make attack   play attackers against real nodes, and print what each gains and loses"
	@echo "make test     run all tests"
	@echo "make build    build the node, the client and the demonstration"
	@echo "make lint     check formatting and run clippy"
	@echo "make bench    run the benchmarks"
	@echo "make spec     write the chain specifications into chain-spec/"

setup:
	@scripts/setup.sh

# The whole workspace: a part of it would select other features of the dependencies, and compile most of them twice.
build: setup
	@$(CARGO) build --release --locked --workspace --all-targets

data: setup
	@scripts/mnist.sh $(LABORA_MNIST)

demo: build $(if $(DATASET),,data)
	@$(BIN)/labora-demo --digits $(LABORA_MNIST) --dataset "$(DATASET)" --seed $(SEED) --rounds $(ROUNDS)

attack: build
	@$(BIN)/labora-attack

test: build data
	@$(CARGO) test --release --locked --workspace
	@tests/polkadot-js/run.sh $(BIN)/labora-node

lint: setup
	@cargo fmt --all --check
	@$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings

bench: build data
	@$(CARGO) bench --locked --workspace --bench product
	@$(BIN)/labora-measure

spec: build
	@chain-spec/generate.sh $(BIN)/labora-node

clean:
	rm -rf demo-output demo-summary.json attack-summary.json
