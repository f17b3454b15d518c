"""What can happen to a node. Each fault ends with the node in order again."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

from ringfort import ringfort, ringfort_json

# Further than this from the end, nothing is written to a segment any more.
SAFE_BYTES = 1 << 20


class Fault:
    """One kind of fault. `works` says whether it can be made here, `seconds` how long it takes at most."""

    name = ""
    seconds = 15

    def __init__(self, say):
        self.say, self.times = say, 0

    def works(self, run):
        return True

    def happen(self, run):
        node = run.random.choice(run.cluster.members)
        self.times += 1
        node.begin_fault()
        began = time.monotonic()
        try:
            self.on(node, run)
        finally:
            node.end_fault()
        self.say(f"{self.name} of {node.name} took {time.monotonic() - began:.1f} s")
        self.after(run)

    def on(self, node, run):
        raise NotImplementedError

    def after(self, run):
        """What has to come about before another node may have a fault."""


class Kill(Fault):
    name = "kill"

    def on(self, node, run):
        node.kill()
        time.sleep(run.random.choice((0, 1, 5)))
        node.again()


class Stop(Fault):
    """Stands still and goes on, as when a machine swaps or is moved."""

    name = "stop"

    def on(self, node, run):
        node.signal(signal.SIGSTOP)
        time.sleep(run.random.uniform(0.5, 10))
        node.signal(signal.SIGCONT)


class Cut(Fault):
    """The others do not reach the node, it does not reach them, or neither."""

    name = "cut"

    def works(self, run):
        return run.network.can_cut

    def on(self, node, run):
        direction = run.random.choice(("both", "in", "out"))
        self.say(f"cut {direction} of {node.name}")
        run.network.cut(node.number, direction)
        time.sleep(run.random.uniform(1, 12))
        run.network.heal(node.number)


class Wipe(Fault):
    """The node comes back with an empty disk, and is filled before anything else happens."""

    name = "wipe"
    seconds = 25

    def on(self, node, run):
        node.kill()
        node.empty()
        node.again()

    def after(self, run):
        run.agree()


class Flip(Fault):
    """Some bytes on the disk of a running node are others than were written."""

    name = "flip"
    seconds = 25
    BYTES = 20

    def on(self, node, run):
        flipped = [self.flip(node, run) for _ in range(self.BYTES)]
        self.say(f"{node.name}: {sum(flipped)} bytes flipped")
        if run.random.random() < 0.5:
            node.kill()
            node.again()

    def after(self, run):
        run.agree()

    def flip(self, node, run):
        files = [p for part in ("log", "blobs") for p in (node.device / part).rglob("*") if p.is_file()]
        path = run.random.choice(files)
        try:
            with open(path, "r+b") as file:
                # Not where the log is being written: the page would be written back as it was read.
                end = self.written(file) - (SAFE_BYTES if path.parent.name == "log" else 0)
                if end <= 0:
                    return False
                place = run.random.randrange(end)
                old = os.pread(file.fileno(), 1, place)
                os.pwrite(file.fileno(), bytes([old[0] ^ 1 << run.random.randrange(8)]), place)
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            return True
        except FileNotFoundError:
            return False

    @staticmethod
    def written(file):
        """Where the zeros begin that a segment is prepared with."""
        end = 0
        while any(file.read(SAFE_BYTES)):
            end = file.tell()
        return end


class Full(Fault):
    """The disk has no space for a while."""

    name = "full"

    def works(self, run):
        return run.has_disks

    def on(self, node, run):
        node.disk.fill(leave=run.random.choice((0, 1 << 20, 40 << 20)))
        time.sleep(run.random.uniform(2, 10))
        if run.random.random() < 0.3:
            node.kill()
            node.disk.free()
            node.again()
        node.disk.free()


class Fail(Fault):
    """The disk fails under the running node; the node starts again on what was flushed, as after a loss of power."""

    name = "fail"

    def works(self, run):
        return run.has_disks

    def on(self, node, run):
        node.disk.fail()
        time.sleep(run.random.uniform(0, 6))
        node.kill()
        node.disk.unmount()
        node.disk.mount()
        node.again()


class Power(Fault):
    """All nodes lose their power at once."""

    name = "power"
    seconds = 20

    def happen(self, run):
        self.times += 1
        began = time.monotonic()
        members = list(run.cluster.members)
        for node in members:
            node.begin_fault()
        if run.has_disks:
            for node in members:
                node.disk.fail()
        for node in members:
            node.kill()
        if run.has_disks:
            for node in members:
                node.disk.unmount()
                node.disk.mount()
        with ThreadPoolExecutor(len(members)) as threads:
            list(threads.map(lambda node: node.again(), members))
        for node in members:
            node.end_fault()
        self.say(f"power is back after {time.monotonic() - began:.1f} s")


class ReadOnly(Fault):
    """The node starts on a disk that can't be written."""

    name = "readonly"

    def works(self, run):
        return run.has_disks

    def on(self, node, run):
        node.kill()
        node.disk.unmount()
        node.disk.mount("ro")
        try:
            node.again()
            time.sleep(3)
        except AssertionError as failure:
            self.say(f"{node.name} does not start: {str(failure).splitlines()[-1]}")
        node.kill()
        node.disk.unmount()
        node.disk.mount()
        node.again()


class Clock(Fault):
    """The node's clock is wrong for a while."""

    name = "clock"
    seconds = 20

    def on(self, node, run):
        offset = run.random.choice((-2500, -400, 400, 2500))
        self.say(f"the clock of {node.name} is {offset} ms off")
        node.kill()
        node.options = [f"--clock-offset-ms={offset}"]
        node.has_wrong_clock = True
        node.again()
        # It serves well enough for errors to count.
        node.end_fault()
        time.sleep(run.random.uniform(3, 8))
        node.begin_fault()
        node.kill()
        node.options = []
        node.again()
        node.has_wrong_clock = False


class Grow(Fault):
    """A further node joins, takes part and leaves again."""

    name = "grow"
    seconds = 60

    def happen(self, run):
        self.times += 1
        began = time.monotonic()
        cluster = run.cluster
        node = run.add_member()
        node.join(cluster.members[0])
        cluster.members.append(node)
        self.kill_one(run)
        self.follow(run)
        self.say(f"{node.name} has joined after {time.monotonic() - began:.1f} s")
        time.sleep(2)
        ringfort("device", "drain", "--data", cluster.members[0].data, f"{node.name}/d1")
        self.kill_one(run)
        self.follow(run)
        self.say(f"{node.name} is drained after {time.monotonic() - began:.1f} s")
        cluster.members.remove(node)
        # Those who ask it now are answered first.
        time.sleep(1)
        node.stop()
        done = ringfort_json("node", "remove", "--data", cluster.members[0].data, node.name, "--force")
        self.say(f"{node.name} has left after {time.monotonic() - began:.1f} s: {done['moved']}")

    def kill_one(self, run):
        """Any node, the new one too, in the middle of the change: of some partitions, one replica is then away and
        another still behind."""
        if run.random.random() < 0.7:
            run.cluster.lacks_majority = True
            Kill(self.say).happen(run)
            run.cluster.lacks_majority = False
            run.cluster.lacked_majority = time.monotonic()

    @staticmethod
    def follow(run):
        """Partitions move one replica at a time, each time until its data is there."""
        while True:
            run.agree()
            if not any(run.cluster.rebalance("--settled")["moved"].values()):
                return


class Lose(Fault):
    """Objects are deleted behind the model's back: only for seeing that a run notices."""

    name = "lose"

    def happen(self, run):
        self.times += 1
        thief = run.reader()
        for worker in run.cluster.workers:
            for key in worker.own[:10]:
                thief.ask(run.cluster.members[0], "DELETE", key.path)
        thief.close()


KINDS = (Kill, Stop, Cut, Wipe, Flip, Full, Fail, Power, ReadOnly, Clock, Grow, Lose)


def names():
    return [kind.name for kind in KINDS if kind is not Lose]


def choose(run, wanted, say):
    """The faults of these names that can be made here."""
    unknown = set(wanted or ()) - {kind.name for kind in KINDS}
    assert not unknown, f"no such faults: {', '.join(sorted(unknown))}"
    faults = []
    for kind in KINDS:
        if kind.name not in wanted if wanted else kind is Lose:
            continue
        fault = kind(say)
        if fault.works(run):
            faults.append(fault)
        else:
            say(f"skipped: {kind.name} can't be made here")
    return faults
