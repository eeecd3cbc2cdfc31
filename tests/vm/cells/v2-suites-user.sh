#!/bin/sh
# Pure cgroup v2, uid 1000 in a delegated subtree: the behaviour suites themselves.
#@ full-kernels 6.1
#@ layout v2
#@ memory 2048
#@ suites limit containment report transparency
# shellcheck source=../guest/checks.sh
. /vm/checks.sh
# shellcheck source=../guest/suites.sh
. /vm/suites.sh

run_suites_delegated
finish
