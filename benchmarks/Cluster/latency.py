"""What clients feel of the background workers: p99 of GET and PUT with all of them paused, and with all at work.

One store has the clients, all its devices but one, and most of the work. A second node is away for a while before each
round: without a replica that missed something neither updater nor replicator would have anything to do.
"""

import re
import statistics
import time

from generators import FILL_SLICE, SIZE, check, fill, generator, load, result, walk
from healing import FIRST_PASS, put_large
from nodes import again, cluster, put, workers
from ringfort import call, ringfort

# Between two passes of replicators and expirer, and what an object is left alone after its time: the default.
INTERVAL = 30
# Longer than that, so that each run has a pass.
SECONDS = 40
# Few clients that think: about 700 requests per second of each kind, a small part of what one store does.
CLIENTS = 16
THINK_MILLISECONDS = 20
# What the compactor has to do: overwritten at random so often, a third of each old segment is still alive.
MEDIUM_SIZE = 64 << 10
# Enough for old segments on each device.
LEAST_MEDIUM = 10_000
OVERWRITES = 1.1
# Bodies as files, for the auditor.
LARGE = 4
EXPIRING = 3_000
# Only some containers have a replica on the node that is away.
CONTAINERS, MISSED = 16, 300
# The page cache writes out, indexes are merged.
SETTLE = 10
LOOK = 5
# Counted together; `ringfort workers` has one compactor for each device and two replicators.
KINDS = ("auditor", "compactor", "expirer", "replicator", "updater")
STATES = ("paused", "at work")


class Bench:
    """Two nodes, their load and the work that is prepared for their workers."""

    def __init__(self, nodes, client, options):
        self.nodes, self.client, self.options = nodes, client, options
        self.names = {node.name: sorted(workers(node)) for node in nodes}
        self.medium = max(LEAST_MEDIUM, options.objects // 5)
        self.latencies = {(kind, state): [] for kind in ("get", "put") for state in STATES}
        self.work = []
        self.serial = 0

    def fill(self):
        for container in ("/put", "/medium", *(f"/missed-{number}" for number in range(CONTAINERS))):
            put(self.client, container)
        fill(self._port, self.client, "/keys", self.options.objects)
        fill(self._port, self.client, "/medium", self.medium, size=MEDIUM_SIZE)
        put_large(self.client, LARGE)
        # Read once, so that it is a working set in memory that is read later, as in the side-by-side comparison.
        walk(self._port, self.client, "/keys", self.options.objects)

    def prepare(self):
        """Work for all of them, while they are paused."""
        self.serial += 1
        self._overwrite()
        expiring = f"/expiring-{self.serial}"
        put(self.client, expiring)
        fill(self._port, self.client, expiring, EXPIRING, size=1, expires=1)
        written = time.monotonic()
        away = self.nodes[1]
        away.stop()
        for number in range(CONTAINERS):
            fill(self._port, self.client, f"/missed-{number}", MISSED, size=1)
        away.start()
        time.sleep(max(FIRST_PASS + SETTLE, written + 1 + INTERVAL - time.monotonic()))

    def change(self, what):
        for node in self.nodes:
            ringfort("workers", what, *self.names[node.name], "--data", node.data)

    def measure(self, state):
        if state == "at work":
            self.change("resume")
        before = self._done()
        account, self.serial = self.client.account, self.serial + 1
        common = {"connections": CLIENTS, "cores": 1, "think": THINK_MILLISECONDS}
        operations = {
            "get": {"base": f"{account}/keys", "keys": self.options.objects},
            "put": {"base": f"{account}/put", "size": SIZE, "seed": f"l{self.serial}"},
        }
        running = {
            kind: generator(self._port, self.client.token, SECONDS, op=kind, **common, **operation)
            for kind, operation in operations.items()
        }
        while any(process.poll() is None for process in running.values()):
            # Looked at in either state, so that looking costs both the same.
            auditor = workers(self.nodes[0])["auditor"]
            if auditor["state"] == "idle":
                # Through with everything: it begins again.
                ringfort("workers", "resume", "auditor", "--data", self.nodes[0].data)
            time.sleep(LOOK)
        for kind, process in running.items():
            self.latencies[kind, state].append(check(result(process))["p99_ms"])
        if state == "at work":
            self._note_work({kind: done - before[kind] for kind, done in self._done().items()})
            self.change("pause")

    def _note_work(self, work):
        """A run in which a worker had nothing to do would tell nothing."""
        resting = [kind for kind in KINDS if work[kind] == 0]
        if resting:
            raise SystemExit(f"bench-cluster: not at work while p99 was measured: {', '.join(resting)}")
        self.work.append(work)

    @property
    def _port(self):
        return self.nodes[0].port

    def _overwrite(self):
        # Of each of two threads.
        base, left = f"{self.client.account}/medium", int(self.medium * OVERWRITES / 2)
        while left > 0:
            keys = {"base": base, "keys": self.medium, "limit": left}
            done = check(load([self._port], self.client.token, FILL_SLICE, op="overwrite", size=MEDIUM_SIZE, **keys))
            left -= max(1, done["good"] // 2)

    def _done(self):
        """Units of work that each kind of worker has done since the nodes' starts."""
        done = dict.fromkeys(KINDS, 0)
        for node in self.nodes:
            text = call(node.port, "GET", "/metrics").body.decode()
            for name, value in re.findall(r'^ringfort_worker_done_total\{worker="([^"]+)"\} (\S+)$', text, re.M):
                # The reaper, which is resumed too, has nothing to do: no account is deleted.
                for kind in KINDS:
                    done[kind] += int(float(value)) if kind in name else 0
        return done


def measure(options, figures):
    with cluster("one", "two") as (nodes, _):
        for node in nodes:
            again(node, replicate_every=INTERVAL)
        bench = Bench(nodes, nodes[0].client(), options)
        bench.fill()
        bench.change("pause")
        for number in range(options.runs):
            bench.prepare()
            # In turn, so that what else changes meets both.
            for state in STATES if number % 2 == 0 else reversed(STATES):
                bench.measure(state)
    for kind in ("get", "put"):
        paused, at_work = (bench.latencies[kind, state] for state in STATES)
        figures[f"{kind}_p99"] = statistics.median(at_work)
        figures[f"{kind}_p99_ratio"] = figures[f"{kind}_p99"] / statistics.median(paused)
        figures["notes"].append(
            f"{kind.upper()} p99: paused {min(paused):.2f} to {max(paused):.2f} ms, "
            f"at work {min(at_work):.2f} to {max(at_work):.2f} ms."
        )
    spans = (f"{kind} {min(w[kind] for w in bench.work):,} to {max(w[kind] for w in bench.work):,}" for kind in KINDS)
    figures["notes"].append(f"Work in a run of {SECONDS} s, bytes or objects: {', '.join(spans)}.")
