"""Converts one range of pages after the other, with models that are loaded once.

Run by marker's own interpreter. It does what `marker_single` does, through the
same command, so that every option means the same; only the loading of models is
remembered from one call to the next.

One JSON object a line: questions come on standard input, answers leave on
standard output. Libraries write there too, so both are taken away before
anything else is imported. An attempt that fails is answered, and then this
process ends, as marker_single would have: what an exception left behind is
nothing to go on with. The program that asked starts another.
"""

import gc
import sys

# What is imported and loaded stays: to look through it for garbage is in vain, and
# takes more than two seconds.
gc.disable()

# The current folder, which `-c` puts first on the module path, is taken off it.
sys.path[:] = [entry for entry in sys.path if entry]
sys.argv[0] = "marker_single"

import copy
import ctypes
import errno
import json
import os
import time
import traceback
from importlib import import_module
from pathlib import Path

PROTOCOL = 1
# How much of a server's log is looked at, in characters.
LAST_WORDS = 16384
CRASHED = 1
USAGE = 2


class Channel:
    """The private ends of what were standard input and output."""

    def __init__(self):
        self.questions = os.fdopen(os.dup(0), "rb")
        self.answers = os.fdopen(os.dup(1), "wb", buffering=0)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)

    def answer(self, number, kind, **details):
        line = json.dumps({"protocol": PROTOCOL, "number": number, "kind": kind, **details})
        self.answers.write(line.encode() + b"\n")


class Unsupported(Exception):
    """This release has no way to load its models once."""


def main():
    channel = Channel()
    try:
        command = find_command()
    except Unsupported as reason:
        channel.answer(0, "unsupported", reason=str(reason))
        return 0
    except BaseException as error:
        return fail(channel, 0, error)
    channel.answer(0, "ready")
    for line in channel.questions:
        question = json.loads(line)
        number = question["number"]
        peak_is_new = begin(question)
        try:
            convert(command, [path_of(word) for word in question["arguments"]])
            tidy()
            peak = peak_bytes() if peak_is_new else None
        except BaseException as error:
            return fail(channel, number, error)
        channel.answer(number, "done", floor_bytes=anonymous_bytes(), peak_bytes=peak)
    return 0


def find_command():
    """The command behind `marker_single`, which will load its models once."""
    from importlib.metadata import entry_points

    scripts = list(entry_points(group="console_scripts", name="marker_single"))
    if not scripts:
        raise Unsupported("marker has no command marker_single")
    command = load(scripts[0])
    module = import_module(scripts[0].value.partition(":")[0])
    if not hasattr(command, "make_context"):
        raise Unsupported("marker_single is no command of click's")
    if not hasattr(module, "create_model_dict"):
        raise Unsupported("marker_single does not load its models by create_model_dict")
    module.create_model_dict = loads_once(module.create_model_dict)
    notice_dead_servers()
    return command


def load(script):
    """Imports the command. Without a file behind the main program, which `-c` has
    not, marker would look for its file of settings from the current folder on."""
    this = sys.modules["__main__"]
    this.__file__ = sys.argv[0]
    try:
        return script.load()
    finally:
        # A process that is started anew would import it.
        del this.__file__


def notice_dead_servers():
    """Marker 2 waits for a server until the time for its start is over, also where
    the server has died meanwhile. It is a child of this process."""
    try:
        spawn = import_module("surya.inference.backends.spawn")
        wait, folder, error = spawn.wait_for_health, spawn._cache_dir, spawn.SpawnError
    except (ImportError, AttributeError):
        return

    def wait_for_health(base_url, total_timeout=300.0, interval=1.0):
        server = server_at(base_url, folder())
        until = time.monotonic() + total_timeout
        while time.monotonic() < until:
            if wait(base_url, interval, interval):
                return True
            end = None if server is None else end_of(server["pid"])
            if end is not None:
                raise error(obituary(server["name"], end, folder()))
        return False

    spawn.wait_for_health = wait_for_health


def server_at(base_url, folder):
    """The process that was started for this address; None where it is no process."""
    port = base_url.rpartition(":")[2].strip("/")
    for file in folder.glob("*_server.json"):
        try:
            record = json.loads(file.read_text())
        except (OSError, ValueError):
            continue
        if str(record.get("port")) == port and record.get("pid"):
            return {"name": file.stem, "pid": record["pid"]}
    return None


def end_of(child):
    """How it has ended; None while it runs."""
    try:
        ended, status = os.waitpid(child, os.WNOHANG)
    except ChildProcessError:
        # Somebody else has waited for it, or it is nobody's child here.
        return None if Path(f"/proc/{child}").exists() else "for an unknown reason"
    if ended != child:
        return None
    code = os.waitstatus_to_exitcode(status)
    return f"with exit code {code}" if code >= 0 else f"by signal {-code}"


def obituary(name, end, folder):
    """What a server that died at its start has left: all of it for the log, and a
    line that says why."""
    try:
        said = (folder / f"{name}.log").read_text(errors="replace")[-LAST_WORDS:]
    except OSError:
        said = ""
    sys.stderr.write(said)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    why = f": {lines[-1]}" if lines else ""
    return f"{name} ended while it started, {end}{why}"


def loads_once(load):
    loaded = {}

    def models(*arguments, **options):
        key = repr((arguments, sorted(options.items())))
        if key not in loaded:
            loaded[key] = load(*arguments, **options)
            gc.freeze()
            gc.enable()
        # A converter adds to its dictionary.
        return dict(loaded[key])

    return models


def convert(command, arguments):
    # The command adds an option to itself for every setting, each time.
    command = copy.copy(command)
    command.params = list(command.params)
    command.main(args=arguments, prog_name="marker_single", standalone_mode=False)


def begin(question):
    """Gives the attempt logs of its own; whether peaks are counted anew."""
    sys.stdout.flush()
    sys.stderr.flush()
    for stream, name in ((1, "stdout"), (2, "stderr")):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        log = os.open(path_of(question[name]), flags, 0o600)
        os.dup2(log, stream)
        os.close(log)
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        return False
    return True


def path_of(word):
    """The bytes of a word travel as the characters of the same numbers."""
    return os.fsdecode(word.encode("latin-1"))


def tidy():
    """Gives back what the attempt took. What is left stays, and is not looked through
    again while the next one is carried out."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.enable()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def anonymous_bytes():
    """What this process holds that no file backs; None where it is not told."""
    status = memory_status()
    parts = [status.get(name) for name in ("RssAnon", "RssShmem", "VmSwap")]
    return None if None in parts else sum(parts)


def peak_bytes():
    """The most that it held of that; None where it is not told."""
    status = memory_status()
    parts = [status.get(name) for name in ("VmHWM", "RssFile")]
    return None if None in parts else max(0, parts[0] - parts[1])


def memory_status():
    try:
        with open("/proc/self/status") as file:
            lines = [line.split() for line in file]
    except OSError:
        return {}
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if words[-1] == "kB"}


def fail(channel, number, error):
    """Tells what went wrong, in the log and to whoever asked."""
    if hasattr(error, "show") and hasattr(error, "exit_code"):
        error.show()
        kind, code = "usage", USAGE
    else:
        traceback.print_exception(type(error), error, error.__traceback__)
        kind, code = "memory" if is_of_memory(error) else "crash", CRASHED
    sys.stderr.flush()
    channel.answer(number, kind)
    return code


def is_of_memory(error):
    """Whether it, or what led to it, is an allocation that was refused."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            return True
        error = error.__cause__ or error.__context__
    return False


sys.exit(main())
