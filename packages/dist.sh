#!/bin/sh
# dist.sh PROGRAM FOLDER NAME: puts a stripped program of that name into a folder, with its debug
# information and SHA-256 sums of both.
set -eu
here=$(dirname "$0")
rm -rf "$2"
mkdir -p "$2"
sh "$here/strip.sh" "$1" "$2/$3"
(cd "$2" && sha256sum "$3" "$3.debug" >SHA256SUMS)
echo "$2/$3: $(wc -c <"$2/$3") bytes"
