#!/bin/sh
# PID 1 of a shadow pod: runs sshd, ends 10 minutes after the last client, and gives the cluster time at the end.
set -u

idle_limit="${KTPY_IDLE_SECONDS:-600}"
every=15   # seconds between two looks at the clients
linger=5   # seconds of full service after TERM: a Service may still send new connections for so long
terms=0    # TERMs so far: the first lets clients finish, the second does not

say() { echo "shadow: $*" >&2; }

# OpenShift and others choose a uid of their own, and an sshd that is not root lets in only the user that it is:
# give that uid the name. /dev/shm is the one place that every runtime leaves writable under a read-only root.
name_this_uid() {
    names="$(mktemp -p /dev/shm passwd.XXXXXX)" || exit 1
    echo "tunnel:x:$(id -u):$(id -g):tunnel:/nonexistent:/usr/sbin/nologin" >"$names"
    export LD_PRELOAD=libnss_wrapper.so NSS_WRAPPER_PASSWD="$names" NSS_WRAPPER_GROUP=/etc/group
}

# Established connections (state 01) of our port (2222 = 08AE). tcp6 is absent where IPv6 is off.
has_clients() { cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q '^ *[0-9]*: [0-9A-F]*:08AE [^ ]* 01 '; }

# A trapped signal cuts it short.
pause() { sleep "$1" & wait $!; }

serve_until_idle() {
    idle=0
    while [ "$terms" -eq 0 ] && [ "$idle" -lt "$idle_limit" ]; do
        step=$((idle_limit - idle))
        [ "$step" -lt "$every" ] || step="$every"
        pause "$step"
        kill -0 "$sshd" 2>/dev/null || { say "sshd has ended"; exit 1; }
        # Time counts from the first look that finds nobody: the client may have left just before it.
        if has_clients; then idle=-$every; else idle=$((idle + step)); fi
    done
}

finish() {
    # Without a laptop there is nothing that could answer.
    has_clients || { say "asked to stop, and no laptop is here"; return; }
    say "asked to stop; serving for $linger s more, then until the last client leaves"
    pause "$linger"
    [ "$terms" -gt 1 ] || kill "$sshd"   # the listener only; its sessions go on
    while [ "$terms" -le 1 ] && has_clients; do pause 1; done
}

trap 'terms=$((terms + 1))' TERM INT
[ "$(id -u)" = 10001 ] || name_this_uid
# 1024 in many runtimes, and each forwarded connection takes one. Where it is refused, there is less room, no more.
ulimit -S -n 8192 2>/dev/null
/usr/sbin/sshd -t || exit 1
/usr/sbin/sshd -D -e &
sshd=$!
say "waiting for a laptop on port 2222"
serve_until_idle
if [ "$terms" -gt 0 ]; then finish; else say "no client for $idle_limit s"; fi
exit 0   # what still runs ends with PID 1
