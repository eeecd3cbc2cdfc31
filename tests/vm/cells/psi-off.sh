#!/bin/sh
# Pressure turned off (psi=0), as kernels of WSL2 before 6.6 were built: nothing that
# memcap does depends on it.
#@ kernels 6.1
#@ layout v2
#@ cmdline psi=0
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

require "there is no pressure" test ! -e /proc/pressure
remember_cgroups
expect_mechanism cgroup-v2 cgroup-v2 tree-exact kernel
scenario_within
scenario_breach
scenario_soft
scenario_doctor enforced not-available enforced
equal "pressure" "$(field facts.pressure.is)" absent
doctor_finds

as_watched_user
scenario_breach
scenario_doctor not-available not-available enforced
doctor_finds C6
finish
