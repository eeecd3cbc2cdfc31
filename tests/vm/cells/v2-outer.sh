#!/bin/sh
# Pure cgroup v2, root inside a smaller finite limit: never leave it, clamp what
# cannot be had, and tell our limit from the outer one.
#@ kernels 6.1
#@ layout v2
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

outer=/sys/fs/cgroup/outer
mkdir -p "$outer"
echo +memory >"$outer/cgroup.subtree_control"
mkdir "$outer/shell"
echo 192M >"$outer/memory.max"
echo 0 >"$outer/memory.swap.max" 2>/dev/null

launch() { in_group "$place" "$@"; }

# The job must run below the directory, whatever it is held by.
stays_inside() {
    memcap_run --memory 48M -- cat /proc/self/cgroup
    case $(cat /tmp/out) in
    *"0::${place_of_job}"*) ok "the job stays below $place_of_job" ;;
    *) not_ok "the job left $place_of_job: $(cat /tmp/out)" ;;
    esac
}

place=$outer/shell place_of_job=/outer/
expect_mechanism cgroup-v2 cgroup-v2 tree-exact kernel
remember_cgroups
stays_inside
scenario_within
scenario_breach

echo "# a request above the ceiling is clamped below it: 192M less an eighth"
memcap_run --memory 1G -- hog 180M --hold 30
report_says_killed memory-limit
report_says verdict.by kernel
report_says requested_bytes 1073741824
report_says limit_bytes $((168 * 1048576))
contains "the warning" "$(cat /tmp/err)" 168
nothing_left 15

scenario_doctor not-tried not-available not-tried
doctor_finds C12
doctor_saw C12 "$outer/memory.max is 192 MiB"
doctor_fix C12 "have the limit of that group raised, or start memcap outside it"

echo "# an outer limit that is hit first gets the blame"
# shellcheck disable=SC2016 # evaluated there
start_neighbour 120 'sh -c "echo \$PPID" >"$outer/shell/cgroup.procs"'
memcap_run --memory 100M -- hog 96M --hold 30
end_neighbour
report_says_killed outer-limit
report_says verdict.by ''
nothing_left 15

echo "# a finite limit on the populated group itself: no group can be made for memory, and leaving is no answer"
mkdir "$outer/tight"
echo 160M >"$outer/tight/memory.max"
place=$outer/tight place_of_job=/outer/tight
holder() { sh -c 'echo $$ >"$0/cgroup.procs"; exec sleep 80' "$place"; }
holder &
remember_cgroups
expect_mechanism watchdog cgroup-v2 tree-sampled watchdog
stays_inside
memcap_run --memory 64M -- hog 128M --rate 20M --hold 30
report_says_killed memory-limit
report_says verdict.by watchdog
nothing_left 15
echo "# the outer limit before the watchdog's"
# shellcheck disable=SC2016 # evaluated there
start_neighbour 110 'sh -c "echo \$PPID" >"$place/cgroup.procs"'
memcap_run --memory 80M -- hog 76M --hold 30
end_neighbour
report_says_killed outer-limit
report_says verdict.by ''
nothing_left 15
finish
