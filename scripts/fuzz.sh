#!/usr/bin/env bash
# Fuzzes the targets of fuzz/ with libFuzzer, on stable Rust (docs/fuzzing.md).
#
#   scripts/fuzz.sh [SECONDS [TARGET...]]   each target, or those named, for so long (10)
#   scripts/fuzz.sh minimize                takes what runs found since into fuzz/corpus, the fewest inputs of equal coverage
set -euo pipefail
cd "$(dirname "$0")/.."

# A build of its own below the shared one: with coverage counters, it has nothing in common with it.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/labora/target}/fuzz
export RUSTC_WRAPPER=$PWD/scripts/fuzz-rustc
bin=$CARGO_TARGET_DIR/release
# What runs find stays here: a next run goes on from it.
found=$CARGO_TARGET_DIR/corpus
crashes=$CARGO_TARGET_DIR/crashes
# An input may take 60 seconds, as the machine may be busy and the first one computes the fixture; and the process 1 GiB, most of it
# for libFuzzer's own corpus. What an input may allocate is bounded by fuzz/src/bound.rs: -malloc_limit_mb does nothing without a sanitizer.
limits=(-timeout=60 -rss_limit_mb=1024)

cargo build --quiet --release --locked --manifest-path fuzz/Cargo.toml
mkdir -p "$crashes"
# The tensor store of the target `upload`: in memory, where there is such a folder.
scratch=/dev/shm
[ -w "$scratch" ] || scratch=
TMPDIR=$(mktemp -d ${scratch:+-p "$scratch"})
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

fuzz() {
	local target=$1 seconds=$2 log=$TMPDIR/log
	mkdir -p "$found/$target"
	if ! "$bin/$target" "$found/$target" "fuzz/corpus/$target" "${limits[@]}" -max_total_time="$seconds" \
		-print_final_stats=1 -artifact_prefix="$crashes/$target-" >"$log" 2>&1; then
		tail -n 40 "$log" >&2
		echo "fuzz: $target failed; run $bin/$target on the input named above" >&2
		exit 1
	fi
	printf '%-9s%s\n' "$target:" "$(grep -E '^#[0-9]+[[:space:]]+DONE' "$log" | tr '\t' ' ')"
}

minimize() {
	local target=$1 merged=$TMPDIR/merged
	mkdir "$merged"
	"$bin/$target" -merge=1 "${limits[@]}" "$merged" "fuzz/corpus/$target" "$found/$target" >"$TMPDIR/log" 2>&1
	rm -rf "fuzz/corpus/$target"
	mv "$merged" "fuzz/corpus/$target"
	echo "$target: $(find "fuzz/corpus/$target" -type f | wc -l) inputs, $(du -sb "fuzz/corpus/$target" | cut -f1) bytes"
}

targets=()
for file in fuzz/fuzz_targets/*.rs; do
	target=$(basename "$file" .rs)
	mkdir -p "fuzz/corpus/$target" "$found/$target"
	targets+=("$target")
done
if [ "${1:-}" = minimize ]; then
	for target in "${targets[@]}"; do
		minimize "$target"
	done
else
	seconds=${1:-10}
	for target in "${@:2}"; do
		[ -x "$bin/$target" ] || { echo "fuzz: no target $target" >&2; exit 1; }
	done
	[ $# -le 1 ] || targets=("${@:2}")
	for target in "${targets[@]}"; do
		fuzz "$target" "$seconds"
	done
fi
