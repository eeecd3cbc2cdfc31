#!/bin/sh
# systemd with memory in cgroup v1: it would accept a limit for a user's scope and
# not set it. memcap refuses to rely on it, by name, and root uses v1 directly.
#@ kernels 6.1
#@ layout systemd
#@ cmdline systemd.unified_cgroup_hierarchy=0
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

require "the user's manager runs" wait_until 60 test -S /run/user/1000/systemd/private

echo "# root"
expect_mechanism cgroup-v1 cgroup-v2 tree-exact kernel
remember_cgroups
scenario_within
scenario_breach
scenario_doctor not-available enforced enforced
doctor_finds C3
doctor_means C3 "systemd accepts MemoryMax= and sets nothing"
doctor_fix C3 "remove systemd.unified_cgroup_hierarchy=0"

as_watched_user
scenario_within
scenario_tree
contains "what was turned down" "$(grep 'rejected.*reason' /tmp/flat)" "has no memory controller, so systemd would accept a limit and not set it"
rm -f /tmp/started "$report"
(launch memcap run --memory 64M --mechanism systemd --report "$report" -- touch /tmp/started) >/tmp/out 2>/tmp/err
equal "exit status" "$?" 125
contains "stderr" "$(cat /tmp/err)" "systemd would accept a limit and not set it"
if [ -e /tmp/started ]; then not_ok "the job started"; else ok "the job did not start"; fi
nothing_left 15
finish
