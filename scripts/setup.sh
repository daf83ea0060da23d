#!/usr/bin/env bash
# Installs what a build needs on Debian 12 where rustup's stable Rust is: each missing thing, saying why.
# Does nothing when nothing is missing.
#
# LABORA_SKIP_RUSTUP_TARGET=1 takes Debian's way to the Wasm target, as if rustup could not reach its server.
set -euo pipefail

target=wasm32v1-none
toolchain=labora-wasm
cache=$HOME/.cache/labora

# shellcheck source=scripts/packages.sh
source "$(dirname "$0")/packages.sh"

packages() {
	need build-essential "the linker and C code in some crates"
	need clang "C code built for WebAssembly"
	need libclang-dev "bindgen reads C headers with it"
	need cmake "builds of bundled C libraries"
	need pkg-config "finds the system's libraries"
	need protobuf-compiler "the network's message formats"
	need git "the node's version names its commit"
	need python3 "the float baseline"
	need python3-venv "numpy, pinned, in an environment of its own"
	# Not by package name: Node.js often comes from elsewhere, and with npm inside.
	if ! command -v node >/dev/null; then
		need nodejs "the JavaScript client"
	fi
	if ! command -v npm >/dev/null; then
		need npm "the digits and the JavaScript client come as packages"
	fi
	install_missing
	local version
	version=$(node --version)
	version=${version#v}
	[ "${version%%.*}" -ge 18 ] || die "node $version is too old: 18 or later is needed"
}

write_env() {
	mkdir -p "$cache"
	printf '%s' "$1" >"$cache/env.part"
	mv "$cache/env.part" "$cache/env"
}

# The runtime is built for this target. Debian's own compiler brings the sources of its library: no download
# server of Rust's is needed. Native code stays with rustup's stable, as only $toolchain is Debian's.
debian_target() {
	local package lib=/usr/lib/rustlib/$target/lib temp rlibs
	for package in rustc-web cargo-web rust-web-src rust-web-llvm lld-22; do
		need "$package" "Debian's Rust, which can build $target from source"
	done
	install_missing

	# The version goes with it: the rlibs of one compiler are of no use to the next.
	if [ "$(cat "$lib/built-by" 2>/dev/null)" != "$(/usr/bin/rustc --version)" ]; then
		say "building core and alloc for $target with Debian's compiler"
		temp=$(mktemp -d)
		# shellcheck disable=SC2064 # the folder of now
		trap "rm -rf '$temp'" EXIT
		mkdir "$temp/src"
		printf '[package]\nname = "empty"\nedition = "2021"\n' >"$temp/Cargo.toml"
		echo '#![no_std]' >"$temp/src/lib.rs"
		# Without its bitcode, link-time optimization of the runtime fails. -Z needs the bootstrap variable.
		(cd "$temp" && env -u CARGO_BUILD_TARGET RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 \
			RUSTFLAGS="-C embed-bitcode=yes" CARGO_TARGET_DIR="$temp/target" \
			/usr/bin/cargo build --quiet --release --target "$target" -Z build-std=core,alloc,compiler_builtins) ||
			die "could not build core and alloc for $target"
		rlibs=("$temp/target/$target"/release/deps/lib{core,alloc,compiler_builtins}-*.rlib)
		[ ${#rlibs[@]} -eq 3 ] || die "expected three libraries for $target, found: ${rlibs[*]}"
		as_root mkdir -p "$lib"
		as_root rm -f "$lib"/*
		as_root cp "${rlibs[@]}" "$lib/"
		/usr/bin/rustc --version >"$temp/built-by"
		as_root cp "$temp/built-by" "$lib/"
	fi

	if ! rustup toolchain list | grep -q "^$toolchain\b"; then
		say "linking Debian's Rust as rustup's toolchain $toolchain"
		rustup toolchain link "$toolchain" /usr
	fi
	# Where the build of the runtime looks for it; the Makefile reads this file.
	write_env "export WASM_BUILD_TOOLCHAIN=$toolchain
"
}

wasm_target() {
	local rustlib
	command -v rustup >/dev/null || die "rustup is missing: install it with the stable toolchain first"
	if [ -z "${LABORA_SKIP_RUSTUP_TARGET:-}" ]; then
		rustlib=$(rustc --print sysroot)/lib/rustlib/$target
		if [ -d "$rustlib" ]; then
			[ -f "$cache/env" ] && [ ! -s "$cache/env" ] || write_env ""
			return
		fi
		# Done before, in Debian's way: do not wait for a server again that was out of reach.
		if ! grep -qs "$toolchain" "$cache/env"; then
			say "the Wasm target $target is missing: the runtime is built for it"
			# rustup also succeeds where it only believes that it has the target.
			if timeout 60 rustup target add "$target" >/dev/null 2>&1 && [ -d "$rustlib" ]; then
				write_env ""
				return
			fi
			say "rustup cannot download it: building it with Debian's compiler instead"
		fi
	fi
	debian_target
}

packages
wasm_target
