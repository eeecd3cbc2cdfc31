"""The page of results, from the raw runs."""

import json
import statistics

from . import goals

MIB = 1 << 20
# What is measured together, with the files of its runs.
SUPERVISOR = ("wrap-cost", "memory", "watching", "doctor")

INTRODUCTION = """\
Written by `{command}`; every run is in [`benchmarks/`](benchmarks/). Compare
within a table, not between machines.

{machine}

"""

MARKER_INTRODUCTION = """\
## What conversions take

Written by `{command}`; every run is in [`benchmarks/marker.json`](benchmarks/marker.json).

{machine}

Marker's models are of {scale} scale, so times and peaks of real ones are larger; documents
of letter pages with forty lines of text and a picture. Rounds: {rounds}. Peaks are those of the whole
process tree, by the mechanism that also held the limits, `{mechanism}`.

"""

WRAP_INTRODUCTION = """\
## What wrapping costs

`/bin/true` under each wrapper, {rounds} rounds, every wrapper once a round in
random order. *Over `env`* is the median of the differences within a round to
one extra exec.

"""

MEMORY_INTRODUCTION = """\
## What a limit of {limit} MiB does

Median and range, runs: {rounds}. *Touched* is what the job wrote into its
ledger before it was ended, *over* the worst run's excess. *Ending* is the time
from the job's last growth to the wrapper's return, the worst run's (looked at
every millisecond). *Survivors* counts processes alive 0.15 s after the wrapper
returned, in the worst run.

"""

JOB_TITLES = {
    "hog": "One allocator at full speed to 4 GiB, with a plain and a daemonised bystander",
    "slow": "The same at 100 MiB/s to 1 GiB",
    "behind a parent": "The allocator is a child of the wrapped process (which exits 3 if it is killed)",
    "tree": "Four children of 200 MiB, held for 3 s (exits 0 if all lived, else 4)",
    "daemons": "A job within the limit that exits 0 and leaves a child and a daemon",
}


WATCHING_INTRODUCTION = """\
## What watching a steady tree costs

Sleeping processes that hold a little memory each. Processor time and memory of
everything that is not the job, over 10 s after the tree stands; 100 % is one
processor. *RSS* counts shared pages in every process, *PSS* once.

"""


GOALS_INTRODUCTION = """\
## Goals

The worst of the runs below counts for overshoot, trees and survivors, the median for
times.

"""


def page(folder):
    """The whole page, from what lies in `folder`: the files of runs, and in
    `missed-goals.md` what is to be said of goals that were not reached.
    """
    found = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    parts = ["# Benchmarks\n\n", GOALS_INTRODUCTION, goals_table(found)]
    missed = folder / "missed-goals.md"
    if missed.exists():
        parts += [missed.read_text(), "\n"]
    if all(name in found for name in SUPERVISOR):
        results = found[SUPERVISOR[0]]
        parts.append(supervisor_section(results, {name: found[name]["runs"] for name in SUPERVISOR}))
    if "marker" in found:
        parts.append(marker_section(found["marker"]))
    return "".join(parts).rstrip() + "\n"


def goals_table(found):
    rows = []
    if all(name in found for name in SUPERVISOR):
        runs = [found[name]["runs"] for name in SUPERVISOR]
        rows += goals.supervisor(*runs, found[SUPERVISOR[0]]["limit_bytes"])
    if "marker" in found:
        rows += goals.conversions(found["marker"]["runs"])
    shown = [[what, goal, measured, "yes" if is_met else "**no**"] for what, goal, measured, is_met in rows]
    return table(["what it is", "goal", "measured", "met"], shown)


def supervisor_section(results, runs):
    parts = [
        INTRODUCTION.format(command=results["command"].strip(), machine=machine(results)),
        wrap_section(results, runs["wrap-cost"]),
        memory_section(results, runs["memory"]),
        watching_section(runs["watching"]),
        doctor_section(runs["doctor"]),
    ]
    if results["absent"]:
        parts.append(f"Not installed, so not measured: {', '.join(results['absent'])}.\n\n")
    return "".join(parts)


def marker_section(results):
    runs = results["runs"]
    of = lambda *what: [run for run in runs if run["what"] in what]  # noqa: E731
    rounds = 1 + max(run["round"] for run in runs)
    parts = [
        MARKER_INTRODUCTION.format(
            command=results["command"].strip(),
            machine=machine(results),
            scale=results["scale"],
            mechanism=results["mechanism"],
            rounds=rounds,
        ),
        table(
            ["what it is", "pages", "limit", "ended", "attempts", "median s", "range s", "peak MiB", "pages/min"],
            conversion_rows(of("bare", "limit")),
        ),
        "### Chunks of 20 pages by one warm worker, and by a process each\n\n",
        table(
            ["what it is", "pages", "limit", "ended", "attempts", "median s", "range s", "peak MiB", "pages/min"],
            conversion_rows(of("drive")),
        ),
        "### A document that fits anyway\n\n",
        table(
            ["what it is", "pages", "limit", "ended", "attempts", "median s", "range s", "peak MiB", "pages/min"],
            conversion_rows(of("alone", "fits")),
        ),
        overhead(runs),
        "### Planning a file of about 1 GB\n\n",
    ]
    for run in of("plan"):
        parts.append(
            f"`memcap marker plan`, {run['pages']} pages, {run['file_bytes'] / 1e6:.0f} MB: "
            f"{run['wall_seconds']:.2f} s, exit code {run['exit_code']}, the largest process in it held "
            f"{run['peak_bytes'] / MIB:.0f} MiB (resident, file pages included).\n"
        )
    return "".join(parts)


def conversion_rows(runs):
    """One row for each thing that was run, in the order of the runs."""
    groups = {}
    for run in runs:
        key = (run["what"], run["pages"], run["limit"], " ".join(run.get("options", [])))
        groups.setdefault(key, []).append(run)
    return [conversion_row(key, group) for key, group in groups.items()]


def conversion_row(key, runs):
    what, pages, limit, options = key
    names = {"bare": "marker_single", "alone": "marker_single, nothing around it"}
    walls = sorted(run["wall_seconds"] for run in runs)
    peaks = sorted(run["peak_bytes"] / MIB for run in runs if run["peak_bytes"] is not None)
    attempts = sorted({run["attempts"] for run in runs if run.get("attempts") is not None})
    median = statistics.median(walls)
    complete = all(run["complete"] for run in runs)
    endings = {run.get("ending") or f"exit {run['exit_code']}" for run in runs}
    return [
        f"{names.get(what, 'memcap marker')} {options}".strip(),
        str(pages),
        limit or "none",
        ", ".join(sorted(endings)),
        ", ".join(map(str, attempts)),
        f"{median:.1f}",
        f"{walls[0]:.1f} to {walls[-1]:.1f}",
        spread(peaks) if peaks else "",
        f"{60 * pages / median:.0f}" if complete else "",
    ]


def overhead(runs):
    ratios = goals.over_alone(runs)
    if not ratios:
        return ""
    percent = [100 * (ratio - 1) for ratio in ratios]
    return f"Over marker_single alone, {len(ratios)} pairs one after the other: median {statistics.median(percent):+.1f} %, {percent[0]:+.1f} to {percent[-1]:+.1f} %.\n\n"


def machine(results):
    seen = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return (
        f"{seen['date']}; {seen['processor']}, {seen['processors']} processors, "
        f"{seen['memory_bytes'] / (1 << 30):.0f} GiB of memory, "
        f"{seen['swap_bytes'] // MIB} MiB of swap; Linux {seen['kernel']}, memory controller: "
        f"{seen['memory_controller']}, huge pages: {seen['huge_pages']}; run as {seen['user']}; "
        f"load average when it ended {seen['load_average']:.1f}.\n\n{versions}."
    )


def wrap_section(results, runs):
    times = {}
    for entry in runs:
        times.setdefault(entry["wrapper"], {})[entry["round"]] = entry["ns"] / 1e6
    rows = []
    for wrapper in results["wrappers"]:
        name = wrapper["name"]
        if name not in times:
            continue
        by_round = times[name]
        values = sorted(by_round.values())
        over = [value - times["env"][number] for number, value in by_round.items()]
        rows.append([
            name,
            wrapper["note"],
            f"{statistics.median(values):.2f}",
            f"{values[int(len(values) * 0.95)]:.2f}",
            f"{statistics.median(over):+.2f}",
        ])
    rounds = len(times["env"])
    header = ["wrapper", "what it is", "median ms", "95 % ms", "over `env` ms"]
    return WRAP_INTRODUCTION.format(rounds=rounds) + table(header, rows)


def memory_section(results, runs):
    limit = results["limit_bytes"]
    rounds = 1 + max(entry["round"] for entry in runs)
    parts = [MEMORY_INTRODUCTION.format(limit=limit // MIB, rounds=rounds)]
    for job, title in JOB_TITLES.items():
        entries = [entry for entry in runs if entry["job"] == job]
        names = dict.fromkeys(entry["wrapper"] for entry in entries)
        rows = [row(name, [e for e in entries if e["wrapper"] == name], limit) for name in names]
        header = ["wrapper", "touched MiB", "over", "exit", "wall s", "ending ms", "survivors"]
        parts.append(f"### {title}\n\n" + table(header, rows))
    return "".join(parts)


def row(name, entries, limit):
    touched = sorted(entry["touched"] for entry in entries)
    over = max(0, touched[-1] - limit)
    codes = sorted({shown_code(entry["code"]) for entry in entries})
    walls = [entry["wall_seconds"] for entry in entries]
    return [
        name,
        spread([value / MIB for value in touched]),
        f"{over / MIB:.1f} MiB ({100 * over / limit:.1f} %)" if over else "0",
        ", ".join(codes),
        f"{statistics.median(walls):.2f}",
        ending(entries),
        str(max(len(entry["survivors"]) for entry in entries)),
    ]


def ending(entries):
    seconds = [entry["ending_seconds"] for entry in entries]
    return "never" if None in seconds else f"{1000 * max(seconds):.0f}"


def watching_section(runs):
    rows = []
    for entry in runs:
        if not entry["steady"]:
            rows.append([entry["wrapper"], str(entry["processes"]), "no steady tree", "", ""])
            continue
        rows.append([
            entry["wrapper"],
            str(entry["processes"]),
            f"{entry['cpu_percent']:.3f}",
            f"{entry['resident_bytes'] / MIB:.1f}",
            f"{entry['proportional_bytes'] / MIB:.1f}",
        ])
    header = ["wrapper", "processes", "CPU %", "RSS MiB", "PSS MiB"]
    return WATCHING_INTRODUCTION + table(header, rows)


def doctor_section(runs):
    walls = sorted(run["wall_seconds"] for run in runs)
    return (
        "## What a diagnosis takes\n\n"
        f"`memcap doctor --json` with all its trials, runs: {len(walls)}: median {statistics.median(walls):.2f} s, "
        f"{walls[0]:.2f} to {walls[-1]:.2f} s.\n\n"
    )


def shown_code(code):
    if code is None:
        return "hung"
    return f"signal {-code}" if code < 0 else str(code)


def spread(values):
    median, low, high = statistics.median(values), values[0], values[-1]
    if high - low < 0.5:
        return f"{median:.0f}"
    return f"{median:.0f} ({low:.0f} to {high:.0f})"


def table(header, rows):
    """A table whose first columns of words are followed by columns of numbers."""
    numbers = [title for title in header if title not in ("wrapper", "what it is")]
    lines = [header, ["---"] * (len(header) - len(numbers)) + ["---:"] * len(numbers), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines) + "\n"
