"""What was to be reached, beside what was measured.

Each goal is (what, goal, measured, whether it was met); the worst of memcap's
own rows counts. What was not measured is left out.
"""

import statistics

MIB = 1 << 20
TREE_GOAL = 530 * MIB
ENDING_GOAL_SECONDS = 0.05


def supervisor(wrap, memory, watching, doctor, limit):
    return [
        *wrapping(wrap),
        *overshoot(memory, limit),
        *tree(memory),
        *watched(watching),
        *diagnosis(doctor),
    ]


def wrapping(runs):
    env = {run["round"]: run["ns"] for run in runs if run["wrapper"] == "env"}
    for name in ours(runs):
        over = [(run["ns"] - env[run["round"]]) / 1e6 for run in runs if run["wrapper"] == name]
        median = statistics.median(over)
        yield f"wrapping `true`, over `env true`: {name}", "under 1 ms", f"{median:.2f} ms", median < 1


def overshoot(runs, limit):
    for name in ours(runs):
        most = max(run["touched"] for run in runs if run["job"] == "hog" and run["wrapper"] == name)
        over = max(0, most - limit) / limit * 100
        yield f"overshoot of one process at full speed: {name}", "under 2 %", f"{over:.1f} %", over < 2


def tree(runs):
    for name in ours(runs):
        mine = [run for run in runs if run["job"] == "tree" and run["wrapper"] == name]
        most = max(run["touched"] for run in mine)
        survivors = max(len(run["survivors"]) for run in mine)
        endings = [run["ending_seconds"] for run in mine]
        slowest = None if None in endings else max(endings)
        shown = "never" if slowest is None else f"{1000 * slowest:.0f} ms"
        is_met = most < TREE_GOAL and survivors == 0 and slowest is not None and slowest < ENDING_GOAL_SECONDS
        yield (
            f"four processes of 200 MiB: {name}",
            "under 530 MiB, no survivor, gone in 50 ms",
            f"{most / MIB:.0f} MiB, {survivors} survivors, {shown}",
            is_met,
        )


def watched(runs):
    hundred = [
        run for run in runs if run["wrapper"].startswith("memcap") and run["processes"] == 100 and run["steady"]
    ]
    for run in hundred:
        percent = run["cpu_percent"]
        yield f"watching 100 processes: {run['wrapper']}", "under 0.3 % of a processor", f"{percent:.2f} %", percent < 0.3
    for run in hundred:
        held = run["proportional_bytes"] / MIB
        yield f"memory of memcap and its keeper (PSS): {run['wrapper']}", "under 5 MiB", f"{held:.1f} MiB", held < 5


def diagnosis(runs):
    if runs:
        median = statistics.median(run["wall_seconds"] for run in runs)
        yield "a full `memcap doctor` with its trials", "under 0.5 s", f"{median:.2f} s", median < 0.5


def conversions(runs):
    return [*any_number(runs), *warm(runs), *fits(runs)]


def any_number(runs):
    """Pages that are converted under 2 GiB."""
    ours_2g = [run for run in runs if run["what"] in ("limit", "drive") and run["limit"] == "2G"]
    if ours_2g:
        most = max(run["pages"] for run in ours_2g)
        complete = all(run["complete"] for run in ours_2g)
        shown = f"all documents of up to {most} pages" if complete else "not all"
        yield "pages that are converted under 2 GiB", "any number", shown, complete


def warm(runs):
    by_drive = {}
    for run in runs:
        if run["what"] == "drive" and run["complete"]:
            by_drive.setdefault(run["options"][1], {})[run["round"]] = run["wall_seconds"]
    ratios = [
        seconds / by_drive["warm"][number]
        for number, seconds in by_drive.get("fresh", {}).items()
        if number in by_drive.get("warm", {})
    ]
    if ratios:
        median = statistics.median(ratios)
        yield "warm worker against a process per chunk of 20", "3 x the pages a minute", f"{median:.1f} x", median >= 3


def fits(runs):
    ratios = over_alone(runs)
    if ratios:
        percent = 100 * (statistics.median(ratios) - 1)
        yield "a document that fits anyway, over bare marker_single", "within 3 %", f"{percent:+.1f} %", percent <= 3


def over_alone(runs):
    """Of each pair of runs, memcap's time in that of marker_single alone."""
    pair = lambda run: (run["round"], run.get("pair"))  # noqa: E731
    alone = {pair(run): run["wall_seconds"] for run in runs if run["what"] == "alone"}
    return sorted(
        run["wall_seconds"] / alone[pair(run)] for run in runs if run["what"] == "fits" and pair(run) in alone
    )


def ours(runs):
    return dict.fromkeys(run["wrapper"] for run in runs if run["wrapper"].startswith("memcap"))
