#!/usr/bin/env bash
# Builds the engine's tests for 64-bit Arm and runs those of its kernels under QEMU, on CPUs that have more or less of NEON. A kernel
# that the CPU should have and that was not tested is a failure, and so is what cannot be installed.
#
# LABORA_SKIP_RUSTUP_TARGET=1 takes Debian's way to the target, as if rustup could not reach its server.
set -euo pipefail
cd "$(dirname "$0")/.."

target=aarch64-unknown-linux-gnu
root=/usr/aarch64-linux-gnu
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
# shellcheck source=scripts/packages.sh
source scripts/packages.sh

need qemu-user-static "runs programs for 64-bit Arm"
need gcc-aarch64-linux-gnu "the linker for 64-bit Arm, and C code in some crates"
need libc6-dev-arm64-cross "the C library for 64-bit Arm"
install_missing

# rustup's standard library for the target; where its server is out of reach, Debian's compiler builds one from its sources.
rustlib=$(rustc --print sysroot)/lib/rustlib/$target/lib
if [ -z "${LABORA_SKIP_RUSTUP_TARGET:-}" ] && { [ -d "$rustlib" ] ||
	{ timeout 120 rustup target add "$target" >/dev/null 2>&1 && [ -d "$rustlib" ]; }; }; then
	cargo=(cargo)
	std=()
else
	say "rustup's $target is not to be had: building it with Debian's compiler"
	for package in rustc-web cargo-web rust-web-src; do
		need "$package" "Debian's Rust, which can build the standard library from source"
	done
	install_missing
	# -Z needs the bootstrap variable.
	cargo=(env RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 /usr/bin/cargo)
	std=(-Z build-std=std,panic_unwind,test)
fi
build=(--release --locked --package labora-engine --lib --target "$target" "${std[@]}")

# tests_on CPU [KERNEL...]: the tests of the kernels on that CPU, which lacks these kernels and no other.
tests_on() {
	local cpu=$1 log lacks passed
	shift
	# The test left out computes many large products, by the same kernels.
	log=$(CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -cpu $cpu -L $root" \
		"${cargo[@]}" test --quiet "${build[@]}" -- --nocapture tests::products --skip idle_proofs_verify 2>&1) ||
		{ echo "$log" >&2; die "the engine's tests fail on $cpu"; }
	lacks=$(sed -n 's/^SKIPPED: this CPU does not have the kernel //p' <<<"$log" | sort -u | xargs)
	[ "$lacks" = "$*" ] || die "$cpu lacks the kernels '$lacks', expected were '$*'"
	passed=$(grep -o '[1-9][0-9]* passed.*' <<<"$log") || { echo "$log" >&2; die "no test ran on $cpu"; }
	say "$cpu: $passed"
}

"${cargo[@]}" test --quiet --no-run "${build[@]}" || die "could not build the engine's tests for $target"
tests_on max
tests_on neoverse-n1 neoni8mm
tests_on cortex-a72 neondot neoni8mm
