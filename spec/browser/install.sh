#!/bin/sh
# Installs what the browser tests need from npm, into build/node, and names the programs
# that are missing. Says nothing when all is there.
set -eu
cd "$(dirname "$0")/../.."

missing=
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need node nodejs
need npm npm
need haxe haxe
[ -x "${CHROMIUM:-/usr/bin/chromium}" ] || missing="$missing chromium"
if [ -n "$missing" ]; then
  echo "browser tests: missing:$missing" >&2
  echo "browser tests: on Debian: apt-get install --no-install-recommends$missing" >&2
  exit 1
fi
major=$(node -p 'process.versions.node.split(".")[0]')
if [ "$major" -lt 20 ]; then
  echo "browser tests: Node.js is $(node --version); 20 or later is needed" >&2
  exit 1
fi

# The copy of package.json tells what was installed last.
if ! cmp -s spec/browser/package.json build/node/package.json ||
  ! [ -d build/node/node_modules ]; then
  mkdir -p build/node
  rm -f build/node/package.json
  names=$(node -p 'Object.entries(JSON.parse(
    require("fs").readFileSync("spec/browser/package.json")).dependencies)
    .map(pair => pair.join("@")).join(" ")')
  # shellcheck disable=SC2086
  npm install --prefix build/node --silent --no-save --no-audit --no-fund $names || {
    echo "browser tests: npm could not install $names into build/node" >&2
    exit 1
  }
  cp spec/browser/package.json build/node/package.json
fi
