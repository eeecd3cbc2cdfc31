#!/bin/sh
# Pure cgroup v2, as systemd leaves it, root: the first rung of the ladder.
#@ kernels 6.1 6.12
#@ full-kernels 5.10 newest
#@ layout v2
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

expect_mechanism cgroup-v2 cgroup-v2 tree-exact kernel
remember_cgroups
all_scenarios
scenario_acceptance
scenario_machine_oom
scenario_nested
scenario_proof
scenario_doctor enforced not-available enforced
doctor_finds C12
doctor_saw C12 "OOM killer took 1 process"
finish
