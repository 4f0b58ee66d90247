#!/bin/sh
# deb.sh PROGRAM FOLDER VERSION: makes sync-lua_VERSION_amd64.deb in a folder, and beside it the
# debug information. DEBFULLNAME and DEBEMAIL name who packages it, SOURCE_DATE_EPOCH when; COMPRESS
# is how dpkg-deb packs.
set -eu
program=$1
folder=$2
version=$3
here=$(dirname "$0")
command -v dpkg-deb >/dev/null || { echo "make deb: dpkg-deb is missing; it is of Debian" >&2; exit 1; }
maintainer="${DEBFULLNAME:-SYNC} <${DEBEMAIL:-sync-lua@example.org}>"
date=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH="$date"

rm -rf "$folder"
mkdir -p "$folder"
tree=$folder/tree
doc=$tree/usr/share/doc/sync-lua
put() { install -D -m 644 "$here/$1" "$tree/$2"; }

sh "$here/strip.sh" "$program" "$folder/sync-lua"
install -D -m 755 "$folder/sync-lua" "$tree/usr/bin/sync-lua"
rm "$folder/sync-lua"
put systemd/sync-lua@.service usr/lib/systemd/system/sync-lua@.service
put systemd/sync-lua.conf usr/lib/sysusers.d/sync-lua.conf
put debian/lintian-overrides usr/share/lintian/overrides/sync-lua
put sync-lua.1 usr/share/man/man1/sync-lua.1
gzip -9n "$tree/usr/share/man/man1/sync-lua.1"
mkdir -p "$doc" "$tree/DEBIAN" "$tree/etc/sync-lua"

# The licence, as Debian writes it: an empty line is a dot.
{
  cat "$here/debian/copyright.head"
  echo "Copyright: $(sed -n 's/^Copyright (c) //p' "$here/../LICENSE")"
  echo "License: Expat"
  sed -e '1,/^Copyright/d' -e '1{/^$/d}' -e 's/^$/./' -e 's/^/ /' "$here/../LICENSE" | sed '1{/^ \.$/d}'
} >"$doc/copyright"
chmod 644 "$doc/copyright"
{
  echo "sync-lua ($version) unstable; urgency=medium"
  echo
  echo "  * See CHANGELOG.md of SYNC."
  echo
  echo " -- $maintainer  $(LC_ALL=C date -u -R -d "@$date")"
} | gzip -9n >"$doc/changelog.gz"

# What the program needs: the C library it was linked with, or a later one.
needs=$(objdump -T "$program" | sed -n 's/.*GLIBC_\([0-9.]*\).*/\1/p' | sort -V | tail -1)
size=$(du -sk "$tree" | cut -f1)
sed -e "s/@VERSION@/$version/" -e "s/@MAINTAINER@/$maintainer/" -e "s/@SIZE@/$size/" \
  -e "s/@DEPENDS@/libc6 (>= $needs), libgcc-s1/" "$here/debian/control" >"$tree/DEBIAN/control"
for script in postinst postrm; do install -m 755 "$here/debian/$script" "$tree/DEBIAN/$script"; done
(cd "$tree" && find usr -type f -exec md5sum {} + | sort -k 2 >DEBIAN/md5sums)
find "$tree" -type d -exec chmod 755 {} +
deb=$folder/sync-lua_${version}_$(dpkg --print-architecture).deb
# shellcheck disable=SC2086 # several words
dpkg-deb --root-owner-group ${COMPRESS:--Zxz} --build "$tree" "$deb" >/dev/null
rm -rf "$tree"
echo "$deb: $(wc -c <"$deb") bytes"
