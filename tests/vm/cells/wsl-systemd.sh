#!/bin/sh
# WSL 2.5 to 2.9.4 with systemd: a shell in the root group, outside the user's slices.
# The user's manager gives a scope; where the user's session has failed, WSL sets its
# variables all the same.
#@ kernels 6.1
#@ release 6.6.87.2-microsoft-standard-WSL2
#@ layout systemd
# shellcheck source=../guest/checks.sh
. /vm/checks.sh
# shellcheck source=../guest/wsl.sh
. /vm/wsl.sh

slice=/sys/fs/cgroup/user.slice/user-1000.slice
launch() { user_in_group /sys/fs/cgroup "$@"; }

wsl_conf "[boot]" "systemd=true"
require "the user's manager runs" wait_until 60 test -S /run/user/1000/systemd/private
expect_mechanism systemd cgroup-v2 tree-exact kernel
# Asking the user's bus starts it, and it stays.
(launch memcap doctor --no-trials) >/dev/null
remember_cgroups
scenario_within
scenario_breach
scenario_tree
scenario_doctor not-available not-available enforced enforced
doctor_era v2
doctor_finds

echo "# a limit on the user's slice does not hold for a shell outside it"
echo 512M >"$slice/memory.max"
scenario_doctor not-available not-available enforced enforced
doctor_finds C10
doctor_saw C10 "$slice has memory.max = 512 MiB, but we are in /sys/fs/cgroup"
doctor_fix C10 "cat /proc/PID/cgroup"
memcap_run --memory 1G -- true
report_says mechanism systemd
report_says limit_bytes $((448 * 1048576))
echo max >"$slice/memory.max"

echo "# the user's session has failed"
rm /var/lib/systemd/linger/user
systemctl stop user@1000.service
require "the manager and its slice are gone" wait_until 60 test ! -e "$slice"
export XDG_RUNTIME_DIR=/run/user/1000 DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus
remember_cgroups
expect_mechanism watchdog keeper tree-sampled watchdog
scenario_breach
scenario_doctor not-available not-available enforced
doctor_finds C6 C7
doctor_saw C7 "this user's own manager does not"
doctor_fix C7 "loginctl enable-linger"
doctor_fix C7 "wsl: Failed to start the systemd user session"
finish
