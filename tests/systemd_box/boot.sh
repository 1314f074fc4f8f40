#!/bin/bash
# Boots a real systemd, for one test, in namespaces of its own: processes, mounts, cgroups, network. It sees nothing of
# the machine but /usr and what it was given, and nothing of what it does is seen outside.
#
#     unshare --mount boot.sh outside FOLDER BINARY LIBRARY
#
# FOLDER/units has what goes to /etc/systemd/system, FOLDER/etc what goes to /etc/unirs; BINARY becomes
# /usr/local/bin/unirs and LIBRARY /srv/libapp.so. It ends, with everything in it, when its standard input does: so it
# cannot outlive the test, however that ends.
set -euo pipefail

# Waits for the end of the test; then nobody and no cgroup is left.
outside() {
    local folder=$1 cgroups=$1/cgroups
    mount --make-rprivate /
    mkdir "$cgroups"
    mount -t cgroup2 cgroup2 "$cgroups"
    local own=$cgroups/unirs-test-$$
    mkdir "$own"
    (
        echo "$BASHPID" >"$own/cgroup.procs"
        exec unshare --cgroup --pid --net --uts --ipc --mount --fork --kill-child=KILL "$0" inside "$@"
    ) </dev/null &
    local systemd=$!
    read -r _ || true
    kill -KILL "$systemd" 2>/dev/null || true
    wait "$systemd" 2>/dev/null || true
    remove_cgroup "$own"
}

# The dead leave their cgroup a moment after they were killed.
remove_cgroup() {
    local attempt
    for ((attempt = 0; attempt < 300; attempt++)); do
        find "$1" -depth -type d -exec rmdir {} + 2>/dev/null && return
        [[ -d $1 ]] || return 0
        sleep 0.1
    done
}

# Makes a root and becomes its systemd.
inside() {
    local folder=$1 binary=$2 library=$3 root=$1/root name
    mkdir "$root"
    mount -t tmpfs -o mode=755 tmpfs "$root"
    cd "$root"
    mkdir -p usr etc/systemd/system dev proc sys run tmp var/tmp var/lib var/log srv root
    chmod 1777 tmp var/tmp
    share /usr usr
    for name in bin sbin lib lib32 lib64 libx32; do
        if [[ -L /$name ]]; then cp -P "/$name" "$name"; elif [[ -d /$name ]]; then mkdir "$name"; share "/$name" "$name"; fi
    done
    mount -t tmpfs tmpfs usr/local
    mkdir usr/local/bin etc/unirs
    lend "$binary" usr/local/bin/unirs
    lend "$library" srv/libapp.so
    cp "$folder"/units/* etc/systemd/system/ -r
    cp "$folder"/etc/* etc/unirs/
    for name in passwd group nsswitch.conf ld.so.cache; do [[ ! -e /etc/$name ]] || cp "/etc/$name" etc/; done
    tr -d - </proc/sys/kernel/random/uuid >etc/machine-id
    # Were /dev no mount, systemd would mount the machine's own there.
    mount -t tmpfs -o mode=755 tmpfs dev
    mkdir dev/pts dev/shm
    for name in null zero full random urandom tty; do lend "/dev/$name" "dev/$name"; done
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
    ln -s pts/ptmx dev/ptmx
    mount -t tmpfs tmpfs dev/shm
    mount -t tmpfs -o mode=755 tmpfs run
    mount -t proc proc proc
    mount -t sysfs sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    pivot_root . tmp
    umount -l /tmp
    chmod 1777 /tmp
    systemd=/usr/lib/systemd/systemd
    [[ -x $systemd ]] || systemd=/lib/systemd/systemd
    export container=unirs-test
    exec "$systemd" --system --unit=box.target --log-target=null --show-status=no
}

# A folder of the machine, to read.
share() {
    mount --bind "$1" "$2"
    mount -o remount,bind,ro "$2"
}

lend() {
    : >"$2"
    mount --bind "$1" "$2"
}

"$@"
