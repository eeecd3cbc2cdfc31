# Sourced by every cell: assertions, and the scenarios that every mechanism must
# pass. POSIX sh for busybox. A cell says what it expects in the four variables
# below and redefines `launch` where memcap starts in a special place.
#
# Every check prints "ok" or "not ok" with what was seen; `finish` ends the cell.
# shellcheck shell=sh

# What reports must say; set by expect_mechanism.
mechanism='' containment='' guarantee='' by=''
failures=0 unshown='' captured=0
limit=67108864
report=/tmp/report.json
cd /tmp || exit 1

# Starts memcap; always called in a subshell that it replaces, so that the pid
# of the subshell is memcap's own.
launch() { exec "$@"; }

# As the ordinary user. busybox su replaces itself too.
# shellcheck disable=SC2016 # expanded by the inner shell
as_user() { exec su -s /bin/sh -c 'exec "$0" "$@"' -- user "$@"; }

# In this group, as root or as the ordinary user; for `launch`.
in_group() { # DIRECTORY COMMAND...
    sh -c 'echo "$PPID" >"$0/cgroup.procs"' "$1" || exit 91
    shift
    exec "$@"
}

user_in_group() { # DIRECTORY COMMAND...
    sh -c 'echo "$PPID" >"$0/cgroup.procs"' "$1" || exit 91
    shift
    as_user "$@"
}

# From here on as the ordinary user, who can make no group here: watched.
as_watched_user() {
    echo "# uid 1000"
    launch() { as_user "$@"; }
    expect_mechanism watchdog keeper tree-sampled watchdog
}

# In a group of its own with 64 MiB, a limit on memory alone: the job that this should
# stop completes by swapping. The group stays.
swaps_under() { # DIRECTORY FILE
    mkdir "$1" && echo 64M >"$1/$2" && (in_group "$1" hog 160M --hold 0)
}

# The same, as a precondition of what follows; the group goes.
completes_by_swapping_under() { # DIRECTORY FILE
    swaps_under "$@" && wait_until 5 rmdir "$1"
}

# Makes a group that is uid 1000's, with a leaf `shell` in it.
delegate() { # DIRECTORY
    mkdir -p "$1/shell"
    for directory in "$1" "$1/shell"; do
        chown user "$directory" "$directory/cgroup.procs" "$directory/cgroup.threads" \
            "$directory/cgroup.subtree_control"
    done
}

# --- assertions -------------------------------------------------------------

ok() { echo "ok: $1"; }

not_ok() {
    failures=$((failures + 1))
    echo "not ok: $1"
    # What was reported, once for each run.
    [ -z "$unshown" ] || sed 's/^/    report: /' /tmp/flat 2>/dev/null
    unshown=
}

equal() { # WHAT SEEN WANTED
    if [ "$2" = "$3" ]; then ok "$1 is $3"; else not_ok "$1 is '$2', not '$3'"; fi
}

within() { # WHAT SEEN LOWEST HIGHEST
    case $2 in '' | *[!0-9]*) not_ok "$1 is '$2', not a number"; return ;; esac
    if [ "$2" -ge "$3" ] && [ "$2" -le "$4" ]; then
        ok "$1 is $2"
    else
        not_ok "$1 is $2, not between $3 and $4"
    fi
}

contains() { # WHAT TEXT PART
    case $2 in *"$3"*) ok "$1 says '$3'" ;; *) not_ok "$1 does not say '$3': $2" ;; esac
}

# A precondition of the cell itself. Without it nothing that follows means anything.
require() { # WHAT COMMAND...
    what=$1
    shift
    "$@" || { echo "cell is broken: $what"; exit 90; }
}

wait_until() { # SECONDS COMMAND...
    deadline=$(($(cut -d. -f1 /proc/uptime) + $1))
    shift
    until "$@"; do
        [ "$(cut -d. -f1 /proc/uptime)" -lt "$deadline" ] || return 1
        usleep 50000
    done
}

finish() {
    # What doctor saved, for tests/vm/capture.
    [ "$captured" = 0 ] || (cd /tmp && tar -cf - captured-* | gzip | base64 | sed 's/^/captured: /')
    [ "$failures" = 0 ] || { echo "$failures checks failed"; exit 1; }
    exit 0
}

# --- what is left -----------------------------------------------------------

# Pids of our programs that still run; zombies wait only for their parent.
survivors() {
    for stat in /proc/[0-9]*/stat; do
        IFS=' ' read -r pid name state _ 2>/dev/null <"$stat" || continue
        case $state in Z | X) continue ;; esac
        case $name in
        '(memcap)' | '(memcap-keeper)' | '(hog)' | '(tree)' | '(daemonize)' | '(stubborn)') echo "$pid$name" ;;
        esac
    done
}

no_survivors() { [ -z "$(survivors)" ]; }

# Every cgroup directory of every hierarchy.
cgroups() { find /sys/fs/cgroup -mindepth 1 -type d | sort; }

cgroups_as_before() { [ "$(cgroups)" = "$cgroups_before" ]; }

# A cell calls this when its own cgroups exist.
remember_cgroups() { cgroups_before=$(cgroups); }

nothing_left() { # SECONDS
    if wait_until "$1" no_survivors; then
        ok "no process is left"
    else
        not_ok "processes are left: $(survivors | tr '\n' ' ')"
    fi
    if wait_until "$1" cgroups_as_before; then
        ok "no cgroup is left"
    else
        echo "$cgroups_before" >/tmp/before
        not_ok "cgroups are left: $(cgroups | grep -vxF -f /tmp/before | tr '\n' ' ')"
    fi
}

# --- running memcap ---------------------------------------------------------

# Runs a job; leaves status, /tmp/out, /tmp/err and the flattened report behind.
memcap_run() {
    rm -f "$report" /tmp/flat
    (launch memcap run --report "$report" "$@") >/tmp/out 2>/tmp/err
    status=$?
    read_report
}

# Prints what memcap said, and flattens its report.
read_report() {
    unshown=
    if ! [ -s "$report" ] || ! awk -f /vm/json.awk "$report" >/tmp/flat 2>&1; then
        not_ok "a report was written: $(cat /tmp/flat "$report" 2>&1)"
        : >/tmp/flat
    fi
    sed 's/^/    stderr: /' /tmp/err
    unshown=1
}

field() { sed -n "s/^$1	//p" /tmp/flat; }

report_says() { equal "$1" "$(field "$1")" "$2"; }

expect_mechanism() { # MECHANISM CONTAINMENT GUARANTEE BY
    mechanism=$1 containment=$2 guarantee=$3 by=$4
}

report_names_mechanism() {
    report_says schema_version 1
    report_says mechanism "$mechanism"
    report_says containment "$containment"
    report_says guarantee "$guarantee"
    report_says left_running '[]'
    # What the kernel holds was tried, in this run or in an earlier one.
    case "$guarantee $(field proof_kind)" in
    'tree-exact fresh' | 'tree-exact cached') ok "proof_kind is $(field proof_kind)" ;;
    # A trial that takes a second is given up: a busy machine, emulated at that.
    'tree-exact read-back') contains "the proof" "$(field proof)" "no end within the time of a trial" ;;
    tree-exact*) not_ok "proof_kind is '$(field proof_kind)', neither fresh nor cached" ;;
    *) report_says proof_kind '' ;;
    esac
}

report_says_killed() { # KIND
    equal "exit status" "$status" 137
    report_says exit_code 137
    report_says verdict.kind "$1"
    report_names_mechanism
}

# --- scenarios --------------------------------------------------------------

# More than the limit. An exact mechanism may not exceed it by more than a
# kernel's batch; the watchdog is held to a bound only at a stated rate, since
# time in an emulated machine is not the host's.
scenario_breach() {
    echo "# 256M under 64M, at full speed"
    memcap_run --memory 64M -- hog 256M --hold 30
    report_says_killed memory-limit
    report_says verdict.by "$by"
    report_says requested_bytes "$limit"
    report_says limit_bytes "$limit"
    case $guarantee in
    tree-exact)
        report_says peak_source "$(peak_source)"
        within peak_bytes "$(field peak_bytes)" $((limit * 9 / 10)) $((limit + 1048576))
        within overshoot_bytes "$(field overshoot_bytes)" 0 1048576
        ;;
    *)
        report_says peak_source sampled
        within peak_bytes "$(field peak_bytes)" "$limit" $((limit * 5))
        ;;
    esac
    nothing_left 15
    [ "$guarantee" = tree-exact ] || scenario_slow_breach
}

# There is no memory.peak before Linux 5.19. What the kernel calls itself may be made
# up; its build says what it is.
peak_source() {
    case "$mechanism $(uname -v)" in
    cgroup-v1*) echo kernel ;;
    *"Debian 5.10."*) echo sampled ;;
    *) echo kernel ;;
    esac
}

scenario_slow_breach() {
    echo "# 256M under 64M, 32M a second"
    memcap_run --memory 64M -- hog 256M --rate 32M --hold 30
    report_says_killed memory-limit
    peak=$(field peak_bytes)
    within peak_bytes "$peak" "$limit" $((limit + 33554432))
    report_says overshoot_bytes $((peak - limit))
    nothing_left 15
}

scenario_tree() {
    echo "# a tree of 4 x 40M under 64M"
    memcap_run --memory 64M -- tree 4 40M --hold 30
    report_says_killed memory-limit
    nothing_left 15
}

scenario_within() {
    echo "# a job within its limit"
    memcap_run --memory 64M -- hog 32M --hold 0
    equal "exit status" "$status" 0
    report_says verdict.kind finished
    report_says job.exit_code 0
    report_names_mechanism
    within peak_bytes "$(field peak_bytes)" $((16 * 1048576)) "$limit"
    nothing_left 15
    echo "# a job's own status"
    memcap_run --memory 64M -- sh -c 'exit 7'
    equal "exit status" "$status" 7
    report_says job.exit_code 7
    report_says exit_code 7
    report_says verdict.kind finished
    nothing_left 15
}

# What a run relies on: a trial of its own, which nobody is killed for, and in the next
# run the one on record. Needs a home of the user's own.
scenario_proof() {
    echo "# a trial before the job, asked for"
    for _ in 1 2 3 4 5; do
        memcap_run --memory 64M --fresh -- true
        # A busy machine is given further tries, nothing else.
        case $(field proof) in *"no end within the time of a trial"*) ;; *) break ;; esac
    done
    equal "exit status" "$status" 0
    report_says proof_kind fresh
    contains "the proof" "$(field proof)" "a trial before: "
    contains "the proof" "$(field proof)" "nobody killed"
    echo "# the one on record"
    memcap_run --memory 64M -- true
    equal "exit status" "$status" 0
    report_says proof_kind cached
    contains "the proof" "$(field proof)" "an earlier trial: "
    nothing_left 15
}

pids_written() { [ "$(wc -l 2>/dev/null </tmp/pids)" = "$1" ]; }

# Starts memcap beside the script; sets memcap to its pid.
memcap_start() {
    rm -f /tmp/flat "$report"
    (launch memcap run --memory 64M --report "$report" "$@") >/tmp/out 2>/tmp/err &
    memcap=$!
}

# Waits for a memcap of memcap_start; what memcap_run leaves behind.
memcap_wait() {
    wait "$memcap"
    status=$?
    read_report
}

# memcap with a job that has left its session, and a plain child beside it.
start_daemons() {
    rm -f /tmp/pids
    memcap_start daemonize --child --stay --hold 60 --pidfile /tmp/pids
    if ! wait_until 20 pids_written 2; then
        not_ok "the daemon started: $(cat /tmp/out /tmp/err)"
    fi
    equal "process $memcap" "$(cat /proc/$memcap/comm)" memcap
    keeper=$(pid_of memcap-keeper)
}

pid_of() { # NAME
    survivors | sed -n "s/($1)$//p" | head -n 1
}

# Nothing may outlive memcap itself, not even what left its session.
scenario_killed() {
    echo "# kill -9 of memcap, a daemon and a plain child below it"
    start_daemons
    kill -9 "$memcap"
    wait "$memcap"
    nothing_left 15
}

scenario_keeper_killed() {
    echo "# kill -9 of the keeper, a daemon and a plain child below it"
    start_daemons
    kill -9 "$keeper"
    memcap_wait
    equal "exit status" "$status" 125
    report_says verdict.kind internal-error
    report_says left_running '[]'
    nothing_left 15
}

# What both leave behind cannot be ended by either: the next start does.
scenario_both_killed() {
    echo "# kill -9 of memcap and its keeper, then the next run"
    start_daemons
    kill -9 "$keeper" "$memcap"
    wait "$memcap"
    memcap_run --memory 64M -- true
    equal "exit status" "$status" 0
    nothing_left 15
}

job_is_gone() { [ -z "$(pid_of hog)" ]; }

job_is_there() { [ -n "$(pid_of hog)" ]; }

# The limit does not need memcap to run.
scenario_stopped() {
    echo "# SIGSTOP of memcap, 256M under 64M, 24M a second"
    memcap_start hog 256M --rate 24M --hold 60
    wait_until 20 job_is_there || not_ok "the job started: $(cat /tmp/err)"
    kill -STOP "$memcap"
    if job_is_there; then ok "the job runs on"; else not_ok "the job ended before"; fi
    if wait_until 60 job_is_gone; then ok "the job was ended"; else not_ok "the job still runs"; fi
    equal "state of memcap" "$(awk '/^State/ { print $2 }' "/proc/$memcap/status")" T
    kill -CONT "$memcap"
    memcap_wait
    report_says_killed memory-limit
    report_says verdict.by "$by"
    within peak_bytes "$(field peak_bytes)" $((limit * 9 / 10)) $((limit + 33554432))
    nothing_left 15
}

# What the project promises first, in sizes of real life.
scenario_acceptance() {
    echo "# 4G under 512M"
    memcap_run --memory 512M -- hog 4G --hold 30
    report_says_killed memory-limit
    report_says verdict.by "$by"
    report_says limit_bytes 536870912
    nothing_left 15
    echo "# a tree of 4 x 200M under 512M"
    memcap_run --memory 512M -- tree 4 200M --hold 30
    report_says_killed memory-limit
    report_says verdict.by "$by"
    report_says limit_bytes 536870912
    nothing_left 15
}

# Needs swap: without a swap limit this job would complete, only slowly.
scenario_swap() {
    echo "# the job that swapping would save"
    memcap_run --memory 64M -- hog 160M --hold 0
    report_says_killed memory-limit
    report_says verdict.by kernel
    within peak_bytes "$(field peak_bytes)" $((limit * 9 / 10)) $((limit + 1048576))
    nothing_left 15
}

# The limits beside memory, where the kernel holds the number of processes.
scenario_beside() {
    echo "# CPU time of the tree"
    memcap_run --memory 64M --cpu 500ms -- sh -c 'while :; do :; done'
    equal "exit status" "$status" 124
    report_says verdict.kind cpu-limit
    nothing_left 15
    echo "# too many processes"
    memcap_run --memory 64M --processes 6 -- tree 20 64K --hold 30
    equal "exit status" "$status" 137
    report_says verdict.kind process-limit
    contains "the proof" "$(field proof)" pids.max
    nothing_left 15
    echo "# as many as allowed"
    memcap_run --memory 64M --processes 6 -- tree 4 64K --hold 1
    equal "exit status" "$status" 0
    report_says verdict.kind finished
    nothing_left 15
}

# Held by memory.high: the kernel slows the job down, and nothing that it could
# give back would help it.
scenario_soft() {
    echo "# a job that stands still at its soft limit, ended when asked"
    memcap_run --memory 96M --soft 32M --stall 3s -- hog 80M --hold 60
    equal "exit status" "$status" 124
    report_says verdict.kind stalled
    contains "the proof" "$(field proof)" memory.high
    within peak_bytes "$(field peak_bytes)" 0 $((96 * 1048576))
    nothing_left 15
    echo "# a job below its soft limit"
    memcap_run --memory 96M --soft 64M --stall 3s -- hog 16M --hold 1
    equal "exit status" "$status" 0
    report_says verdict.kind finished
    nothing_left 15
    echo "# kill -9 of memcap while the job stands still"
    memcap_start --soft 16M hog 48M --hold 60
    wait_until 20 job_is_there || not_ok "the job started: $(cat /tmp/err)"
    kill -9 "$memcap"
    wait "$memcap"
    nothing_left 15
}

# Needs swap: the job that an allowance saves.
scenario_swap_allowed() {
    echo "# the job that swapping saves, where swap is allowed"
    memcap_run --memory 64M --swap 160M -- hog 160M --hold 0
    equal "exit status" "$status" 0
    report_says verdict.kind finished
    within peak_bytes "$(field peak_bytes)" $((limit * 9 / 10)) $((limit + 1048576))
    nothing_left 15
    echo "# an allowance that does not do"
    memcap_run --memory 64M --swap 32M -- hog 160M --hold 0
    report_says_killed memory-limit
    nothing_left 15
}

resident() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status" 2>/dev/null; }

# A process beside memcap that takes memory and is never chosen by the OOM killer;
# sets neighbour to its pid.
start_neighbour() { # MIB COMMAND-TO-PLACE-ITSELF
    (
        eval "${2:-:}"
        echo -1000 >/proc/self/oom_score_adj
        exec hog "$1M" --hold 50
    ) &
    neighbour=$!
    require "the neighbour takes its memory" wait_until 30 neighbour_holds $(($1 * 1024))
}

neighbour_holds() { # KIB
    seen=$(resident "$neighbour")
    [ "${seen:-0}" -ge "$1" ]
}

end_neighbour() {
    kill -9 "$neighbour"
    wait "$neighbour"
}

# The machine's own OOM killer is not our limit, nor anybody's signal.
scenario_machine_oom() {
    echo "# a job within its limit, for which the machine has too little"
    available=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
    start_neighbour $((available - 160))
    memcap_run --memory 512M -- hog 400M --rate 100M --hold 30
    end_neighbour
    report_says_killed machine-oom
    report_says verdict.by ''
    nothing_left 15
}

# The limit of a memcap inside a job is its own affair: the outer one goes on.
scenario_nested() {
    echo "# memcap inside a job, with a limit of its own"
    memcap_run --memory 128M -- memcap run --memory 32M --report /tmp/inner.json -- hog 64M --hold 30
    cp /tmp/flat /tmp/outer.flat
    awk -f /vm/json.awk /tmp/inner.json >/tmp/flat
    report_says verdict.kind memory-limit
    report_says mechanism "$mechanism"
    report_says limit_bytes 33554432
    mv /tmp/outer.flat /tmp/flat
    equal "exit status" "$status" 137
    report_says verdict.kind finished
    report_says job.exit_code 137
    nothing_left 15
}

# Leaves status and the flattened examination behind.
ask_doctor() { # OPTION...
    if [ -e /vm/capture ]; then
        captured=$((captured + 1))
        set -- --save "/tmp/captured-$captured" "$@"
    fi
    (launch memcap doctor --json "$@") >/tmp/doctor.json 2>/tmp/err
    status=$?
    sed 's/^/    stderr: /' /tmp/err
    unshown=1
    if ! awk -f /vm/json.awk /tmp/doctor.json >/tmp/flat 2>&1; then
        not_ok "doctor printed JSON: $(cat /tmp/doctor.json)"
    fi
}

# What `doctor` must say of each mechanism on this host: enforced, or why not
# (not-available, not-tried).
scenario_doctor() { # CGROUP-V2 CGROUP-V1 WATCHDOG [SYSTEMD]
    echo "# doctor"
    ask_doctor
    case "$1 $2 ${4:-}" in *enforced*) equal "exit status" "$status" 0 ;; *) equal "exit status" "$status" 1 ;; esac
    doctor_says cgroup-v2 "$1"
    doctor_says cgroup-v1 "$2"
    doctor_says watchdog "$3"
    doctor_says systemd "${4:-not-available}"
    nothing_left 15
}

# Which causes doctor named, in its order, and no others; after scenario_doctor.
doctor_finds() { # CODE...
    equal "causes found" "$(sed -n 's/^findings\.[0-9]*\.code	//p' /tmp/flat | tr '\n' ' ')" "${*:+$* }"
}

# What doctor said of a cause that it found.
doctor_fix() { # CODE PHRASE
    contains "the remedy of $1" "$(finding "$1" 'fix\.[0-9]*')" "$2"
}

doctor_saw() { # CODE PHRASE
    contains "what was seen of $1" "$(finding "$1" seen)" "$2"
}

doctor_means() { # CODE PHRASE
    contains "the meaning of $1" "$(finding "$1" means)" "$2"
}

# The lines of a field of a cause that was found, as one text.
finding() { # CODE FIELD
    entry=$(sed -n "s/^\(findings\.[0-9]*\)\.code	$1\$/\1/p" /tmp/flat)
    sed -n "s/^$entry\.$2	//p" /tmp/flat | tr '\n' ' '
}

doctor_says() { # MECHANISM VERDICT
    entry=$(sed -n "s/^\(.*\)\.mechanism	$1\$/\1/p" /tmp/flat | head -n 1)
    equal "doctor on $1" "$(field "$entry.verdict")" "$2"
}

all_scenarios() {
    scenario_within
    scenario_breach
    scenario_tree
    scenario_killed
    scenario_keeper_killed
    [ "$containment" = keeper ] || scenario_both_killed
    scenario_stopped
}
