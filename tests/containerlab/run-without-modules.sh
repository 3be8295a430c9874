#!/bin/sh
# Runs containerlab where the kernel has no loadable modules. containerlab reads /proc/modules before it touches iptables
# and gives up when the file is absent. Here strace answers that one open with a stand-in: it rewrites the path, in
# place, to another of at most the same length. Only this file system call is traced; nothing else is changed.
#   FAIRHOP_REAL_CONTAINERLAB   the binary to run
set -eu
[ -e /proc/modules ] && exec "$FAIRHOP_REAL_CONTAINERLAB" "$@"

standin=/run/fh-mods # no longer than /proc/modules
printf 'ip_tables 0 0 - Live 0x0\nip6_tables 0 0 - Live 0x0\n' > "$standin"
path_with_end=$(printf '%s\0' "$standin" | od -An -v -tx1 | tr -d ' \n')
exec strace --follow-forks --seccomp-bpf --quiet=all --signal=none --output=/dev/null \
    --trace-path=/proc/modules --trace=openat --inject="openat:poke_enter=@arg2=$path_with_end" \
    "$FAIRHOP_REAL_CONTAINERLAB" "$@"
