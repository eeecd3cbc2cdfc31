#!/bin/sh
# v1 memory with swap: a limit on memory alone only makes the job swap, so the
# limit on memory and swap together must be there too.
#@ kernels 5.10
#@ full-kernels 6.1
#@ layout hybrid
#@ swap 256
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

require "swap is on" grep -q zram /proc/swaps
require "the job completes by swapping under limit_in_bytes alone" \
    completes_by_swapping_under /sys/fs/cgroup/memory/control memory.limit_in_bytes
expect_mechanism cgroup-v1 cgroup-v2 tree-exact kernel
remember_cgroups
scenario_within
scenario_breach
scenario_swap
scenario_proof
scenario_swap_allowed
scenario_doctor not-available enforced enforced
doctor_finds C3
finish
