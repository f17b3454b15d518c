"""Members of one cluster that a torture run does things to."""

import json
import re
import shutil
import subprocess
import time
import urllib.parse

from ringfort import BINARY, Process, call, ringfort, ringfort_json

# Replicas that went apart are compared so often, in seconds.
REPLICATE_EVERY = 1


class Member(Process):
    """One node with one device."""

    def __init__(self, scratch, number, network):
        self.number, self.data = number, scratch / f"n{number}"
        self.host, self.port, self.storage_port, prefix = network.place(number)
        super().__init__([], scratch, f"n{number}")
        self.prefix = prefix
        self.options = []
        self.has_wrong_clock = False
        # When a fault of this node began last, and when it ended.
        self.fault_began, self.fault_ended = None, 0.0

    @property
    def device(self):
        return self.data / "devices" / "d1"

    @property
    def places(self):
        return [
            *("--data", self.data, "--listen", self.host, "--port", self.port, "--storage-port", self.storage_port),
            *("--replicate-every", REPLICATE_EVERY, *self.options),
        ]

    def up(self, *options):
        self.arguments = list(map(str, ["up", "--name", self.name, *self.places, *options]))
        return self.start()

    def join(self, first):
        token = ringfort_json("token", "create", "--data", first.data)["token"]
        url = f"http://{first.host}:{first.port}"
        self.arguments = list(map(str, ["join", url, "--token", token, "--name", self.name, *self.places]))
        return self.start()

    def again(self):
        self.arguments = list(map(str, ["up", *self.places]))
        return self.start()

    def empty(self):
        """Takes everything from the device, which may be a mount point."""
        for path in self.device.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def begin_fault(self):
        self.fault_began = time.monotonic()

    def end_fault(self):
        self.fault_began, self.fault_ended = None, time.monotonic()

    def is_quiet(self, since):
        """No fault now and none that ended after `since`."""
        return self.fault_began is None and self.fault_ended < since


class TortureCluster:
    """`up` and joins, all with proxies; three replicas."""

    def __init__(self, scratch, network):
        self.scratch, self.network = scratch, network
        # Those in the cluster now, and all there ever were.
        self.members, self.made = [], []
        self.workers = []
        # While of some partitions there is no majority, and when that was last.
        self.lacks_majority, self.lacked_majority = False, 0.0

    def new_member(self):
        self.made.append(Member(self.scratch, len(self.made) + 1, self.network))
        return self.made[-1]

    def start(self):
        # Three replicas begin with three devices; two of them leave when others are there.
        first = self.members[0].up("--devices", 3, "--replicas", 3)
        for member in self.members[1:]:
            member.join(first)
        for name in ("n1/d2", "n1/d3"):
            ringfort("device", "drain", "--data", first.data, name)
            self.settle()
            ringfort("device", "remove", "--data", first.data, name, "--force")
        text = (first.data / "credentials.env").read_text()
        key = re.search(r"ST_KEY=(\S+)", text).group(1)
        answer = self.first_call(first, key)
        self.token = answer.headers["X-Auth-Token"]
        self.account = urllib.parse.urlsplit(answer.headers["X-Storage-Url"]).path

    @staticmethod
    def first_call(member, key):
        headers = {"X-Auth-User": "admin:admin", "X-Auth-Key": key}
        return call(member.port, "GET", "/auth/v1.0", headers=headers, host=member.host)

    def settle(self):
        """Lets partitions move until all are where they belong; there is no data yet that could be left behind."""
        deadline = time.monotonic() + 30
        while any(self.rebalance("--settled")["moved"].values()):
            assert time.monotonic() < deadline, "the rings did not come to rest"
        while len({node["map_version"] for node in self.status()["nodes"]}) != 1:
            assert time.monotonic() < deadline, "the nodes do not agree on a map"
            time.sleep(0.2)

    def rebalance(self, *options):
        return ringfort_json("node", "rebalance", "--data", self.members[0].data, *options)

    def status(self):
        return ringfort_json("status", "--data", self.members[0].data)

    def had_majority(self, since):
        return not self.lacks_majority and self.lacked_majority < since

    def proxies(self):
        return list(self.members)

    def verify(self, name, member=None):
        """Sums of all copies, and the objects that are not sound."""
        data = (member or self.members[0]).data
        done = subprocess.run(
            [BINARY, "verify", name, "--data", data, "--json"], capture_output=True, text=True, timeout=120
        )
        try:
            found = json.loads(done.stdout)
        except ValueError:
            raise AssertionError(f"ringfort verify {name}: {done.returncode} {done.stdout[-500:]}{done.stderr[-500:]}")
        wrong = [o for o in found["objects"] if any(c["state"] != "ok" for c in o["copies"])]
        return found["sums"], wrong

    def where(self, name):
        return ringfort_json("object", "where", "--data", self.members[0].data, name)
