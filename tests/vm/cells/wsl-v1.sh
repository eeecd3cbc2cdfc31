#!/bin/sh
# WSL2 before 2.5: every controller on v1, and swap as WSL adds it. Limits hold for
# root; a limit on memory alone does not, which is what people meet.
#@ kernels 6.1
#@ release 5.15.153.1-microsoft-standard-WSL2
#@ layout hybrid
#@ swap 256
# shellcheck source=../guest/checks.sh
. /vm/checks.sh
# shellcheck source=../guest/wsl.sh
. /vm/wsl.sh

require "a job completes under limit_in_bytes alone" \
    swaps_under /sys/fs/cgroup/memory/alone memory.limit_in_bytes
remember_cgroups

echo "# root"
expect_mechanism cgroup-v1 cgroup-v2 tree-exact kernel
scenario_within
scenario_breach
scenario_swap
scenario_doctor not-available enforced enforced
doctor_era v1-by-default
doctor_finds C3
doctor_saw C3 "/sys/fs/cgroup/memory"
doctor_fix C3 "wsl --update"
doctor_fix C3 "kernelCommandLine = cgroup_no_v1=all"
doctor_fix C3 "systemd.unified_cgroup_hierarchy=1 alone does not help"

echo "# root in a group whose limit leaves swap open"
launch() { in_group /sys/fs/cgroup/memory/alone "$@"; }
scenario_doctor not-available not-tried not-tried
doctor_finds C3 C9 C12
doctor_saw C9 "/sys/fs/cgroup/memory/alone is limited to 64 MiB, but not in swap"
doctor_fix C9 "swap=0"
doctor_fix C12 "have the limit of that group raised"

as_watched_user
scenario_within
scenario_breach
scenario_doctor not-available not-available enforced
doctor_finds C3
doctor_means C3 "v1 is for root alone"
finish
