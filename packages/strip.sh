#!/bin/sh
# strip.sh PROGRAM OUT: a stripped copy of a program, whose debug information is OUT.debug. What
# the FFI looks up by name stays.
set -eu
program=$1
out=$2
MOST=8388608 # bytes that the program may have
objcopy --only-keep-debug --compress-debug-sections "$program" "$out.debug"
strip --strip-unneeded --remove-section=.comment -o "$out" "$program"
(cd "$(dirname "$out")" && objcopy --add-gnu-debuglink="$(basename "$out").debug" "$(basename "$out")")
chmod 755 "$out"
chmod 644 "$out.debug"
size=$(wc -c <"$out")
if [ "$size" -gt $MOST ]; then
  echo "strip.sh: $out has $size bytes, more than $MOST" >&2
  exit 1
fi
