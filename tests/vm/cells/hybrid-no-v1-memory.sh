#!/bin/sh
# v1 hierarchies, but a kernel without v1 memory: the memory controller is with v2
# at unified, not enabled for children yet. Seeing v1 mounts proves nothing.
#@ kernels newest
#@ full-kernels 6.12
#@ layout hybrid
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

require "memory is with v2" grep -qw memory /sys/fs/cgroup/unified/cgroup.controllers
expect_mechanism cgroup-v2 cgroup-v2 tree-exact kernel
remember_cgroups
all_scenarios
scenario_doctor enforced not-available enforced
doctor_finds
finish
