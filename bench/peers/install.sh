#!/bin/sh
# Installs the peers that `make bench` measures SYNC beside, by their names at Debian and
# at npm, where they are missing. What can't be installed is named: `missing: NAME`; the
# others run.
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

# What apt-get installs.
install_debian() {
  if ! command -v apt-get >/dev/null 2>&1; then
    for package in $wanted; do missing "$package" "this is no Debian"; done
    return
  fi
  as_root=
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
      for package in $wanted; do missing "$package" "needs root"; done
      return
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
}

# npm's ws goes into build/, and nowhere else.
install_ws() {
  folder=build/bench/npm
  [ -f $folder/node_modules/ws/package.json ] && return
  if ! command -v npm >/dev/null 2>&1; then
    # Debian's npm draws in hundreds of packages; Node.js from elsewhere brings its own.
    missing "npm ws" "there is no npm: apt-get install npm"
    return
  fi
  echo "Installing: npm ws"
  mkdir -p $folder
  said=$(npm install --prefix $folder --no-audit --no-fund --no-save --loglevel=error \
    "ws@^8" 2>&1) || missing "npm ws" "$(printf '%s' "$said" | head -n 1)"
}

[ -z "$wanted" ] || install_debian
install_ws
exit 0
