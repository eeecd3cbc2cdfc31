#!/bin/sh
# systemd runs the machine, uid 1000 is in a group that is not delegated: first in
# the root group (a shell of WSL2), then in a session's scope. It can make no group
# itself; its own manager gives it a scope, through PID 1.
#@ kernels 6.1
#@ layout systemd
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

slice=/sys/fs/cgroup/user.slice/user-1000.slice
manager=$slice/user@1000.service

launch() { user_in_group "$place" "$@"; }

require "the user's manager runs" wait_until 60 test -S /run/user/1000/systemd/private
require "and has the memory controller" grep -q memory "$manager/cgroup.controllers"

expect_mechanism systemd cgroup-v2 tree-exact kernel
place=/sys/fs/cgroup
# Asking the user's bus starts it, and it stays.
(launch memcap doctor --no-trials) >/dev/null
remember_cgroups
echo "# in the root group, like a shell of WSL2"
all_scenarios
scenario_acceptance
scenario_proof
scenario_doctor not-available not-available enforced enforced
doctor_finds

echo "# asked for by name, and with variables that lead nowhere"
memcap_run --memory 64M --mechanism systemd -- cat /proc/self/cgroup
equal "exit status" "$status" 0
contains "the job's group" "$(cat /tmp/out)" "user@1000.service/app.slice/memcap-"
contains "the proof" "$(field proof)" "app.slice/memcap-"
export DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent XDG_RUNTIME_DIR=/nonexistent
memcap_run --memory 64M -- hog 256M --hold 30
report_says_killed memory-limit
unset DBUS_SESSION_BUS_ADDRESS XDG_RUNTIME_DIR
nothing_left 15

echo "# over the bus, where the manager's own socket is not to be had"
mv /run/user/1000/systemd/private /run/user/1000/systemd/hidden
memcap_run --memory 64M -- hog 256M --hold 30
report_says_killed memory-limit
mv /run/user/1000/systemd/hidden /run/user/1000/systemd/private

echo "# in a session's scope"
session=$slice/session-1.scope
mkdir "$session"
# The bus has been started by what came before.
place=$session
remember_cgroups
scenario_within
scenario_breach

echo "# the limits of the manager and its slices stay in force"
echo 512M >"$manager/memory.max"
memcap_run --memory 1G -- true
equal "exit status" "$status" 0
report_says mechanism systemd
report_says limit_bytes $((448 * 1048576))
echo max >"$manager/memory.max"
nothing_left 15

echo "# a limit of the session would be left: it is not"
echo 192M >"$session/memory.max"
expect_mechanism watchdog keeper tree-sampled watchdog
memcap_run --memory 48M -- cat /proc/self/cgroup
equal "exit status" "$status" 0
contains "the job's group" "$(cat /tmp/out)" "0::/user.slice/user-1000.slice/session-1.scope"
report_names_mechanism
contains "what was turned down" "$(grep 'rejected.*reason' /tmp/flat)" "session-1.scope has memory.max = 201326592, which must not be left"
echo max >"$session/memory.max"
nothing_left 15

echo "# without a manager: said, and watched"
# Nobody is logged in, and lingering ends.
rm /var/lib/systemd/linger/user
systemctl stop user@1000.service
require "the manager is gone" wait_until 60 test ! -e "$manager"
place=/sys/fs/cgroup
memcap_run --memory 64M -- hog 128M --rate 20M --hold 30
report_says_killed memory-limit
contains "what was turned down" "$(grep 'rejected.*reason' /tmp/flat)" /run/user/1000/systemd/private
rm -f /tmp/started "$report"
(launch memcap run --memory 64M --mechanism systemd --report "$report" -- touch /tmp/started) >/tmp/out 2>/tmp/err
equal "exit status" "$?" 125
contains "stderr" "$(cat /tmp/err)" /run/user/1000/systemd/private
if [ -e /tmp/started ]; then not_ok "the job started"; else ok "the job did not start"; fi
finish
