#!/bin/sh
# WSL 2.9.8 and later with systemd, which runs in a group of the distribution's, the
# shells beside it. Scopes come from the user's manager, wherever its slices are.
#@ kernels 6.12
#@ release 6.18.40.1-microsoft-standard-WSL2
#@ layout systemd-isolated
# shellcheck source=../guest/checks.sh
. /vm/checks.sh
# shellcheck source=../guest/wsl.sh
. /vm/wsl.sh

shells=$distro/non-systemd
mkdir "$shells"
sh -c 'echo $$ >"$0/cgroup.procs"; exec sleep 1000' "$shells" &

wsl_conf "[boot]" "systemd=true"
require "the user's manager runs" wait_until 60 test -S /run/user/1000/systemd/private
require "systemd runs in the distribution's group" test -d "$distro/systemd/user.slice/user-1000.slice/user@1000.service"
require "and nothing is where it used to be" test ! -e /sys/fs/cgroup/user.slice

echo "# uid 1000"
launch() { user_in_group "$shells" "$@"; }
(launch memcap doctor --no-trials) >/dev/null
remember_cgroups
expect_mechanism systemd cgroup-v2 tree-exact kernel
memcap_run --memory 64M -- cat /proc/self/cgroup
contains "the job's group" "$(cat /tmp/out)" "0::/wsl-user/distro-280/systemd/user.slice/user-1000.slice/user@1000.service/app.slice/memcap-"
scenario_within
scenario_breach
scenario_tree
scenario_killed
scenario_doctor not-available not-available enforced enforced
doctor_era isolated
doctor_finds C8 C12
doctor_fix C8 "isolateDistroCgroup=false"
doctor_fix C12 "memory="

echo "# root"
launch() { in_group "$shells" "$@"; }
expect_mechanism cgroup-v2 cgroup-v2 tree-exact kernel
memcap_run --memory 64M -- cat /proc/self/cgroup
contains "the job's group" "$(cat /tmp/out)" "0::/wsl-user/distro-280/memcap-"
scenario_breach
scenario_doctor enforced not-available enforced enforced
doctor_finds C8 C12
finish
