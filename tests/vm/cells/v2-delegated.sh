#!/bin/sh
# Pure cgroup v2, uid 1000 inside a subtree that was delegated to it. First from a
# shell in a leaf, beside which memcap makes its own; then with memcap alone in the
# delegated directory itself, where it must make room first (EBUSY otherwise).
#@ kernels 6.1
#@ layout v2
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

delegated=/sys/fs/cgroup/delegated
mkdir -p "$delegated/shell"
for directory in "$delegated" "$delegated/shell"; do
    chown user "$directory" "$directory/cgroup.procs" "$directory/cgroup.threads" \
        "$directory/cgroup.subtree_control"
done

launch() {
    sh -c 'echo "$PPID" >"$0/cgroup.procs"' "$place" || exit 91
    as_user "$@"
}

expect_mechanism cgroup-v2 cgroup-v2 tree-exact kernel
remember_cgroups
echo "# from a shell in a leaf"
place=$delegated/shell
sh -c 'echo $$ >"$0/cgroup.procs"; exec sleep 1000' "$place" &
shell=$!
all_scenarios
scenario_acceptance
scenario_doctor enforced not-available enforced

echo "# alone in the delegated directory"
place=$delegated
# The last scenarios may have enabled controllers here, which would keep us out.
echo "-memory" >"$delegated/cgroup.subtree_control"
kill -9 "$shell"
wait "$shell"
require "the shell's leaf is empty" wait_until 5 rmdir "$delegated/shell"
remember_cgroups
scenario_within
scenario_breach
scenario_killed
scenario_keeper_killed
scenario_stopped
equal "what is enabled for children" "$(cat "$delegated/cgroup.subtree_control")" ''
finish
