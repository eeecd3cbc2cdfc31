"""What a limit of 512 MiB does to jobs that want more, and what is left.

What a job has touched is read from its ledger, a file that outlives it; it is
no sample.
"""

import mmap
import os
import pathlib
import select
import signal
import struct
import subprocess
import time
import uuid

MARK = "MEMCAP_BENCH_MARK"
LEDGER_BYTES = 4096
# After the wrapper has returned: what still runs now has survived.
SETTLE_SECONDS = 0.15
PATIENCE_SECONDS = 20


def measure(wrappers, programs, folder, repeats):
    results = []
    for round_number in range(repeats):
        for job, words in jobs(programs, folder / "ledger").items():
            for wrapper in wrappers:
                if wrapper.name == "env" or (not wrapper.limits and job == "slow"):
                    continue
                if job == "daemons" and not wrapper.returns:
                    continue
                outcome = run(wrapper, words, folder)
                results.append(
                    {"round": round_number, "job": job, "wrapper": wrapper.name} | outcome
                )
    return results


def jobs(programs, ledger):
    """Name and command of each job; all but `daemons` go over the limit."""
    progress = f"--progress {ledger}"
    hog, tree, daemonize = (programs[name] for name in ("hog", "tree", "daemonize"))
    script = {
        # The bystanders show whether more than the allocator is ended.
        "hog": f"{daemonize} --child && exec {hog} 4G {progress}",
        "slow": f"{daemonize} --child && exec {hog} 1G --rate 100M {progress}",
        "behind a parent": f"{daemonize} --child && exec {hog} 4G --in-child {progress}",
        "tree": f"exec {tree} 4 200M --hold 3 {progress}",
        "daemons": f"exec {daemonize} --child",
    }
    return {name: ["/bin/sh", "-c", text] for name, text in script.items()}


def run(wrapper, job, folder):
    ledger = folder / "ledger"
    ledger.write_bytes(bytes(LEDGER_BYTES))
    ledger.chmod(0o666)
    mark = str(uuid.uuid4())
    begin = time.perf_counter()
    process = subprocess.Popen(
        wrapper.command(job),
        env=os.environ | {MARK: mark},
        cwd=folder,
        user=wrapper.user,
        group=wrapper.user,
        extra_groups=None if wrapper.user is None else [],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        code, last_growth = follow(process, ledger)
        end = time.perf_counter()
        wall = end - begin
        time.sleep(SETTLE_SECONDS)
        survivors = sorted(command_of(pid) for pid in marked(mark))
    finally:
        end_all(mark)
        process.wait()
    touched = sum(struct.unpack(f"<{LEDGER_BYTES // 8}Q", ledger.read_bytes()))
    return {
        "touched": touched,
        "code": code,
        "wall_seconds": wall,
        # From the last byte seen touched to the wrapper's return.
        "ending_seconds": None if code is None else end - last_growth,
        "survivors": survivors,
    }


def follow(process, ledger):
    """Waits for the wrapper's end and notes when its job last grew.

    A look every millisecond, at the ledger alone: cheap beside two processors
    full of allocators, and exact to the millisecond or so that it claims."""
    deadline = time.perf_counter() + PATIENCE_SECONDS
    last_growth, last_seen = time.perf_counter(), None
    with open(ledger, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as slots:
        handle = os.pidfd_open(process.pid)
        try:
            while not select.select([handle], [], [], 0.001)[0]:
                now = time.perf_counter()
                if now > deadline:
                    return None, last_growth
                seen = slots[:LEDGER_BYTES]
                if seen != last_seen:
                    last_seen, last_growth = seen, now
        finally:
            os.close(handle)
    return process.wait(), last_growth


def marked(mark):
    """The living processes with our mark in their environment."""
    wanted = f"{MARK}={mark}".encode()
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in variables:
            yield int(entry.name)


def command_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "ended"


def end_all(mark):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        left = list(marked(mark))
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.01)
