#!/bin/sh
# Installs what the browser tests need from npm, into build/node, and names the programs
# that are missing. Says nothing when all is there.
#
#   sh spec/browser/install.sh          all of it
#   sh spec/browser/install.sh ruffle   only Ruffle, for Central's Flash door: neither a browser
#                                       nor a Node.js newer than Debian's is asked for
set -eu
cd "$(dirname "$0")/../.."
only=${1:-}
folder=${NODE_FOLDER:-build/node}

missing=
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need node nodejs
need npm npm
need haxe haxe
[ -n "$only" ] || [ -x "${CHROMIUM:-/usr/bin/chromium}" ] || missing="$missing chromium"
if [ -n "$missing" ]; then
  echo "browser tests: missing:$missing" >&2
  echo "browser tests: on Debian: apt-get install --no-install-recommends$missing" >&2
  exit 1
fi
major=$(node -p 'process.versions.node.split(".")[0]')
if [ -z "$only" ] && [ "$major" -lt 20 ]; then
  echo "browser tests: Node.js is $(node --version); 20 or later is needed" >&2
  exit 1
fi

# Name and version of a package, or of all.
names() {
  node -p 'Object.entries(JSON.parse(
    require("fs").readFileSync("spec/browser/package.json")).dependencies)
    .filter(([name]) => !process.argv[1] || name.endsWith("/" + process.argv[1]))
    .map(pair => pair.join("@")).join(" ")' "$1"
}
fetch() {
  mkdir -p "$folder"
  rm -f "$folder/package.json"
  # shellcheck disable=SC2086
  npm install --prefix "$folder" --silent --no-save --no-audit --no-fund $1 || {
    echo "browser tests: npm could not install $1 into $folder" >&2
    exit 1
  }
}

if [ "$only" = ruffle ]; then
  [ -d "$folder/node_modules/@ruffle-rs/ruffle" ] || fetch "$(names ruffle)"
  exit 0
fi

# The copy of package.json tells what was installed last.
if ! cmp -s spec/browser/package.json "$folder/package.json" ||
  ! [ -d "$folder/node_modules" ]; then
  fetch "$(names "")"
  cp spec/browser/package.json "$folder/package.json"
fi
