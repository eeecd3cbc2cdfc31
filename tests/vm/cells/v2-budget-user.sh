#!/bin/sh
# Pure cgroup v2, uid 1000 in a delegated subtree: several jobs under one total.
#@ kernels 6.1
#@ layout v2
#@ memory 2048
#@ suites budget
# shellcheck source=../guest/checks.sh
. /vm/checks.sh
# shellcheck source=../guest/suites.sh
. /vm/suites.sh

delegated=/sys/fs/cgroup/delegated
mkdir -p "$delegated/shell"
for directory in "$delegated" "$delegated/shell"; do
    chown user "$directory" "$directory/cgroup.procs" "$directory/cgroup.threads" \
        "$directory/cgroup.subtree_control"
done

launch() {
    sh -c 'echo "$PPID" >"$0/cgroup.procs"' "$delegated/shell" || exit 91
    as_user "$@"
}

remember_cgroups
run_suites ordinary_cgroup_v2 delegated-cgroup-v2
finish
