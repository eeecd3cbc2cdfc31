#!/bin/sh
# v1 memory with an empty v2 hierarchy beside it, root: v1 enforces, and the v2
# directory still follows and ends the tree.
#@ kernels 6.1
#@ layout hybrid
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

expect_mechanism cgroup-v1 cgroup-v2 tree-exact kernel
remember_cgroups
all_scenarios
scenario_acceptance
scenario_machine_oom
scenario_doctor not-available enforced enforced
doctor_finds C3 C12
doctor_fix C3 "must mount cgroup2 alone"
finish
