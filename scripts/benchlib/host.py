"""What machine and what versions the numbers belong to. No host names."""

import datetime
import os
import pathlib
import subprocess


def describe():
    return {
        "date": datetime.date.today().isoformat(),
        "processor": field("/proc/cpuinfo", "model name"),
        "processors": os.cpu_count(),
        "memory_bytes": int(field("/proc/meminfo", "MemTotal").split()[0]) * 1024,
        "swap_bytes": int(field("/proc/meminfo", "SwapTotal").split()[0]) * 1024,
        "kernel": ".".join(os.uname().release.split("-")[0].split(".")[:3]),
        "huge_pages": chosen("/sys/kernel/mm/transparent_hugepage/enabled"),
        "memory_controller": memory_controller(),
        "user": "root" if os.geteuid() == 0 else "ordinary user",
        "load_average": os.getloadavg()[0],
    }


def field(path, name):
    for line in pathlib.Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"


def chosen(path):
    """The word in brackets."""
    try:
        text = pathlib.Path(path).read_text()
    except OSError:
        return "unknown"
    return text.partition("[")[2].partition("]")[0]


def memory_controller():
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, rest = line.partition(" - ")
        kind, _, options = rest.split(" ", 2)
        if kind == "cgroup" and "memory" in options.split(","):
            return "cgroup v1"
        if kind == "cgroup2":
            controllers = pathlib.Path(mount.split(" ")[4], "cgroup.controllers")
            if "memory" in controllers.read_text().split():
                return "cgroup v2"
    return "none"


def versions(memcap, root, packages, peers):
    found = {"memcap": output([memcap, "--version"]).removeprefix("memcap ")}
    commit = output(["git", "-C", str(root), "rev-parse", "--short", "HEAD"])
    if commit:
        found["commit"] = commit
    for package in packages:
        version = output(["dpkg-query", "--show", "--showformat=${Version}", package])
        if version:
            found[package] = version
    for program in ("runexec", "memlimit"):
        # The folder's name ends in the version: a program may not tell it.
        if (peers / "bin" / program).exists():
            folder = (peers / "bin" / program).readlink().parts[1]
            name, _, version = folder.rpartition("-")
            found[name] = version
    return found


def processes():
    """All of them, and what each waits for, for people."""
    return output(["ps", "-e", "--forest", "-o", "pid,ppid,stat,wchan:24,time,etime,args"])


def output(command):
    """The command's standard output; empty where it fails or is absent."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return result.stdout.strip()
