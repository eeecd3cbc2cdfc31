"""How long a full `memcap doctor` with its trials takes."""

import subprocess
import time

RUNS = 10


def measure(memcap, runs=RUNS):
    """Exit code and seconds of each run."""
    return [run(memcap) | {"round": number} for number in range(runs)]


def run(memcap):
    quiet = subprocess.DEVNULL
    begin = time.perf_counter()
    finished = subprocess.run([memcap, "doctor", "--json"], stdin=quiet, stdout=quiet, stderr=quiet, check=False)
    return {"wall_seconds": time.perf_counter() - begin, "code": finished.returncode}
