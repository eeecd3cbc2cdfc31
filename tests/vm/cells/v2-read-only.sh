#!/bin/sh
# Pure cgroup v2, mounted read-only as in most containers: seen, but not usable.
#@ kernels 6.1
#@ layout v2
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

require "the mount becomes read-only" mount -o remount,bind,ro /sys/fs/cgroup
expect_mechanism watchdog keeper tree-sampled watchdog
remember_cgroups
scenario_within
scenario_breach
scenario_doctor not-available not-available enforced
doctor_finds C0
doctor_saw C0 "/sys/fs/cgroup is mounted read-only"
doctor_fix C0 "limit the container as a whole"
finish
