"""The wrappers under comparison, and the one cgroup that cgexec needs."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import subprocess

LIMIT_BYTES = 512 << 20
V1_MEMORY = pathlib.Path("/sys/fs/cgroup/memory")
NOBODY = 65534


@dataclasses.dataclass(frozen=True)
class Wrapper:
    """A way to run a command: words before it, and who runs it."""

    name: str
    words: tuple
    note: str
    limits: bool = True
    user: int | None = None
    # False: it hangs after a job that ends by itself.
    returns: bool = True

    def command(self, job):
        return [*self.words, *job]


@contextlib.contextmanager
def prepared_wrappers(programs, peers, alone=False):
    """Every wrapper that this machine can run, while its cgroup exists.

    `peers` is the folder that `scripts/peers-env` prints; `alone` leaves them out."""
    with contextlib.ExitStack() as stack:
        yield [
            Wrapper("none", (), "the job alone", limits=False),
            Wrapper("env", (shutil.which("env"),), "one extra exec", limits=False),
            *([] if alone else peer_wrappers(peers, stack)),
            *memcap_wrappers(programs["memcap"]),
        ]


def peer_wrappers(peers, stack):
    yield from rlimit_peer()
    yield from polling_peers(peers)
    yield from cgroup_peer(stack)
    yield from runexec_peer(peers)


def rlimit_peer():
    if program := shutil.which("prlimit"):
        note = "RLIMIT_AS: each process by itself"
        yield Wrapper("prlimit --as", (program, f"--as={LIMIT_BYTES}"), note)


def polling_peers(peers):
    if program := shutil.which("runlim"):
        words = (program, f"--space-limit={LIMIT_BYTES >> 20}")
        yield Wrapper("runlim", words, "samples every 100 ms")
    if program := shutil.which("memlimit", path=peers / "bin"):
        words = (program, "--children", f"{LIMIT_BYTES}B", "--")
        wrapper = Wrapper("memlimit", words, "samples without a pause")
        yield dataclasses.replace(wrapper, returns=works(wrapper) is not None)


def runexec_peer(peers):
    """Of BenchExec; a group for each run, here without a container."""
    if program := shutil.which("runexec", path=peers / "bin"):
        limits = ("--memlimit", f"{LIMIT_BYTES}B", "--no-container")
        words = (program, "--quiet", *limits, "--output", os.devnull, "--")
        wrapper = Wrapper("runexec", words, "BenchExec, group made for each run")
        if works(wrapper):
            yield wrapper


def cgroup_peer(stack):
    """cgexec into a group made beforehand, and with its group made for the run."""
    if not shutil.which("cgexec") or not os.access(V1_MEMORY, os.W_OK):
        return
    name = f"bench-{os.getpid()}"
    stack.enter_context(v1_group(V1_MEMORY / name))
    words = (shutil.which("cgexec"), "-g", f"memory:{name}")
    yield Wrapper("cgexec", words, "cgroup v1, group made beforehand")

    stack.callback(remove, V1_MEMORY / f"{name}-fresh")
    fresh = f"memory:{name}-fresh"
    script = (
        f"cgcreate -g {fresh} && cgset -r memory.limit_in_bytes={LIMIT_BYTES} {name}-fresh && "
        f'cgexec -g {fresh} "$@"; code=$?; cgdelete -g {fresh}; exit $code'
    )
    words = (shutil.which("sh"), "-c", script, "sh")
    yield Wrapper("cgcreate + cgexec", words, "cgroup v1, group made for each run")


def remove(path):
    """What an interrupted run left."""
    if path.exists():
        path.rmdir()


@contextlib.contextmanager
def v1_group(path):
    path.mkdir()
    try:
        (path / "memory.limit_in_bytes").write_text(str(LIMIT_BYTES))
        swap = path / "memory.memsw.limit_in_bytes"
        if swap.exists():
            swap.write_text(str(LIMIT_BYTES))
        yield
    finally:
        path.rmdir()


def memcap_wrappers(memcap):
    notes = {
        "cgroup-v2": "fresh cgroup and keeper",
        "cgroup-v1": "fresh cgroup and keeper",
        "watchdog": "samples; keeper",
    }
    for mechanism, note in notes.items():
        words = (memcap, "run", "--quiet", "--memory", str(LIMIT_BYTES), "--mechanism", mechanism)
        users = [(None, "")]
        if mechanism == "watchdog" and os.geteuid() == 0:
            users.append((NOBODY, " (ordinary user)"))
        for user, suffix in users:
            wrapper = Wrapper(f"memcap {mechanism}{suffix}", (*words, "--"), note, user=user)
            if works(wrapper):
                yield wrapper


def works(wrapper):
    """Whether it runs `true` to its end with 0; None where it never returns."""
    command = wrapper.command([shutil.which("true")])
    quiet = subprocess.DEVNULL
    who = {"user": wrapper.user, "group": wrapper.user}
    try:
        result = subprocess.run(command, **who, stdout=quiet, stderr=quiet, timeout=5)
    except subprocess.TimeoutExpired:
        return None
    return result.returncode == 0
