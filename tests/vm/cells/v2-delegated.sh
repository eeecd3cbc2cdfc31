#!/bin/sh
# Pure cgroup v2, uid 1000 inside a subtree that was delegated to it. First from a
# shell in a leaf, beside which memcap makes its own; then with memcap alone in the
# delegated directory itself, where it must make room first (EBUSY otherwise).
#@ kernels 6.1
#@ layout v2
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

delegated=/sys/fs/cgroup/delegated
delegate "$delegated"
launch() { user_in_group "$place" "$@"; }

expect_mechanism cgroup-v2 cgroup-v2 tree-exact kernel
remember_cgroups
echo "# from a shell in a leaf"
place=$delegated/shell
sh -c 'echo $$ >"$0/cgroup.procs"; exec sleep 1000' "$place" &
shell=$!
all_scenarios
scenario_acceptance
scenario_doctor enforced not-available enforced
doctor_finds

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

echo "# it ends while another memcap, in a leaf beside it, has a limit here"
mkdir "$delegated/other"
chown user "$delegated/other" "$delegated/other/cgroup.procs"
memcap_start hog 8M --hold 60
wait_until 20 job_is_there || not_ok "the first job started: $(cat /tmp/err)"
first_memcap=$memcap first_job=$(pid_of hog)
sh -c 'echo $$ >"$0/cgroup.procs"; exec sleep 1000' "$delegated/other" &
shell=$!
place=$delegated/other report=/tmp/second.json
memcap_start hog 256M --rate 16M --hold 60
limits() { cat "$delegated"/memcap-*-0/memory.max | tr '\n' ' '; }
# shellcheck disable=SC2317 # called by wait_until
both_are_limited() { [ "$(limits)" = "$limit $limit " ]; }
wait_until 20 both_are_limited || not_ok "both are limited: $(limits)"
kill "$first_job"
wait "$first_memcap"
equal "the limit that is left" "$(limits)" "$limit "
memcap_wait
report_says_killed memory-limit
report_says verdict.by kernel
# The room of the first stays for as long as the second needs the controller, and
# is swept at the next start.
memcap_run --memory 64M -- true
kill -9 "$shell"
wait "$shell"
require "the other leaf is empty" wait_until 5 rmdir "$delegated/other"
nothing_left 15
finish
