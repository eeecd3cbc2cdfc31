#!/bin/sh
# systemd runs the machine, uid 1000 in the root group: the suites of the limit and
# of what is left behind, in scopes of the user's manager.
#@ full-kernels 6.1
#@ layout systemd
#@ memory 2048
#@ suites limit containment report transparency
# shellcheck source=../guest/checks.sh
. /vm/checks.sh
# shellcheck source=../guest/suites.sh
. /vm/suites.sh

launch() { user_in_group /sys/fs/cgroup "$@"; }

require "the user's manager runs" wait_until 60 test -S /run/user/1000/systemd/private
remember_cgroups
run_suites ordinary_systemd systemd
finish
