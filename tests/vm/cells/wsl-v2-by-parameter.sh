#!/bin/sh
# WSL2 before 2.5 started with cgroup_no_v1=all, the switch that worked then: v2
# alone, with swap as WSL adds it.
#@ kernels 6.1
#@ release 5.15.153.1-microsoft-standard-WSL2
#@ layout v2
#@ cmdline cgroup_no_v1=all
#@ swap 256
# shellcheck source=../guest/checks.sh
. /vm/checks.sh
# shellcheck source=../guest/wsl.sh
. /vm/wsl.sh

require "a job completes under memory.max alone" swaps_under /sys/fs/cgroup/alone memory.max
remember_cgroups

echo "# root"
expect_mechanism cgroup-v2 cgroup-v2 tree-exact kernel
scenario_breach
scenario_swap
scenario_doctor enforced not-available enforced
doctor_era v2-by-parameter
doctor_finds

echo "# root in a group whose limit leaves swap open"
launch() { in_group /sys/fs/cgroup/alone "$@"; }
scenario_doctor not-tried not-available not-tried
doctor_finds C9 C12
doctor_fix C9 "MemorySwapMax=0"
doctor_fix C9 "swap=0"
finish
