#!/bin/sh
# Pure cgroup v2, uid 1000 in a directory of its own, but nobody has granted the
# memory controller there: the directory follows the tree, the watchdog holds it.
#@ kernels 6.1
#@ layout v2-bare
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

delegated=/sys/fs/cgroup/delegated
delegate "$delegated"
launch() { user_in_group "$delegated/shell" "$@"; }

expect_mechanism watchdog cgroup-v2 tree-sampled watchdog
remember_cgroups
all_scenarios
scenario_doctor not-available not-available enforced
doctor_finds C5
doctor_saw C5 "/sys/fs/cgroup does not give memory to its children"
doctor_fix C5 "echo +memory > /sys/fs/cgroup/cgroup.subtree_control"
finish
