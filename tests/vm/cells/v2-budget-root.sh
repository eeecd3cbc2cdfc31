#!/bin/sh
# Pure cgroup v2, root: several jobs under one total, which the kernel holds.
#@ full-kernels 6.1
#@ layout v2
#@ memory 2048
#@ suites budget
# shellcheck source=../guest/checks.sh
. /vm/checks.sh
# shellcheck source=../guest/suites.sh
. /vm/suites.sh

remember_cgroups
run_suites root_cgroup_v2 cgroup-v2
finish
