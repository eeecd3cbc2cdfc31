#!/bin/sh
# WSL2 with a kernel that has memory in v2 only (from 6.18 on), asked for v1: memory
# is in the cgroup2 mount beside v1. Root can use it there.
#@ kernels 6.12
#@ release 6.18.26.1-microsoft-standard-WSL2
#@ layout hybrid
# shellcheck source=../guest/checks.sh
. /vm/checks.sh
# shellcheck source=../guest/wsl.sh
. /vm/wsl.sh

wsl_conf "[automount]" "cgroups = v1"
remember_cgroups

# Before root has enabled memory anywhere.
as_watched_user
scenario_breach
scenario_doctor not-available not-available enforced
doctor_era v1-asked-for
doctor_finds C4 C6 C7
doctor_means C4 "systemd does not see the memory controller"
doctor_fix C4 'remove `cgroups = v1`'

echo "# root"
launch() { exec "$@"; }
expect_mechanism cgroup-v2 cgroup-v2 tree-exact kernel
scenario_within
scenario_breach
scenario_doctor enforced not-available enforced
doctor_finds C4
finish
