# Sourced after checks.sh by cells whose kernel calls itself one of WSL2's: what
# WSL puts into a distribution beside it.
# shellcheck shell=sh

mkdir -p /run/WSL

require "the kernel calls itself WSL2" grep -q microsoft-standard-WSL2 /proc/sys/kernel/osrelease

# What /etc/wsl.conf asks for.
wsl_conf() { # LINE...
    printf '%s\n' "$@" >/etc/wsl.conf
}

# Which layout doctor takes this for; after scenario_doctor.
doctor_era() { # ERA
    equal "WSL's era" "$(field facts.wsl.value.era.value)" "$1"
}

# A group that WSL makes for a distribution, from version 2.9.8 on.
readonly distro=/sys/fs/cgroup/wsl-user/distro-280
