#!/bin/sh
# Pure cgroup v2, root: the limits beside memory, and a soft limit held by
# memory.high; then in groups whose limits are not what they seem.
#@ kernels 6.12
#@ full-kernels 5.10 6.1 newest
#@ layout v2
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

expect_mechanism cgroup-v2 cgroup-v2 tree-exact kernel
remember_cgroups
scenario_beside
scenario_soft
scenario_doctor enforced not-available enforced
doctor_finds

echo "# in a group with memory.high alone"
group=/sys/fs/cgroup/group
mkdir "$group"
launch() { in_group "$group" "$@"; }
echo 64M >"$group/memory.high"
(launch hog 64M --hold 0)
ask_doctor --no-trials
doctor_finds C11
doctor_saw C11 "$group has memory.high = 64 MiB, exceeded "
doctor_fix C11 "MemoryMax= a little above MemoryHigh="
echo max >"$group/memory.high"

echo "# in a group that lost a process to its limit, and not the others"
echo 32M >"$group/memory.max"
(launch hog 80M --hold 0)
ask_doctor --no-trials
doctor_finds C13 C12
doctor_saw C13 "in $group an OOM killer took 1 process by itself"
doctor_fix C13 "echo 1 > memory.oom.group"
doctor_saw C12 "an OOM killer took 1 process in it"
echo 1 >"$group/memory.oom.group"

echo "# where many share what is charged once, or to others"
# Copies of a shell that holds 4 MB, waiting for a writer that never comes. The pages that
# a small program maps by a few faults are counted late before Linux 6.2.
mkfifo /tmp/never
(launch sh -c 'text=$(head -c 4000000 /dev/zero | tr "\0" x)
    for _ in $(seq 30); do (read -r _ </tmp/never; : "$text") & done; wait') &
members() { [ "$(wc -l <"$group/cgroup.procs")" = 31 ]; }
require "they are there" wait_until 30 members
ask_doctor --no-trials
doctor_finds C12 C14
doctor_saw C14 "the processes in $group add up to "
doctor_means C14 "RES counts shared pages once for each process"
doctor_fix C14 "memory.stat in $group"
empty() {
    # One by one: cgroup.kill is of Linux 5.14.
    while read -r pid; do kill -9 "$pid"; done <"$group/cgroup.procs"
    rmdir "$group"
}
require "they are gone" wait_until 10 empty

echo "# from a shell that no OOM killer takes"
launch() {
    echo -1000 >/proc/self/oom_score_adj
    exec "$@"
}
ask_doctor --no-trials
doctor_finds C13
doctor_saw C13 "our own oom_score_adj is -1000"
remember_cgroups
scenario_breach
finish
