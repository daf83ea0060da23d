#!/usr/bin/env bash
# Writes the specifications of the named chains beside this script: `chain-spec/generate.sh PATH_TO_LABORA_NODE`.
#
# labora-NAME.json is whole, with the genesis runtime in it: another machine joins with `--chain labora-local.json`. It
# differs with every build of the runtime and is not committed. labora-NAME.genesis.json is the same without the runtime:
# what a person reads.
set -euo pipefail
node=$1
cd "$(dirname "$0")"
for chain in dev local; do
	"$node" export-chain-spec --chain "$chain" --output "labora-$chain.json" 2>/dev/null
	python3 - "labora-$chain" <<-'END'
		import json, sys
		name = sys.argv[1]
		with open(name + ".json") as file:
		    spec = json.load(file)
		del spec["genesis"]["runtimeGenesis"]["code"]
		with open(name + ".genesis.json", "w") as file:
		    json.dump(spec, file, indent=2)
		    file.write("\n")
	END
done
