# Debian's packages, for the scripts that need some: each missing one is named, with what it is for, and installed. To be sourced.

me=$(basename "$0" .sh)

say() {
	echo "$me: $*"
}

die() {
	echo "$me: $*" >&2
	exit 1
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		command -v sudo >/dev/null || die "not root and no sudo: run as root: $*"
		sudo "$@"
	fi
}

apt_updated=
apt_install() {
	command -v apt-get >/dev/null || die "no apt-get here: install by hand: $*"
	if [ -z "$apt_updated" ]; then
		as_root apt-get update -qq || die "apt-get update failed: is this machine online?"
		apt_updated=1
	fi
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
		die "apt-get could not install: $*"
}

installed() {
	[ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# need PACKAGE WHY: notes a package that is missing.
missing=()
need() {
	if ! installed "$1"; then
		say "$1 is missing: $2"
		missing+=("$1")
	fi
}

# Installs what was noted.
install_missing() {
	if [ ${#missing[@]} -gt 0 ]; then
		apt_install "${missing[@]}"
		missing=()
	fi
}
