#!/bin/sh
# WSL2 before 2.5 with systemd: WSL has mounted v1 before systemd starts, and systemd
# follows that, whatever systemd.unified_cgroup_hierarchy=1 says. A user's limit is
# accepted, shown, and set nowhere.
#@ kernels 6.1
#@ release 5.15.153.1-microsoft-standard-WSL2
#@ layout systemd-hybrid
#@ cmdline systemd.unified_cgroup_hierarchy=1
# shellcheck source=../guest/checks.sh
. /vm/checks.sh
# shellcheck source=../guest/wsl.sh
. /vm/wsl.sh

as_shell_of_wsl() {
    for root in memory unified; do
        sh -c 'echo "$PPID" >"$0/cgroup.procs"' "/sys/fs/cgroup/$root" || exit 91
    done
    "$@"
}

# shellcheck disable=SC2317 # called by require
accepted_and_set_nowhere() {
    (as_user env XDG_RUNTIME_DIR=/run/user/1000 systemd-run --user --scope --quiet \
        -p MemoryMax=64M -p MemorySwapMax=0 hog 256M --hold 0)
}

wsl_conf "[boot]" "systemd=true"
require "memory is with v1" test -e /sys/fs/cgroup/memory/memory.limit_in_bytes
require "the user's manager runs" wait_until 60 test -S /run/user/1000/systemd/private
require "a user's MemoryMax= is accepted and not kept" accepted_and_set_nowhere

echo "# uid 1000"
launch() { as_shell_of_wsl as_user "$@"; }
(launch memcap doctor --no-trials) >/dev/null
remember_cgroups
expect_mechanism watchdog keeper tree-sampled watchdog
scenario_within
scenario_breach
contains "what was turned down" "$(grep 'rejected.*reason' /tmp/flat)" "systemd would accept a limit and not set it"
scenario_doctor not-available not-available enforced
doctor_era v1-by-default
doctor_finds C3
doctor_means C3 "systemd accepts MemoryMax= and sets nothing"
doctor_fix C3 "wsl --update"
doctor_fix C3 "systemd.unified_cgroup_hierarchy=1 alone does not help"

echo "# root"
launch() { as_shell_of_wsl exec "$@"; }
expect_mechanism cgroup-v1 cgroup-v2 tree-exact kernel
scenario_breach
scenario_doctor not-available enforced enforced
doctor_finds C3
finish
