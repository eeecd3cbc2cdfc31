"""What wrapping costs: /bin/true under every wrapper, interleaved."""

import os
import random
import shutil
import time

# A fixed seed: the order is without pattern and the same for everyone.
SEED = 20


def measure(wrappers, runs):
    """`runs` rounds; each round runs every wrapper once, in a new order."""
    true = shutil.which("true")
    # posix_spawn cannot change the user, so these wrappers are left out.
    measurable = [wrapper for wrapper in wrappers if wrapper.user is None and wrapper.returns]
    commands = {wrapper.name: wrapper.command([true]) for wrapper in measurable}
    order = random.Random(SEED)
    with open(os.devnull, "w") as null:
        quiet = [(os.POSIX_SPAWN_DUP2, null.fileno(), number) for number in (1, 2)]
        for name in commands:
            spawn(commands[name], quiet)
        results = []
        for round_number in range(runs):
            names = list(commands)
            order.shuffle(names)
            for name in names:
                nanoseconds, code = spawn(commands[name], quiet)
                results.append(
                    {"round": round_number, "wrapper": name, "ns": nanoseconds, "code": code}
                )
    return results


def spawn(command, actions):
    begin = time.perf_counter_ns()
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
    _, status = os.waitpid(pid, 0)
    return time.perf_counter_ns() - begin, os.waitstatus_to_exitcode(status)
