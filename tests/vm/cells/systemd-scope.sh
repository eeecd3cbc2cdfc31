#!/bin/sh
# uid 1000 in a scope that has a limit of its own, which may not be left. After an OOM
# kill in it systemd would end the scope and memcap with it, unless it is delegated.
#@ kernels 6.1
#@ layout systemd
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

scope=/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/limited.scope

limited() { # COMMAND...
    as_user env XDG_RUNTIME_DIR=/run/user/1000 systemd-run --user --scope --quiet --collect --unit limited \
        -p MemoryMax=512M -p MemorySwapMax=0 -p Delegate="$delegated" "$@"
}

require "the user's manager runs" wait_until 60 test -S /run/user/1000/systemd/private
(as_user memcap doctor --no-trials) >/dev/null
# systemd may make app.slice for its first unit, and keep it.
delegated=no
(limited true)
remember_cgroups

echo "# alone in the scope"
launch() { limited "$@"; }
expect_mechanism watchdog cgroup-v2 tree-sampled watchdog
scenario_within
scenario_breach
contains "what was turned down" "$(grep 'rejected.*reason' /tmp/flat)" "a unit without Delegate="
scenario_doctor not-available not-available enforced
doctor_finds C6 C12
doctor_saw C6 "limited.scope, which systemd has not delegated"
doctor_fix C6 "systemd-run -p Delegate=yes"

echo "# the remedy"
delegated=yes
expect_mechanism cgroup-v2 cgroup-v2 tree-exact kernel
scenario_within
scenario_breach
scenario_doctor enforced not-available enforced
doctor_finds C12
delegated=no

echo "# from a shell in the scope"
(limited sleep 1000) &
require "the scope is there" wait_until 30 grep -qs . "$scope/cgroup.procs"
launch() { user_in_group "$scope" "$@"; }
remember_cgroups
expect_mechanism watchdog cgroup-v2 tree-sampled watchdog
scenario_within
scenario_breach
memcap_run --memory 1G -- cat /proc/self/cgroup
equal "exit status" "$status" 0
contains "the job's group" "$(cat /tmp/out)" "app.slice/limited.scope/memcap-"
report_says limit_bytes $((448 * 1048576))
contains "what was turned down" "$(grep 'rejected.*reason' /tmp/flat)" "limited.scope has memory.max = 536870912, which must not be left"
scenario_doctor not-available not-available enforced
doctor_finds C6 C12
doctor_saw C12 "limited.scope/memory.max is 512 MiB"
doctor_fix C12 "start memcap outside it"
finish
