#!/bin/sh
# Who gives uid 1000 a scope: the manager of a lingering user, with and without buses;
# nobody where it does not run; and again after the remedy that doctor names.
#@ kernels 6.1
#@ layout systemd
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

manager=/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service
place=/sys/fs/cgroup/elsewhere
launch() { user_in_group "$place" "$@"; }

# shellcheck disable=SC2317 # called by require
manager_runs() { [ -S /run/user/1000/systemd/private ] && grep -qs memory "$manager/cgroup.controllers"; }

# shellcheck disable=SC2317 # called by require
bus_is_gone() { [ ! -e /run/user/1000/bus ]; }

require "the user's manager runs" wait_until 60 manager_runs
mkdir "$place"
(launch memcap doctor --no-trials) >/dev/null

echo "# a lingering user"
remember_cgroups
expect_mechanism systemd cgroup-v2 tree-exact kernel
scenario_breach
scenario_doctor not-available not-available enforced enforced
doctor_finds

echo "# no bus of the user's"
(as_user env XDG_RUNTIME_DIR=/run/user/1000 systemctl --user stop dbus.socket dbus.service)
rm -f /run/user/1000/bus
require "the bus is gone" wait_until 30 bus_is_gone
remember_cgroups
scenario_breach
scenario_doctor not-available not-available enforced enforced
doctor_finds

echo "# nobody logged in, and no lingering"
loginctl disable-linger user
# logind stops the slice by itself, some time after the last of the user's units.
systemctl stop user@1000.service user-1000.slice
require "the manager and its slice are gone" wait_until 60 test ! -e "${manager%/*}"
remember_cgroups
expect_mechanism watchdog keeper tree-sampled watchdog
scenario_breach
scenario_doctor not-available not-available enforced
doctor_finds C6 C7
doctor_fix C6 "loginctl enable-linger"
doctor_saw C7 /run/user/1000/systemd/private
doctor_fix C7 "loginctl enable-linger"

echo "# the remedy"
loginctl enable-linger user
require "the manager runs" wait_until 60 manager_runs
(launch memcap doctor --no-trials) >/dev/null
remember_cgroups
expect_mechanism systemd cgroup-v2 tree-exact kernel
scenario_breach
scenario_doctor not-available not-available enforced enforced
doctor_finds
finish
