#!/usr/bin/env python3
"""Runs the same load against Ringfort and its peers on this machine and prints one table.

make bench-peers ARGS="--quick --only ringfort,nginx"
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import signal
import sys
import tempfile
import time

import table
from load import Load
from machine import raw_limits
from systems import SYSTEMS

ROWS = ("put", "get", "large-get", "large-put", "list", "memory", "restart")
DEFAULT_SYSTEMS = ("nginx", "openstack-swift", "ringfort")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="a look in a few minutes: one run of everything, few objects"
    )
    parser.add_argument("--only", help="systems, comma separated: " + ",".join(SYSTEMS))
    parser.add_argument(
        "--with-rgw", action="store_true", help="also Ceph's gateway (installs it; 3 OSDs of 15 GiB, sparse)"
    )
    parser.add_argument("--rows", help="rows, comma separated: " + ",".join(ROWS))
    parser.add_argument("--objects", type=int, help="size of Ringfort's key set (1,000,000; quick: 20,000)")
    parser.add_argument("--peer-objects", type=int, help="size of the other systems' key sets (5,000; quick: 500)")
    parser.add_argument("--runs", type=int, help="how often each figure is taken (3; quick: 1)")
    parser.add_argument("--seconds", type=int, help="length of a run of wrk and of listings (10; quick: 3)")
    parser.add_argument("--large", type=int, help="objects of 64 MiB in a run (8; quick: 2)")
    parser.add_argument("--uploads", help="parallel uploads of the memory row, COUNTxMIB (64x128; quick: 16x16)")
    parser.add_argument(
        "--state", type=pathlib.Path, help="directory for everything, kept afterwards (a temporary one, removed)"
    )
    parser.add_argument("--out", type=pathlib.Path, help="write every figure to this file as JSON")
    options = parser.parse_args()
    defaults = dict(objects=1_000_000, peer_objects=5000, runs=3, seconds=10, large=8, uploads="64x128")
    quick = dict(objects=20_000, peer_objects=500, runs=1, seconds=3, large=2, uploads="16x16")
    for name, value in (quick if options.quick else defaults).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.rows = options.rows.split(",") if options.rows else list(ROWS)
    options.only = options.only.split(",") if options.only else list(DEFAULT_SYSTEMS)
    if options.with_rgw and "ceph-rgw" not in options.only:
        options.only.insert(-1, "ceph-rgw")
    unknown = (set(options.rows) - set(ROWS)) | (set(options.only) - set(SYSTEMS))
    if unknown:
        parser.error("unknown: " + ", ".join(sorted(unknown)))
    options.listing_names = options.objects if "list" in options.rows else 0
    return options


class Run:
    """Figures of all systems: `figures[system][row]` is a list with one dictionary per run."""

    def __init__(self, options, state):
        self.options, self.state, self.figures = options, state, {}

    def note(self, system, row, figures):
        self.figures.setdefault(system, {}).setdefault(row, []).append(figures)
        shown = " ".join(f"{k}={v:,.1f}" if isinstance(v, float) else f"{k}={v}" for k, v in figures.items())
        print(f"{system:16} {row:10} {shown}", file=sys.stderr, flush=True)

    def measure(self, name):
        """One system from its start to its end."""
        system = SYSTEMS[name](self.state, self.options)
        try:
            seconds = system.start()
            if seconds is not None:
                self.note(name, "start", {"seconds": seconds})
            load = Load(system, self.options)
            rows = self.options.rows
            if "memory" in rows:
                self.note_memory(name, "idle", system)
            self.fill(name, system, load)
            for _ in range(self.options.runs):
                for row in [row for row in rows if row in self.measurements(system, load)]:
                    self.prepare(name, row, system, load)
                    self.note(name, row, self.measurements(system, load)[row]())
            if "memory" in rows:
                self.note_memory(name, "filled", system)
                if not system.static:
                    count, size = map(int, self.options.uploads.split("x"))
                    self.note(name, "uploads", load.parallel_uploads(count, size << 20))
            if "restart" in rows and name == "ringfort":
                for _ in range(self.options.runs):
                    self.note(name, "restart", {"seconds": system.restart_after_kill()})
        finally:
            system.remove()

    def prepare(self, name, row, system, load):
        """The key set is in use when it is read, whatever ran before."""
        if row == "get" and not system.static:
            self.note(name, "walk", {"objects": system.objects, "per_second": load.walk()})

    @staticmethod
    def measurements(system, load):
        all_rows = {
            "put": load.put_small,
            "get": load.get_small,
            "large-put": load.put_large,
            "large-get": load.get_large,
        }
        if system.names:
            all_rows["list"] = load.listing
        return all_rows

    def fill(self, name, system, load):
        rows = self.options.rows
        if system.static or not {"get", "list", "memory", "restart"} & set(rows):
            return
        system.objects = self.options.objects if name == "ringfort" else self.options.peer_objects
        self.note(name, "fill", {"objects": system.objects, "per_second": load.fill()})
        if hasattr(system, "fill_listing") and "list" in rows:
            system.fill_listing()
        elif "list" in rows:
            system.names = system.objects

    def note_memory(self, name, row, system):
        rss, anonymous = system.processes.memory_mib()
        self.note(name, row, {"rss_mib": rss, "anonymous_mib": anonymous})


def main():
    options = arguments()
    state = options.state or pathlib.Path(tempfile.mkdtemp(prefix="ringfort-peers-", dir="/var/tmp"))
    state.mkdir(parents=True, exist_ok=True)
    # The peers' own users have to reach their directories below.
    state.chmod(0o755)
    # A stop from outside takes the systems down too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    run = Run(options, state.resolve())
    try:
        for figures in raw_limits(state, options.runs):
            run.note("raw", "limits", figures)
        for name in options.only:
            run.measure(name)
    finally:
        if options.out:
            facts = {"machine": machine(), "options": vars(options), "figures": run.figures}
            options.out.write_text(json.dumps(facts, default=str, indent=1))
        if run.figures:
            print(f"\n{machine()}; {options.objects:,} objects, {options.runs} runs of {options.seconds} s\n")
            print(table.render(run.figures))
        if not options.state:
            shutil.rmtree(state, ignore_errors=True)


def machine():
    with open("/proc/cpuinfo") as file:
        models = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    return f"{os.cpu_count()} x {model}, {memory} GiB, {time.strftime('%Y-%m-%d')}"


if __name__ == "__main__":
    main()
