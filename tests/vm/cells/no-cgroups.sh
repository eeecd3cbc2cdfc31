#!/bin/sh
# No cgroup file system at all: the watchdog holds the limit, the keeper the tree.
#@ kernels 6.1
#@ layout none
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

require "no cgroup file system is mounted" sh -c '! grep -q cgroup /proc/mounts'
expect_mechanism watchdog keeper tree-sampled watchdog
remember_cgroups
all_scenarios
scenario_acceptance
scenario_machine_oom
scenario_doctor not-available not-available enforced
doctor_finds C16 C12
doctor_fix C16 "mount -t cgroup2 cgroup2 /sys/fs/cgroup"
finish
