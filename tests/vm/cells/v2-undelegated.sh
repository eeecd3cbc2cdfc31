#!/bin/sh
# Pure cgroup v2, uid 1000 with nothing delegated: no cgroup can be made, so the
# watchdog is used, and the report says that it only samples.
#@ kernels 6.1
#@ layout v2
# shellcheck source=../guest/checks.sh
. /vm/checks.sh

as_watched_user
remember_cgroups
all_scenarios
scenario_acceptance
scenario_doctor not-available not-available enforced
doctor_finds C6
doctor_saw C6 "which is not ours to write"
doctor_fix C6 "have root give you a control group"

echo "# a mechanism that this user cannot have is refused by name, before the job starts"
rm -f /tmp/started "$report"
(launch memcap run --memory 64M --mechanism cgroup-v2 --report "$report" -- touch /tmp/started) >/tmp/out 2>/tmp/err
equal "exit status" "$?" 125
contains "stderr" "$(cat /tmp/err)" cgroup-v2
if [ -e /tmp/started ]; then not_ok "the job started"; else ok "the job did not start"; fi

echo "# a limit on locked memory that the keeper would only just stay below"
memcap_start hog 8M --hold 60
wait_until 20 job_is_there || not_ok "the job started: $(cat /tmp/err)"
size=$(awk '/^VmSize/ { print $2 }' "/proc/$(pid_of memcap-keeper)/status")
kill "$(pid_of hog)"
memcap_wait
for less in 64 32 0; do
    launch() {
        ulimit -l $((size - less))
        as_user "$@"
    }
    memcap_run --memory 64M -- tree 4 40M --hold 30
    report_says_killed memory-limit
done
nothing_left 15
finish
