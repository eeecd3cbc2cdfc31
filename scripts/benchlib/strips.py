"""A strip for each run: from what was measured to what was predicted, in MiB over
the limit, as SVG that is readable on light and dark grounds."""

import math
import statistics

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 960, 118, 132, 96, 66
ROW, GAP = 5, 16
LEAST, MOST = 0.25, 1024
USERS = ("root", "ordinary user")
GOAL_PERCENT = 2

STYLE = """
text{font:12px system-ui,sans-serif;fill:#24292f}
.title{font-size:15px;font-weight:600}.family{font-weight:600}.small{font-size:11px}
.ground{fill:#ffffff}.grid{stroke:#d8dee4;stroke-width:1}
.root{stroke:#0969da;fill:#0969da}.ordinary{stroke:#bc4c00;fill:#bc4c00}
line.root,line.ordinary{stroke-opacity:.3;stroke-width:1.6}
.tick{stroke-opacity:1;stroke-width:1.6}circle{stroke:none}
.goal{stroke:#1a7f37;stroke-width:1.4;stroke-dasharray:6 4}.goal-word{fill:#1a7f37}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.ground{fill:#0d1117}
.grid{stroke:#30363d}.root{stroke:#58a6ff;fill:#58a6ff}
.ordinary{stroke:#f0883e;fill:#f0883e}.goal{stroke:#3fb950}.goal-word{fill:#3fb950}}
"""


def draw(results):
    runs = results["runs"]
    names = list(dict.fromkeys(run["family"] for run in runs))
    groups = [[of(runs, name, user) for user in USERS] for name in names]
    heights = [sum(map(len, group)) * ROW + GAP for group in groups]
    height = TOP + sum(heights) + BOTTOM
    parts = [*head(height), *grid(height, results["limit_bytes"])]
    top = TOP
    for name, group, tall in zip(names, groups, heights):
        parts += family(name, group, top + GAP / 2)
        top += tall
        if top < height - BOTTOM - 1:
            parts.append(line("grid", 12, top, WIDTH - 12, top))
    parts += caption(results, height)
    return "\n".join([*parts, "</svg>"]) + "\n"


def of(runs, name, user):
    chosen = [run for run in runs if (run["family"], run["user"]) == (name, user)]
    return sorted(chosen, key=lambda run: run["over"])


def head(height):
    title = "How far the watchdog lets each family of jobs come over 512 MiB"
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img">\n<title>{title}</title>\n'
        f"<style>{STYLE}</style>\n"
        f'<rect class="ground" width="{WIDTH}" height="{height}"/>'
    )
    yield text("title", 12, 28, "start", title)
    x = 12
    for user, kind in zip(USERS, ("root", "ordinary")):
        yield f'<circle class="{kind}" cx="{x + 4}" cy="48" r="3.4"/>'
        yield line(kind, x + 4, 48, x + 44, 48)
        yield line(f"{kind} tick", x + 44, 44, x + 44, 52)
        words = f"{user}: measured by the job's ledger, and predicted (r d)"
        yield text("", x + 54, 52, "start", words)
        x += 430


def grid(height, limit):
    bottom = height - BOTTOM
    for exponent in range(-2, 11):
        mib = 2.0**exponent
        x = place(mib)
        yield line("grid", x, TOP - 6, x, bottom)
        words = "none" if mib <= LEAST else f"{mib:g}"
        yield text("", x, bottom + 18, "middle", words)
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield text("", middle, bottom + 36, "middle", "MiB over the limit, one strip for each run")
    yield text("small", WIDTH - RIGHT + 14, TOP - 12, "start", "median, most (MiB)")
    goal = limit * GOAL_PERCENT / 100 / 2**20
    yield line("goal", place(goal), TOP - 6, place(goal), bottom)
    yield text("goal-word", place(goal), TOP - 12, "middle", f"goal: {GOAL_PERCENT} %")


def family(name, group, top):
    rows = sum(map(len, group))
    yield text("family", 12, top + rows * ROW / 2 + 4, "start", name)
    for runs, kind in zip(group, ("root", "ordinary")):
        if runs:
            over = [run["over"] / 2**20 for run in runs]
            words = f"{round(statistics.median(over))}, {round(max(over))}"
            y = top + len(runs) * ROW / 2 + 4
            yield text(f"small {kind}-word", WIDTH - RIGHT + 14, y, "start", words)
        for run in runs:
            y = top + ROW / 2
            measured, predicted = (place(run[key] / 2**20) for key in ("over", "predicted"))
            yield line(kind, measured, y, predicted, y)
            yield line(f"{kind} tick", predicted, y - 2, predicted, y + 2)
            yield f'<circle class="{kind}" cx="{measured:.1f}" cy="{y:.1f}" r="2.4"/>'
            top += ROW


def caption(results, height):
    machine, versions = results["machine"], results["versions"]
    words = (
        f"{machine['date']}; {machine['processor']}, {machine['processors']} processors, "
        f"Linux {machine['kernel']}; load average {machine['load_average']} before, "
        f"{machine['load_average_after']} after; memcap {versions.get('memcap', '')}, "
        f"profile dist; scripts/plot-watchdog"
    )
    yield text("small", 12, height - 10, "start", words)


def place(mib):
    """Where so many MiB are, by their logarithm."""
    share = math.log2(min(max(mib, LEAST), MOST) / LEAST) / math.log2(MOST / LEAST)
    return LEFT + (WIDTH - LEFT - RIGHT) * share


def line(kind, x1, y1, x2, y2):
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(kind, x, y, anchor, words):
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'
