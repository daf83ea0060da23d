#!/usr/bin/env bash
# Starts a development node on a free port and runs the polkadot.js test against it.
set -euo pipefail
node_binary=$1
cd "$(dirname "$0")"
if [ ! -d node_modules/@polkadot/api ]; then
	echo "installing @polkadot/api: the test is a dApp's view of the node"
	npm ci --no-audit --no-fund --loglevel=error
fi

data=$(mktemp -d)
log=$data/node.log
cleanup() {
	kill "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
	rm -rf "$data"
}
"$node_binary" --dev --mine --base-path "$data/chain" --rpc-port 0 --no-prometheus --no-telemetry \
	--listen-addr /ip4/127.0.0.1/tcp/0 --no-mdns >"$log" 2>&1 &
pid=$!
trap cleanup EXIT

for _ in $(seq 600); do
	address=$(sed -n 's/.*Running JSON-RPC server: addr=\([^, ]*\).*/\1/p' "$log" | head -n 1)
	[ -n "$address" ] && break
	kill -0 "$pid" || { tail -n 20 "$log"; exit 1; }
	sleep 0.1
done
LABORA_URL="ws://$address" node --test
