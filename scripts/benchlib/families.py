"""The families of jobs of docs/design/watchdog.md, each run once under 512 MiB by
the watchdog, with a trace of what it saw and the job's own ledger."""

import json
import os
import pathlib
import struct
import subprocess
import tempfile

LIMIT_BYTES = 512 << 20
LEDGER_BYTES = 4096
PATIENCE_SECONDS = 60

# Options of memcap, and the job. Those of GROWING go over the limit.
GROWING = {
    "malloc": ([], ["hog", "1G"]),
    "many-maps": ([], ["families", "maps", "3000M", "--count", "15"]),
    "threads": ([], ["families", "threads", "1G", "--count", "20"]),
    "huge": ([], ["families", "huge", "1G"]),
    "processes": ([], ["tree", "4", "200M", "--hold", "3"]),
    "copies": ([], ["families", "rewrite", "300M"]),
    "copies-reserved": (
        [],
        [
            *["families", "rewrite", "200M", "--count", "40", "--writers", "6"],
            *["--reserve", "64G", "--hold", "3"],
        ],
    ),
    "shared": ([], ["families", "shared", "1G", "--count", "3"]),
    "filled": ([], ["families", "filled", "1G", "--count", "8", "--hold", "3"]),
    "mapped-file": ([], ["families", "mapped-file", "1G", "--folder", "/dev/shm"]),
    "written-file": ([], ["families", "written-file", "1G", "--folder", "/dev/shm"]),
}
FAMILIES = GROWING | {
    "leases": (["--lease"], ["hog", "1G"]),
    "forks": ([], ["families", "inherit", "300M", "--hold", "0.1"]),
    "copies-within": ([], ["families", "rewrite", "165M"]),
    "one-memory": ([], ["families", "one-memory", "400M", "--rate", "100M"]),
    "shared-within": ([], ["families", "shared", "300M", "--count", "4"]),
}


def record(memcap, jobs, name, user=None):
    """The lines of one run's trace, and what the job touched, in bytes. As the
    user with this number, if one is given."""
    options, job = FAMILIES[name]
    with tempfile.TemporaryDirectory(prefix="memcap-families-") as folder:
        folder = pathlib.Path(folder)
        folder.chmod(0o777)
        ledger, trace = folder / "ledger", folder / "trace"
        ledger.write_bytes(bytes(LEDGER_BYTES))
        ledger.chmod(0o666)
        words = ["--quiet", "--memory", str(LIMIT_BYTES), "--mechanism", "watchdog"]
        command = [memcap, "run", *words, *options, "--trace", trace, "--"]
        command += [jobs / job[0], *job[1:], "--progress", ledger]
        subprocess.run(
            command,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            env=os.environ | {"HOME": str(folder)},
            cwd=folder,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE_SECONDS,
        )
        slots = struct.unpack("<512Q", ledger.read_bytes())
        # The ledger tells shared memory once for each process.
        touched = max(slots) if "shared" in job else sum(slots)
        return [json.loads(line) for line in trace.open()], touched


def built(root):
    """The folder of our programs, built with the profile `dist`."""
    build = "cargo build --quiet --profile dist --bins -p memcap -p integration-tests"
    subprocess.run(build.split(), cwd=root, check=True)
    target = os.environ.get("CARGO_TARGET_DIR") or root / "target"
    return pathlib.Path(target) / "dist"
