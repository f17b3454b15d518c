"""One network namespace per node, on a bridge whose own address is the test's: nodes can be cut off from each other while
the test still reaches them. Without root, `ip` and `nft` all nodes are on 127.0.0.1."""

import os
import random
import shutil
import subprocess

from ringfort import free_port


def run(*command, check=True, **more):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=check, **more)


class Loopback:
    """All nodes on 127.0.0.1, each with ports of its own."""

    can_cut = False

    def place(self, number):
        """Host, port for clients, port for nodes, and what a command line there begins with."""
        return "127.0.0.1", free_port(), free_port(), ()

    def remove(self):
        pass


class Namespaces:
    can_cut = True

    def __init__(self):
        # Others may do the same on this machine.
        self.tag = f"rf{os.getpid() % 100_000}"
        self.bridge = f"{self.tag}b"
        self.network = f"10.{random.randrange(64, 128)}.{random.randrange(256)}"
        self.numbers = []
        try:
            run("ip", "link", "add", self.bridge, "type", "bridge")
            run("ip", "address", "add", f"{self.network}.254/24", "dev", self.bridge)
            run("ip", "link", "set", self.bridge, "up")
            self.place(1)
            self.cut(1, "both")
            self.heal(1)
        except (OSError, subprocess.CalledProcessError):
            self.remove()
            raise

    def name(self, number):
        return f"{self.tag}n{number}"

    def place(self, number):
        # Without a mount namespace of its own, which would keep the disks of other nodes mounted.
        name, prefix = self.name(number), ("nsenter", f"--net=/run/netns/{self.name(number)}")
        if number not in self.numbers:
            self.numbers.append(number)
            outside = f"{self.tag}v{number}"
            run("ip", "netns", "add", name)
            run("ip", "link", "add", outside, "type", "veth", "peer", "name", "inside", "netns", name)
            run("ip", "link", "set", outside, "master", self.bridge, "up")
            run(*prefix, "ip", "link", "set", "lo", "up")
            run(*prefix, "ip", "address", "add", f"{self.network}.{number}/24", "dev", "inside")
            run(*prefix, "ip", "link", "set", "inside", "up")
        return f"{self.network}.{number}", 8080, 6200, prefix

    def cut(self, number, direction):
        """Packets between a node and the others vanish: `both` ways, those it gets (`in`) or those it sends (`out`)."""
        others = f"{{ {self.network}.1-{self.network}.200 }}"
        rules = ["add table inet cut"]
        if direction in ("in", "both"):
            rules.append("add chain inet cut in { type filter hook input priority 0 ; }")
            rules.append(f"add rule inet cut in iifname inside ip saddr {others} drop")
        if direction in ("out", "both"):
            rules.append("add chain inet cut out { type filter hook output priority 0 ; }")
            rules.append(f"add rule inet cut out oifname inside ip daddr {others} drop")
        run("ip", "netns", "exec", self.name(number), "nft", "-f", "-", input="\n".join(rules) + "\n")

    def heal(self, number):
        run("ip", "netns", "exec", self.name(number), "nft", "flush", "ruleset")

    def remove(self):
        for number in self.numbers:
            run("ip", "netns", "delete", self.name(number), check=False)
            run("ip", "link", "delete", f"{self.tag}v{number}", check=False)
        run("ip", "link", "delete", self.bridge, check=False)


def make_network(say):
    """Namespaces where they can be made, and a word about it where not."""
    if os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("nft")):
        say("no namespaces here (they need root, iproute2 and nftables): one address for all nodes, no partitions")
        return Loopback()
    try:
        return Namespaces()
    except subprocess.CalledProcessError as failure:
        say(f"no namespaces here ({failure.stderr.strip()}): one address for all nodes, no partitions")
        return Loopback()
