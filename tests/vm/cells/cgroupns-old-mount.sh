#!/bin/sh
# A cgroup namespace of our own without a mount of its own: /sys/fs/cgroup shows
# groups that cannot be entered from inside. Then with a new mount, the remedy.
#@ kernels 6.1
#@ layout v2
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

box=/sys/fs/cgroup/box
mkdir "$box"
remember_cgroups

launch() { in_group "$box" cgroupns "$@"; }
expect_mechanism watchdog keeper tree-sampled watchdog
scenario_within
scenario_breach
contains "what was turned down" "$(grep 'rejected.*reason' /tmp/flat)" "outside this cgroup namespace"
scenario_doctor not-available not-available enforced
doctor_finds C0
doctor_saw C0 "/sys/fs/cgroup shows a place outside our cgroup namespace"
doctor_fix C0 "mount -t cgroup2 cgroup2 /sys/fs/cgroup"

echo "# the remedy"
launch() {
    # shellcheck disable=SC2016 # expanded there
    in_group "$box" cgroupns unshare -m sh -c 'umount /sys/fs/cgroup &&
        mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$0" "$@"' "$@"
}
expect_mechanism cgroup-v2 cgroup-v2 tree-exact kernel
scenario_breach
scenario_doctor enforced not-available enforced
doctor_finds
finish
