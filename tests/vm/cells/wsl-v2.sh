#!/bin/sh
# WSL 2.5 to 2.9.4 without systemd: v2 alone, a shell in the root group. Root has
# exact limits, an ordinary user nobody who could give a group.
#@ kernels 6.1
#@ release 6.6.87.2-microsoft-standard-WSL2
#@ layout v2
# shellcheck source=../guest/checks.sh
. /vm/checks.sh
# shellcheck source=../guest/wsl.sh
. /vm/wsl.sh

remember_cgroups
require "the root group has no memory.max" test ! -e /sys/fs/cgroup/memory.max

echo "# root"
expect_mechanism cgroup-v2 cgroup-v2 tree-exact kernel
scenario_breach
scenario_doctor enforced not-available enforced
doctor_era v2
doctor_finds

as_watched_user
scenario_within
scenario_breach
scenario_tree
scenario_doctor not-available not-available enforced
doctor_finds C6 C7
doctor_fix C6 "enable systemd"
doctor_saw C7 "runs without systemd"
doctor_fix C7 "[boot] systemd=true"
doctor_fix C7 "wsl --shutdown"

echo "# uid 1000, with systemd asked for, which does not run"
wsl_conf "[boot]" "systemd=true"
scenario_doctor not-available not-available enforced
doctor_saw C7 "asks for systemd, but it does not run"
doctor_fix C7 "journalctl -b"
finish
