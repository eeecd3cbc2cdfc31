#!/bin/sh
# Pure cgroup v2, root: the limits beside memory, and a soft limit held by
# memory.high.
#@ kernels 6.12
#@ full-kernels 5.10 6.1 newest
#@ layout v2
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

expect_mechanism cgroup-v2 cgroup-v2 tree-exact kernel
remember_cgroups
scenario_beside
scenario_soft
scenario_doctor enforced not-available enforced
doctor_finds
finish
