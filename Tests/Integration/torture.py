"""A cluster of real processes under load while its nodes are killed, stopped, cut off and damaged.

    python torture.py --seconds 600 --seed 7 --faults kill,stop

At most one node is out of order at a time, so that a majority of every partition is there. Prints its seed, every fault
and every violation; the exit status is 1 when there was one."""

import argparse
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time

import torture_faults
from torture_cluster import TortureCluster
from torture_load import CONTAINERS, Tally, Worker
from torture_disks import Disk, disks_work
from torture_network import make_network

MAXIMUM_ERROR_SHARE = 0.01


def print_line(text):
    print(f"{time.time():.3f} {text}", flush=True)


def say_nothing(text):
    pass


class Run:
    """One run from its seed. `tally.violations` is empty when all went well.

    All replicas have to agree `agree_seconds` after the last fault."""

    def __init__(
        self, seconds, seed, faults=None, nodes=4, threads=5, keys=50, pace=0.04, agree_seconds=60, is_quiet=False
    ):
        self.seconds, self.seed, self.agree_seconds = seconds, seed, agree_seconds
        self.say = say = say_nothing if is_quiet else print_line
        self.random = random.Random(seed)
        self.tally = Tally(say)
        self.network = make_network(say)
        self.has_disks = disks_work(say)
        self.disks = []
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="ringfort-torture-"))
        self.cluster = TortureCluster(self.scratch, self.network)
        for _ in range(nodes):
            self.cluster.members.append(self.add_member())
        self.faults = torture_faults.choose(self, faults, say)
        workers = [Worker(n, keys, self.cluster, self.tally, seed, pace) for n in range(threads)]
        for worker in workers:
            worker.all = [key for other in workers for key in other.own]
        self.cluster.workers = workers

    def add_member(self):
        """A node that has not begun, its device a file system of its own if possible."""
        node = self.cluster.new_member()
        if self.has_disks:
            node.disk = Disk(self.scratch / f"{node.name}.image", node.device).make()
            self.disks.append(node.disk)
        return node

    def go(self):
        self.say(f"seed {self.seed}, {self.seconds} s, faults: {', '.join(fault.name for fault in self.faults)}")
        began = time.monotonic()
        self.cluster.start()
        self.say(f"{len(self.cluster.members)} nodes after {time.monotonic() - began:.1f} s")
        first = self.reader()
        for container in CONTAINERS:
            answer = first.ask(self.cluster.members[0], "PUT", f"/{container}")
            assert answer and answer.status in (201, 202), answer
        first.close()
        for worker in self.cluster.workers:
            worker.start()
        time.sleep(2)
        self.disturb(time.monotonic() + self.seconds)
        self.calm()
        self.agree(is_calm=True)
        self.read_all()
        self.report()

    def calm(self):
        for worker in self.cluster.workers:
            worker.ending.set()
        for worker in self.cluster.workers:
            if worker.is_alive():
                worker.join()

    def disturb(self, end):
        """All kinds of faults in turn, in an order of the seed, again and again."""
        queue = []
        while time.monotonic() < end and not self.tally.is_hopeless:
            queue = queue or self.random.sample(self.faults, len(self.faults))
            fault = queue.pop()
            if time.monotonic() + fault.seconds <= end + 15:
                fault.happen(self)
            time.sleep(self.random.choice((0.1, 1, 4)))

    def agree(self, is_calm=False):
        """Every copy of every object is sound and the newest. Deletes can only be checked when nothing is written."""
        ended = time.monotonic()
        while True:
            try:
                sums, wrong = self.cluster.verify("AUTH_admin")
                wrong += self.undead() if is_calm else []
                complete = sums["unread_listings"] == 0
            except AssertionError as failure:
                wrong, complete, sums = [str(failure)], False, {}
            if not wrong and complete:
                self.say(f"all copies agree {time.monotonic() - ended:.1f} s after the end: {sums}")
                return
            if time.monotonic() > ended + self.agree_seconds:
                text = f"copies do not agree {self.agree_seconds} s after the end"
                self.tally.violation(f"{text}: {sums} {wrong[:5]}")
                return
            time.sleep(1)

    def undead(self):
        """Deleted objects of which some device still holds a living copy."""
        found = []
        for worker in self.cluster.workers:
            for key in [key for key in worker.own if key.is_deleted][:8]:
                places = self.cluster.where(f"AUTH_admin/{key.container}/{key.name}")
                states = [place["holds"]["state"] for place in places["primaries"] + places["handoffs"]]
                if "live" in states:
                    found.append(f"{key.name} is deleted: {states}")
        return found

    def reader(self):
        """One that only does what it is told."""
        return Worker("reader", 0, self.cluster, self.tally, self.seed, 0)

    def read_all(self):
        """Every key through every proxy."""
        reader = self.reader()
        for node in self.cluster.proxies():
            for worker in self.cluster.workers:
                for key in worker.own:
                    reader.read(node, key, "GET")
                for container in CONTAINERS:
                    reader.list(node, worker, container)
        reader.close()

    def report(self):
        tally = self.tally
        self.say(f"done: {dict(tally.done)}, slowest by a sound proxy {tally.slowest:.1f} s, slow: {dict(tally.slow)}")
        self.say(f"errors: {dict(tally.errors)} ({100 * tally.error_share:.2f} %)")
        self.say(f"errors of proxies in a fault: {dict(tally.excused)}")
        if tally.error_share > MAXIMUM_ERROR_SHARE:
            tally.violation(f"{100 * tally.error_share:.2f} % of the requests failed")
        for fault in self.faults:
            self.say(f"fault {fault.name}: {fault.times} times")
        for member in self.cluster.members:
            if member.process.poll() is not None:
                tally.violation(f"{member.name} ended with {member.process.returncode}: {member.tail(10)}")
        self.say(f"{len(tally.violations)} violations; the seed was {self.seed}")

    def remove(self, keep=False):
        self.calm()
        for member in self.cluster.made:
            member.kill()
        self.network.remove()
        for disk in self.disks:
            disk.unmount()
        if keep and self.tally.violations:
            self.say(f"logs and data are in {self.scratch}")
        else:
            shutil.rmtree(self.scratch, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600, help="how long faults happen (600)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32), help="of an earlier run")
    parser.add_argument("--faults", help=f"some of {','.join(torture_faults.names())} (all that work here)")
    parser.add_argument("--nodes", type=int, default=4)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    run = Run(
        arguments.seconds, arguments.seed, arguments.faults.split(",") if arguments.faults else None, arguments.nodes
    )
    try:
        run.go()
    finally:
        run.remove(keep=True)
    sys.exit(1 if run.tally.violations else 0)


if __name__ == "__main__":
    main()
