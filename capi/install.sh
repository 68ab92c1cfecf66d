#!/usr/bin/env bash
# Puts the C library where C programs look for it: install.sh BUILT, with PREFIX, DESTDIR and LIBDIR from the environment.
# BUILT is the folder that cargo built it into. STRIP=: keeps symbols.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
built=$1
PREFIX=${PREFIX:-/usr/local}
LIBDIR=${LIBDIR:-$PREFIX/lib}
DESTDIR=${DESTDIR:-}
STRIP=${STRIP:-strip}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$here/../Cargo.toml" | head -1)

lib=$DESTDIR$LIBDIR
install -d "$lib/pkgconfig" "$DESTDIR$PREFIX/include"
install -m 755 "$built/libmilkglass_capi.so" "$lib/libmilkglass.so.$version"
$STRIP --strip-unneeded "$lib/libmilkglass.so.$version"
ln -sf "libmilkglass.so.$version" "$lib/libmilkglass.so.0"
ln -sf libmilkglass.so.0 "$lib/libmilkglass.so"
install -m 644 "$built/libmilkglass_capi.a" "$lib/libmilkglass.a"
$STRIP --strip-debug "$lib/libmilkglass.a"
install -m 644 "$here/milkglass.h" "$DESTDIR$PREFIX/include/milkglass.h"
sed -e "s|@PREFIX@|$PREFIX|" -e "s|@LIBDIR@|$LIBDIR|" -e "s|@VERSION@|$version|" "$here/milkglass.pc.in" >"$lib/pkgconfig/milkglass.pc"
chmod 644 "$lib/pkgconfig/milkglass.pc"
"$here/../models/install.sh" "$DESTDIR$PREFIX/share/milkglass/models"
