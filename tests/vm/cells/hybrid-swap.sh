#!/bin/sh
# v1 memory with swap: a limit on memory alone only makes the job swap, so the
# limit on memory and swap together must be there too.
#@ kernels 5.10
#@ full-kernels 6.1
#@ layout hybrid
#@ swap 256
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

# The control: under limit_in_bytes alone the same job completes.
# shellcheck disable=SC2317 # called by require
control() {
    mkdir /sys/fs/cgroup/memory/control
    echo 64M >/sys/fs/cgroup/memory/control/memory.limit_in_bytes
    sh -c 'echo $$ >/sys/fs/cgroup/memory/control/cgroup.procs && exec hog 160M --hold 0'
    completed=$?
    wait_until 5 rmdir /sys/fs/cgroup/memory/control
    [ "$completed" = 0 ]
}

require "swap is on" grep -q zram /proc/swaps
require "the job completes by swapping under limit_in_bytes alone" control
expect_mechanism cgroup-v1 cgroup-v2 tree-exact kernel
remember_cgroups
scenario_within
scenario_breach
scenario_swap
scenario_swap_allowed
scenario_doctor not-available enforced enforced
doctor_finds C3
finish
