#!/bin/sh
# Pure cgroup v2, root, no controller enabled anywhere: memcap enables memory at
# the root by itself.
#@ kernels 6.12
#@ layout v2-bare
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

enabled() { cat /sys/fs/cgroup/cgroup.subtree_control; }
require "nothing is enabled" [ -z "$(enabled)" ]
expect_mechanism cgroup-v2 cgroup-v2 tree-exact kernel
remember_cgroups
scenario_within
contains "the root" "$(enabled)" memory
scenario_breach
scenario_doctor enforced not-available enforced
doctor_finds
finish
