"""Conversions with the offline marker, bare and by memcap.

Each run is one dictionary: what was run, on how many pages, under which limit,
how it ended, its time and its peak. What is not known is None.
"""

import json
import os
import re
import select
import shutil
import subprocess
import sys
import time

from . import host, pdf

PAGES = (20, 50, 100)
LIMITS = ("1536M", "2G", "3G")
AMPLE = "16G"
CHUNK = 20
# Ten chunks: a worker starts once for all of them.
DRIVE_PAGES = 200
# Of a run with memcap and one without, one after the other: more than one, since equal
# runs differ too.
PAIRS = 6
# A page of a book: forty lines of text and a picture.
PAGE = (pdf.LETTER, 40, 1)
BIG_PAGES = 4000
BIG_BYTES = 1000 * 1000 * 1000
# Of one run, in seconds; the longest takes some 300. One that takes longer hangs.
PATIENCE = 900


class Bench:
    """Where everything is, and how it is measured."""

    def __init__(self, memcap, environment, folder, mechanism):
        self.memcap = memcap
        self.environment = environment
        self.folder = folder
        self.mechanism = mechanism
        self.variables = os.environ | json.loads((environment / "env.json").read_text())

    def marker_version(self):
        found = next(self.environment.glob("venv/lib/python3*/site-packages/marker_pdf-*.dist-info"))
        return re.fullmatch(r"marker_pdf-(.*)\.dist-info", found.name)[1]

    def quick(self):
        document = self.document(4)
        runs = [self.bare(document, 4, AMPLE), self.by_memcap("limit", document, 4, "2G")]
        return [{"round": 0} | run for run in runs]

    def all(self, rounds):
        documents = {count: self.document(count) for count in (*PAGES, DRIVE_PAGES)}
        runs = [self.plan_of_a_large_file()]
        for number in range(rounds):
            for run in self.round(documents):
                told = f"{run['what']}, {run['pages']} pages, {run['limit']}: {run['wall_seconds']:.1f} s"
                print(told, file=sys.stderr, flush=True)
                runs.append({"round": number} | run)
        return runs

    def round(self, documents):
        for count in PAGES:
            yield self.bare(documents[count], count, AMPLE)
            for limit in LIMITS:
                yield self.bare(documents[count], count, limit)
                yield self.by_memcap("limit", documents[count], count, limit)
        for drive in ("warm", "fresh"):
            options = ("--drive", drive, "--chunk-size", str(CHUNK))
            yield self.by_memcap("drive", documents[DRIVE_PAGES], DRIVE_PAGES, "2G", *options)
        least = min(PAGES)
        for pair in range(PAIRS):
            yield {"pair": pair} | self.alone(documents[least], least)
            yield {"pair": pair} | self.by_memcap("fits", documents[least], least, "8G")

    def document(self, count):
        path = self.folder / f"letter-{count}.pdf"
        path.write_bytes(pdf.document([PAGE] * count))
        return path

    def bare(self, document, count, limit):
        """marker_single, measured, and ended at `limit`."""
        report = self.folder / "report.json"
        output = self.fresh_output()
        words = [self.memcap, "run", "--quiet", "--memory", limit, "--mechanism", self.mechanism, "--report", report, "--"]
        code, wall, _ = self.run([*words, *self.marker_single(document, output)])
        outcome = json.loads(report.read_text())
        return {
            "what": "bare",
            "pages": count,
            "limit": limit,
            "exit_code": code,
            "ending": outcome["verdict"]["kind"],
            "wall_seconds": wall,
            "peak_bytes": outcome.get("peak_bytes"),
            "complete": code == 0,
        }

    def alone(self, document, count):
        """marker_single with nothing around it."""
        code, wall, _ = self.run(self.marker_single(document, self.fresh_output()))
        return {
            "what": "alone",
            "pages": count,
            "limit": None,
            "exit_code": code,
            "wall_seconds": wall,
            "peak_bytes": None,
            "complete": code == 0,
        }

    def marker_single(self, document, output):
        return [self.environment / "venv/bin/marker_single", document, "--output_dir", output]

    def by_memcap(self, what, document, count, limit, *options):
        report = self.folder / "report.json"
        output = self.fresh_output()
        words = [self.memcap, "marker", document, "--output", output, "--memory", limit, "--quiet"]
        words += ["--mechanism", self.mechanism, "--python", self.environment / "venv/bin/python"]
        code, wall, _ = self.run([*words, "--report", report, *options])
        # Every round learns anew, as a first conversion does.
        shutil.rmtree(self.folder / "state", ignore_errors=True)
        document = json.loads(report.read_text())["documents"][0]
        return {
            "what": what,
            "pages": count,
            "limit": limit,
            "options": list(options),
            "exit_code": code,
            "ending": document.get("status"),
            "wall_seconds": wall,
            "peak_bytes": document.get("peak_bytes"),
            "attempts": len(document["attempts"]),
            "complete": code == 0,
        }

    def plan_of_a_large_file(self):
        """`memcap marker plan` on about 1 GB: pages with one large picture each."""
        document = self.folder / "large.pdf"
        pdf.write_large(document, BIG_PAGES, BIG_BYTES)
        words = [self.memcap, "marker", "plan", document, "--output", self.fresh_output(), "--memory", "4G", "--json"]
        code, wall, peak = self.run([*words, "--python", self.environment / "venv/bin/python"])
        size = document.stat().st_size
        document.unlink()
        return {
            "round": 0,
            "what": "plan",
            "pages": BIG_PAGES,
            "file_bytes": size,
            "exit_code": code,
            "wall_seconds": wall,
            "peak_bytes": peak,
            "complete": code == 0,
        }

    def fresh_output(self):
        output = self.folder / "out"
        shutil.rmtree(output, ignore_errors=True)
        return output

    def run(self, words):
        """Exit code, seconds, and the largest resident set of a process in it."""
        variables = self.variables | {"XDG_STATE_HOME": str(self.folder / "state")}
        begin = time.perf_counter()
        with open(self.folder / "said", "wb") as said:
            process = subprocess.Popen(
                list(map(str, words)), env=variables, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
            ended = os.pidfd_open(process.pid)
            hangs = not select.select([ended], [], [], PATIENCE)[0]
            os.close(ended)
            if hangs:
                seen = host.processes()
                process.terminate()
            _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if hangs:
            said = (self.folder / "said").read_text(errors="replace")
            sys.exit(f"{' '.join(map(str, words))}\nstill ran after {PATIENCE} s:\n{seen}\nIt had said:\n{said}")
        # getrusage(2): in KiB.
        return process.returncode, wall, usage.ru_maxrss * 1024
