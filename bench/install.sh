#!/bin/sh
# Installs the peers that `make bench` measures SYNC beside, by their Debian names, where
# they are missing. What can't be installed is named: `missing: NAME`; the others run.
set -u

missing() { echo "missing: $1${2:+ ($2)}"; }

installed() {
  dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

wanted=
for package in lua-luv python3-uvloop pypy3 golang-go; do
  installed "$package" || wanted="$wanted $package"
done
# These serve whoever packed them.
command -v node >/dev/null 2>&1 || wanted="$wanted nodejs"
command -v luajit >/dev/null 2>&1 || wanted="$wanted luajit"
command -v taskset >/dev/null 2>&1 || wanted="$wanted util-linux"
[ -z "$wanted" ] && exit 0

if ! command -v apt-get >/dev/null 2>&1; then
  for package in $wanted; do missing "$package" "this is no Debian"; done
  exit 0
fi
as_root=
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null 2>&1; then
    for package in $wanted; do missing "$package" "needs root"; done
    exit 0
  fi
  as_root=sudo
fi

echo "Installing:$wanted"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -q >/dev/null || echo "bench: apt-get update failed"
# One by one: a package that a system doesn't have must not keep out the others.
for package in $wanted; do
  said=$($as_root apt-get install -y -q --no-install-recommends "$package" 2>&1) ||
    missing "$package" "$(printf '%s' "$said" | tail -n 1)"
done
exit 0
