#!/bin/sh
# A container as Docker makes it on v1: of every hierarchy it sees its own group,
# mounted where the root would be; read-only, unless it is privileged.
#@ kernels 6.1
#@ layout hybrid
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

for hierarchy in memory unified; do
    mkdir -p "/sys/fs/cgroup/$hierarchy/docker/abc"
done
echo 512M >/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes
touch /.dockerenv
remember_cgroups

launch() {
    for hierarchy in memory unified; do
        sh -c 'echo "$PPID" >"$0/docker/abc/cgroup.procs"' "/sys/fs/cgroup/$hierarchy" || exit 91
    done
    # shellcheck disable=SC2016 # expanded there
    exec unshare -m sh -c '
        for hierarchy in memory unified; do
            directory=/sys/fs/cgroup/$hierarchy
            mount --bind "$directory/docker/abc" "$directory" &&
                mount -o "remount,bind,$0" "$directory" || exit 91
        done
        exec "$@"' "$access" "$@"
}

echo "# privileged"
access=rw
expect_mechanism cgroup-v1 cgroup-v2 tree-exact kernel
scenario_within
scenario_breach
memcap_run --memory 1G -- true
report_says limit_bytes $((448 * 1048576)) # 64M of 512M stay free
scenario_doctor not-available enforced enforced
doctor_finds C3 C12
doctor_fix C3 "the machine around this container must mount cgroup2 alone"
doctor_fix C12 "have the container started with more memory"

echo "# as usual"
access=ro
expect_mechanism watchdog keeper tree-sampled watchdog
scenario_within
scenario_breach
scenario_doctor not-available not-available enforced
doctor_finds C0 C3 C12
doctor_fix C0 "docker run --memory=8g --memory-swap=8g"
finish
