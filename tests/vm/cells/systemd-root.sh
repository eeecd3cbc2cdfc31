#!/bin/sh
# systemd runs the machine, root in a service: groups are made directly, and the
# machine's manager gives a scope where one is asked for. Its slices are not left.
#@ kernels 6.1
#@ layout systemd
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

expect_mechanism cgroup-v2 cgroup-v2 tree-exact kernel
remember_cgroups
scenario_within
scenario_doctor enforced not-available enforced enforced
doctor_finds

launch() {
    program=$1 command=$2
    shift 2
    [ "$command" != run ] || set -- --mechanism systemd "$@"
    exec "$program" "$command" "$@"
}
expect_mechanism systemd cgroup-v2 tree-exact kernel
all_scenarios
scenario_machine_oom

echo "# alone in a service that is not delegated, which an OOM kill in it would end"
launch() { exec systemd-run --quiet --collect --pipe --wait --setenv=PATH="$PATH" -- "$@"; }
expect_mechanism cgroup-v2 cgroup-v2 tree-exact kernel
remember_cgroups
memcap_run --memory 64M -- cat /proc/self/cgroup
contains "the job's group" "$(cat /tmp/out)" "0::/system.slice/memcap-"
scenario_breach
scenario_doctor enforced not-available enforced enforced
# The machine ran out of memory before.
doctor_finds C12

echo "# a slice with a limit stays around the job"
mkdir -p /run/systemd/system
printf '[Slice]\nMemoryMax=192M\nMemorySwapMax=0\n' >/run/systemd/system/batch.slice
systemctl daemon-reload
systemctl start batch.slice
mkdir /sys/fs/cgroup/batch.slice/shell
launch() {
    program=$1 command=$2
    shift 2
    sh -c 'echo "$PPID" >/sys/fs/cgroup/batch.slice/shell/cgroup.procs' || exit 91
    exec "$program" "$command" --mechanism systemd "$@"
}
remember_cgroups
memcap_run --memory 1G -- cat /proc/self/cgroup
equal "exit status" "$status" 0
contains "the job's group" "$(cat /tmp/out)" "0::/batch.slice/memcap-"
report_says limit_bytes $((168 * 1048576)) # an eighth of 192M stays free
nothing_left 15
finish
