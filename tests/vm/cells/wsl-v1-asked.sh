#!/bin/sh
# WSL2 that would come with v2 alone, in a distribution with v1: because something
# in it mounts that, and because /etc/wsl.conf asks for it (2.6.2 and later).
#@ kernels 6.1
#@ release 6.6.87.2-microsoft-standard-WSL2
#@ layout hybrid
# shellcheck source=../guest/checks.sh
. /vm/checks.sh
# shellcheck source=../guest/wsl.sh
. /vm/wsl.sh

remember_cgroups
expect_mechanism cgroup-v1 cgroup-v2 tree-exact kernel
scenario_breach

echo "# mounted by something in the distribution"
scenario_doctor not-available enforced enforced
doctor_era v1-by-default
doctor_finds C3
doctor_fix C3 "Docker's init script does"

echo "# asked for"
wsl_conf "[automount]" "cgroups = v1"
scenario_doctor not-available enforced enforced
doctor_era v1-asked-for
doctor_finds C3
doctor_fix C3 'remove `cgroups = v1` from [automount] in /etc/wsl.conf'
doctor_fix C3 "wsl --terminate"
finish
