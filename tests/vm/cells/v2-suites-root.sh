#!/bin/sh
# Pure cgroup v2, root: the behaviour suites themselves. On a host without v2
# memory their cgroup-v2 settings are skipped.
#@ kernels 6.1
#@ layout v2
#@ memory 2048
#@ suites limit containment report transparency
# shellcheck source=../guest/checks.sh
. /vm/checks.sh
# shellcheck source=../guest/suites.sh
. /vm/suites.sh

remember_cgroups
run_suites root_cgroup_v2 cgroup-v2
finish
