#!/bin/sh
# Pure cgroup v2, uid 1000 outside the subtree that is delegated to it: groups could
# be made there, but nothing can be moved in, since the common ancestor is root's.
#@ kernels 6.1
#@ layout v2
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

delegated=/sys/fs/cgroup/delegated elsewhere=/sys/fs/cgroup/elsewhere
delegate "$delegated"
mkdir "$elsewhere"

# shellcheck disable=SC2317 # called by require
may_only_make() {
    (as_user sh -c 'mkdir "$0/own" && echo 64M >"$0/own/memory.max" && ! echo $$ 2>/dev/null >"$0/own/cgroup.procs"' "$delegated")
}

echo "+memory" >"$delegated/cgroup.subtree_control"
require "a group can be made there, and not be entered" may_only_make
rmdir "$delegated/own"
remember_cgroups

launch() { user_in_group "$elsewhere" "$@"; }
expect_mechanism watchdog keeper tree-sampled watchdog
scenario_within
scenario_breach
scenario_doctor not-available not-available enforced
doctor_finds C6
doctor_saw C6 "we are in $elsewhere, which is not ours to write"
doctor_fix C6 "have root give you a control group"

echo "# inside it"
launch() { user_in_group "$delegated/shell" "$@"; }
expect_mechanism cgroup-v2 cgroup-v2 tree-exact kernel
scenario_breach
scenario_doctor enforced not-available enforced
doctor_finds
finish
