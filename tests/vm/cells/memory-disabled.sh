#!/bin/sh
# Pure cgroup v2 without the memory controller (cgroup_disable=memory): a v2 directory
# still holds the tree, and the watchdog holds the limit.
#@ kernels newest
#@ full-kernels 6.1
#@ layout v2
#@ cmdline cgroup_disable=memory
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

require "there is no memory controller" sh -c '! grep -qw memory /sys/fs/cgroup/cgroup.controllers'
expect_mechanism watchdog cgroup-v2 tree-sampled watchdog
remember_cgroups
all_scenarios
scenario_doctor not-available not-available enforced
doctor_finds C2
doctor_saw C2 "/proc/cmdline has cgroup_disable=memory"
doctor_fix C2 "remove cgroup_disable=memory"
finish
