# Sourced by cells that run the behaviour suites, after checks.sh.
# shellcheck shell=sh

# A suite finds the job programs in the folder above its own.
mkdir -p /tmp/target/deps
chmod 1777 /tmp/target
for file in /vm/*; do
    case $file in
    /vm/suite-*) cp "$file" /tmp/target/deps/ ;;
    */script | *.sh | *.awk) ;;
    *) [ -d "$file" ] || cp "$file" /tmp/target/ ;;
    esac
done
export MEMCAP_BIN=/tmp/target/memcap

# The tests as uid 1000 from a shell in a delegated subtree.
run_suites_delegated() {
    delegate /sys/fs/cgroup/delegated
    launch() { user_in_group /sys/fs/cgroup/delegated/shell "$@"; }
    remember_cgroups
    run_suites ordinary_cgroup_v2 delegated-cgroup-v2
}

# The tests of one setting, through `launch`, one after the other.
run_suites() { # SETTING REQUIREMENT
    for file in /tmp/target/deps/suite-*; do
        echo "# ${file##*/}, $1"
        (launch env MEMCAP_REQUIRE="$2" MEMCAP_BIN=$MEMCAP_BIN "$file" "$1" --test-threads 1) 2>&1
        equal "status of ${file##*/}" "$?" 0
        nothing_left 15
    done
}
