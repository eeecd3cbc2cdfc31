#!/bin/sh
# A container with a writable cgroup namespace of its own: first with its processes in
# the namespace's root, which can hand nothing down then, then with them moved below.
#@ kernels 6.1
#@ layout v2
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

box=/sys/fs/cgroup/docker/abc
mkdir -p "$box"
echo "+memory +pids" >/sys/fs/cgroup/docker/cgroup.subtree_control
touch /.dockerenv

# As root of the container, in a group of the namespace. The namespace is made anew for
# every program, from its root, which nobody may enter while it gives controllers.
launch() {
    echo "-memory" >"$box/cgroup.subtree_control"
    # shellcheck disable=SC2016 # expanded there
    in_group "$box" cgroupns unshare -m sh -c '
        umount /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup &&
            echo $$ >"/sys/fs/cgroup/$0/cgroup.procs" && exec "$@"' "$place" "$@"
}

sh -c 'echo $$ >"$0/cgroup.procs"; exec sleep 1000' "$box" &
init=$!
place=.
remember_cgroups

echo "# a populated root"
expect_mechanism watchdog cgroup-v2 tree-sampled watchdog
scenario_within
scenario_breach
contains "what was turned down" "$(grep 'rejected.*reason' /tmp/flat)" "processes are in this group"
scenario_doctor not-available not-available enforced
doctor_finds C0
doctor_fix C0 "docker run --memory=8g --memory-swap=8g"

echo "# its limit is seen from inside"
echo 512M >"$box/memory.max"
memcap_run --memory 1G -- true
report_says limit_bytes $((448 * 1048576))
scenario_doctor not-available not-available enforced
doctor_finds C0 C12
doctor_fix C12 "have the container started with more memory"
echo max >"$box/memory.max"

echo "# its processes moved into a group below"
mkdir "$box/init"
echo "$init" >"$box/init/cgroup.procs"
place=init
remember_cgroups
expect_mechanism cgroup-v2 cgroup-v2 tree-exact kernel
scenario_within
scenario_breach
scenario_doctor enforced not-available enforced
doctor_finds

echo "# alone in the root"
kill -9 "$init"
wait "$init"
require "the group is empty" wait_until 5 rmdir "$box/init"
place=.
remember_cgroups
scenario_breach
scenario_doctor enforced not-available enforced
doctor_finds
finish
