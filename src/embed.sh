#!/bin/sh
# Prints a Lua module that holds a file's text, or of a folder a list of
# {path = …, text = …}, sorted by path. Lines for C's preprocessor are left out: the FFI
# reads none.
#
#   sh src/embed.sh FILE|FOLDER
set -eu

text() {
  printf '[==[\n'
  grep -v '^#pragma' "$1"
  printf ']==]'
}

echo "-- Made of $1."
if [ -d "$1" ]; then
  echo 'return {'
  find "$1" -type f | LC_ALL=C sort | while read -r file; do
    printf '{path = "%s", text = ' "${file#"$1"/}"
    text "$file"
    echo '},'
  done
  echo '}'
else
  printf 'return '
  text "$1"
  echo
fi
