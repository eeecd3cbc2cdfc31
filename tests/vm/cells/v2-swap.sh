#!/bin/sh
# Pure cgroup v2 with swap: a limit without a swap limit only makes the job swap.
# The control shows that here it would; under memcap the job is killed.
#@ kernels 5.10 newest
#@ full-kernels 6.1 6.12
#@ layout v2
#@ swap 256
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

# The control: under memory.max alone the same job completes.
# shellcheck disable=SC2317 # called by require
control() {
    mkdir /sys/fs/cgroup/control
    echo 64M >/sys/fs/cgroup/control/memory.max
    sh -c 'echo $$ >/sys/fs/cgroup/control/cgroup.procs && exec hog 160M --hold 0'
    completed=$?
    wait_until 5 rmdir /sys/fs/cgroup/control
    [ "$completed" = 0 ]
}

require "swap is on" grep -q zram /proc/swaps
require "the job completes by swapping under memory.max alone" control
expect_mechanism cgroup-v2 cgroup-v2 tree-exact kernel
remember_cgroups
scenario_within
scenario_breach
scenario_tree
scenario_swap
scenario_swap_allowed
scenario_doctor enforced not-available enforced
doctor_finds
finish
