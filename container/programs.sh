#!/bin/sh
# Copies programs with every library that they need, but for those of glibc: programs.sh TO PROGRAM...
set -eu
to=$1
shift
mkdir -p "$to/bin" "$to/lib"
for program in "$@"; do
    cp -L "$program" "$to/bin/"
    needed=$(ldd "$program")
    echo "$needed" | while read -r name arrow path _; do
        [ "$arrow" = "=>" ] || continue # the loader, and what the kernel brings
        case $name in libc.so.* | libm.so.* | libdl.so.* | libpthread.so.* | librt.so.* | libresolv.so.*) continue ;; esac
        if [ "$path" = not ]; then
            echo "$program needs $name, which does not exist here." >&2
            exit 1
        fi
        cp -L "$path" "$to/lib/$name"
    done
done
