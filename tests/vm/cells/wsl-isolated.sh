#!/bin/sh
# WSL 2.9.8 and later without systemd: the distribution's processes are in a group of
# its own, which therefore can hand nothing down, below one with the machine's memory
# less 32 MiB.
#@ kernels 6.12
#@ release 6.18.40.1-microsoft-standard-WSL2
#@ layout v2
# shellcheck source=../guest/checks.sh
. /vm/checks.sh
# shellcheck source=../guest/wsl.sh
. /vm/wsl.sh

mkdir -p "$distro"
echo "+memory +pids" >/sys/fs/cgroup/wsl-user/cgroup.subtree_control
echo $((($(awk '/^MemTotal/ { print $2 }' /proc/meminfo) - 32768) * 1024)) >/sys/fs/cgroup/wsl-user/memory.max
echo $$ >"$distro/cgroup.procs"
require "the group cannot hand memory down" sh -c '! echo +memory 2>/dev/null >"$0/cgroup.subtree_control"' "$distro"
remember_cgroups

echo "# root: beside the distribution, below the limit around it"
expect_mechanism cgroup-v2 cgroup-v2 tree-exact kernel
memcap_run --memory 64M -- cat /proc/self/cgroup
contains "the job's group" "$(cat /tmp/out)" "0::/wsl-user/memcap-"
scenario_breach
scenario_doctor enforced not-available enforced
doctor_era isolated
doctor_finds C8 C12
doctor_saw C8 /wsl-user/distro-280
doctor_fix C12 "memory="

as_watched_user
scenario_within
scenario_breach
scenario_doctor not-available not-available enforced
doctor_finds C6 C7 C8 C12
doctor_means C8 EBUSY
doctor_fix C8 "systemd=true"
finish
