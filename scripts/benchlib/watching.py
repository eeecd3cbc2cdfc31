"""What it costs to watch a steady tree of 1, 100 and 1,000 processes.

Everything below the wrapper that is not the job belongs to the wrapper: its
processor time over a while and its memory at the end of it.
"""

import os
import pathlib
import subprocess
import time
import uuid

from benchlib.memory import MARK, end_all, marked

SIZES = (1, 100, 1000)
# What one `tree` program can fork.
MOST = 500
SECONDS = 10
PATIENCE_SECONDS = 60


def measure(wrappers, programs, seconds=SECONDS):
    results = []
    for size in SIZES:
        for wrapper in wrappers:
            if wrapper.limits:
                outcome = run(wrapper, programs["tree"], size, seconds)
                results.append({"processes": size, "wrapper": wrapper.name} | outcome)
    return results


def run(wrapper, tree, size, seconds):
    """A tree whose members hold a little memory and sleep."""
    rest, words = size, []
    while rest > 0:
        words.append(f"{tree} {min(rest, MOST)} 64K --hold {PATIENCE_SECONDS + seconds} &")
        rest -= MOST
    job = ["/bin/sh", "-c", " ".join(words) + " wait"]
    mark = str(uuid.uuid4())
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        wrapper.command(job),
        env=os.environ | {MARK: mark},
        user=wrapper.user,
        group=wrapper.user,
        extra_groups=None if wrapper.user is None else [],
        stdin=quiet,
        stdout=quiet,
        stderr=quiet,
    )
    try:
        steady = wait_until(lambda: members(mark, tree) >= size)
        if not steady:
            return {"steady": False}
        # Start-up is over for the watcher too.
        time.sleep(1)
        own = watchers(mark, process.pid, tree)
        if process.poll() is not None:
            return {"steady": False}
        before, begin = cpu(own), time.perf_counter()
        time.sleep(seconds)
        after, end = cpu(own), time.perf_counter()
        return {
            "steady": True,
            "watchers": len(own),
            "cpu_percent": 100 * (after - before) / (end - begin),
            "resident_bytes": memory(own, "Rss:"),
            "proportional_bytes": memory(own, "Pss:"),
        }
    finally:
        end_all(mark)
        process.kill()
        process.wait()


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.2)
    return False


def members(mark, tree):
    # Every `tree` program waits for its children: it is no member itself.
    ours = [pid for pid in marked(mark) if executable(pid) == str(tree)]
    parents = {parent(pid) for pid in ours}
    return sum(1 for pid in ours if pid not in parents)


def watchers(mark, first, tree):
    # A wrapper that has become the job by `exec` watches nothing.
    jobs = {str(tree), os.path.realpath("/bin/sh")}
    return sorted(pid for pid in {first, *marked(mark)} if executable(pid) not in jobs)


def executable(pid):
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def parent(pid):
    try:
        return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def cpu(pids):
    """Seconds on a processor, in nanoseconds' resolution (schedstat)."""
    total = 0
    for pid in pids:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def memory(pids, field):
    total = 0
    for pid in pids:
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(field):
                total += int(line.split()[1]) * 1024
    return total
