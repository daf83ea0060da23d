#!/usr/bin/env bash
# Writes the specifications of the named chains beside this script: `chain-spec/generate.sh PATH_TO_LABORA_NODE`.
# Each is whole, with the genesis runtime in it: another machine joins with `labora-node --chain labora-local.json`.
set -euo pipefail
node=$1
cd "$(dirname "$0")"
for chain in dev local; do
	"$node" export-chain-spec --chain "$chain" --output "labora-$chain.json" 2>/dev/null
done
