#!/bin/sh
# Pure cgroup v2 with swap: a limit without a swap limit only makes the job swap.
# The control shows that here it would; under memcap the job is killed.
#@ kernels 5.10 newest
#@ full-kernels 6.1 6.12
#@ layout v2
#@ swap 256
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

require "swap is on" grep -q zram /proc/swaps
require "the job completes by swapping under memory.max alone" \
    completes_by_swapping_under /sys/fs/cgroup/control memory.max
expect_mechanism cgroup-v2 cgroup-v2 tree-exact kernel
remember_cgroups
scenario_within
scenario_breach
scenario_tree
scenario_swap
scenario_proof
scenario_swap_allowed
scenario_doctor enforced not-available enforced
doctor_finds
finish
