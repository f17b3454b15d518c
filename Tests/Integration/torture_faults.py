"""What can happen to a node. Each fault ends with the node in order again."""

import shutil
import signal
import time


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

    def on(self, node, run):
        raise NotImplementedError

    def clean_up(self, run):
        """Undoes what outlives processes."""


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
    seconds = 40

    def on(self, node, run):
        node.kill()
        shutil.rmtree(node.device)
        node.again()
        node.end_fault()
        run.agree(time.monotonic())


KINDS = (Kill, Stop, Cut, Wipe)


def names():
    return [kind.name for kind in KINDS]


def choose(run, wanted, say):
    """The faults of these names that can be made here."""
    unknown = set(wanted or ()) - set(names())
    assert not unknown, f"no such faults: {', '.join(sorted(unknown))}"
    faults = []
    for kind in KINDS:
        if wanted and kind.name not in wanted:
            continue
        fault = kind(say)
        if fault.works(run):
            faults.append(fault)
        else:
            say(f"skipped: {kind.name} can't be made here")
    return faults
