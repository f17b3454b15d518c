"""A cluster of an earlier program becomes one of today's, node by node, while it is used, and no request fails.

`make upgrade PREVIOUS=COMMIT` builds the earlier one; RINGFORT_PREVIOUS names its binary."""

import base64
import http.client
import io
import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile
import time
import unittest

from ringfort import BINARY, ROOT, Client, Process, free_port, ringfort_json
from test_join import eventually
from torture_cluster import TortureCluster
from torture_load import CONTAINERS, TIMEOUT_SECONDS, Answer, Tally, Worker
from torture_network import Loopback

PREVIOUS = os.environ.get("RINGFORT_PREVIOUS")
NODES = 3
THREADS = 4
KEYS = 30
# One request of each thread every so many seconds.
PACE = 0.03
# How long the load goes on between two steps.
BETWEEN_SECONDS = 4
# A node that was away, or whose disk is new, has everything again after so long at most.
CATCH_UP_SECONDS = 60


class BalancedWorker(Worker):
    """Its clients are behind a load balancer: a node that is being replaced and takes no connection is passed over. Whatever else goes wrong is
    a failed request, but for connections that an earlier program drops when it stops, before it has read a request from them."""

    passed_over = 0

    def ask(self, node, method, path, body=None, headers=None, key=None):
        others = [member for member in self.cluster.members if member is not node]
        self.random.shuffle(others)
        for candidate in [node, *others]:
            began, answer, reason = time.monotonic(), None, ""
            was_away = candidate.is_away
            connection = http.client.HTTPConnection(candidate.host, candidate.port, timeout=TIMEOUT_SECONDS)
            try:
                connection.connect()
                headers = {"X-Auth-Token": self.cluster.token, **(headers or {})}
                connection.request(method, self.cluster.account + path, body, headers)
                response = connection.getresponse()
                answer = Answer(response.status, response.headers, response.read())
                reason = str(answer.status)
            except (OSError, http.client.HTTPException) as failure:
                is_away = was_away or candidate.is_away
                drops = candidate.binary != BINARY and isinstance(failure, ConnectionResetError)
                if is_away and (drops or isinstance(failure, ConnectionRefusedError)):
                    self.passed_over += 1
                    continue
                reason = type(failure).__name__
                if isinstance(failure, TimeoutError) and key:
                    key.wait_for(candidate)
            finally:
                connection.close()
            self.count(candidate, method, began, answer, reason)
            return answer
        raise AssertionError("no node takes connections")


@unittest.skipUnless(PREVIOUS, "RINGFORT_PREVIOUS names no earlier program: `make upgrade` builds one")
class RollingUpgradeTests(unittest.TestCase):
    def setUp(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="ringfort-upgrade-"))
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)
        self.tally = Tally(print)
        self.cluster = TortureCluster(self.scratch, Loopback())
        self.addCleanup(lambda: [member.kill() for member in self.cluster.made])
        for _ in range(NODES):
            member = self.cluster.new_member()
            member.binary, member.is_away = pathlib.Path(PREVIOUS), False
            self.cluster.members.append(member)

    def test_node_by_node_and_back(self):
        members = self.cluster.members
        self.cluster.start()
        reader = self.worker("reader", 0)
        self.addCleanup(reader.close)
        for container in CONTAINERS:
            self.assertIn(reader.ask(members[0], "PUT", f"/{container}").status, (201, 202))
        self.cluster.workers = [self.worker(number, KEYS) for number in range(THREADS)]
        for worker in self.cluster.workers:
            worker.all = [key for other in self.cluster.workers for key in other.own]
            self.addCleanup(worker.ending.set)
            worker.start()
        time.sleep(BETWEEN_SECONDS)

        # The first one loses its disk meanwhile: it is filled by nodes that run the earlier program.
        self.replace(members[0], BINARY, empties=True)
        mixed = self.cluster.status()
        self.assertEqual([bool(node["program"]) for node in mixed["nodes"]].count(True), self.newer_than_previous(1))
        if mixed["nodes"][0]["program"] != mixed["nodes"][1]["program"]:
            self.assertTrue(any("run different programs" in warning for warning in mixed["warnings"]), mixed)
        for member in members[1:]:
            self.replace(member, BINARY)
        status = self.cluster.status()
        self.assertEqual(status["warnings"], [])
        self.assertEqual(len({json.dumps(node["program"]) for node in status["nodes"]}), 1)
        self.assertIsNotNone(status["nodes"][0]["program"])

        # Thinking better of it: what today's program wrote, the earlier one reads.
        self.replace(members[1], pathlib.Path(PREVIOUS))
        self.end(reader)

    def newer_than_previous(self, upgraded):
        """How many nodes say which program they run."""
        says = "build" in subprocess.run([PREVIOUS, "--version"], capture_output=True, text=True).stdout
        return NODES if says else upgraded

    def worker(self, number, keys):
        return BalancedWorker(number, keys, self.cluster, self.tally, "upgrade", PACE)

    def replace(self, member, binary, empties=False):
        member.is_away = True
        self.assertEqual(member.stop(), 0, member.tail())
        if empties:
            member.empty()
        # Long enough for writes that the node misses.
        time.sleep(1)
        member.binary = binary
        member.again()
        member.is_away = False
        eventually(self.has_caught_up, f"{member.name} has what it missed", CATCH_UP_SECONDS)
        time.sleep(BETWEEN_SECONDS)

    def has_caught_up(self):
        status = self.cluster.status()
        return all(node["reachable"] for node in status["nodes"]) and not any(
            device["behind_partitions"] or device["pending_updates"] for device in status["devices"]
        )

    def end(self, reader):
        for worker in self.cluster.workers:
            worker.ending.set()
        for worker in self.cluster.workers:
            worker.join()
        for node in self.cluster.members:
            for worker in self.cluster.workers:
                for key in worker.own:
                    reader.read(node, key, "GET")
                for container in CONTAINERS:
                    reader.list(node, worker, container)
        self.assertEqual(dict(self.tally.errors), {}, f"of {dict(self.tally.done)}")
        self.assertEqual(dict(self.tally.excused), {})
        self.assertEqual(self.tally.violations, [])
        for method in ("PUT", "GET", "HEAD", "DELETE", "POST"):
            self.assertGreater(self.tally.done[method], 20, "there was no load")
        self.assertGreater(sum(w.passed_over for w in self.cluster.workers), 20, "no node was away under load")
        eventually(self.copies_agree, "every copy is sound and the newest", CATCH_UP_SECONDS)

    def copies_agree(self):
        sums, wrong = self.cluster.verify("AUTH_admin")
        return not wrong and sums["unread_listings"] == 0


class GoldenNodeTests(unittest.TestCase):
    """The files of a node beside its devices, as the program of commit 7636027 left them."""

    def test_today_s_program_goes_on_with_them(self):
        scratch = pathlib.Path(tempfile.mkdtemp(prefix="ringfort-golden-"))
        self.addCleanup(shutil.rmtree, scratch, ignore_errors=True)
        packed = base64.b64decode((ROOT / "Tests/Fixtures/disk-1.txt").read_text())
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            members = [m for m in archive.getmembers() if m.name.startswith("./node")]
            archive.extractall(scratch, members)
        data, port = scratch / "node", free_port()
        places = ["--listen", "127.0.0.1", "--port", port, "--storage-port", 0, "--replicate-every", 1]
        node = Process(["up", "--data", data, *places], scratch, "up")
        self.addCleanup(node.kill)
        node.start()
        status = ringfort_json("status", "--data", data)
        self.assertEqual(len(status["devices"]), 4)
        self.assertGreaterEqual(status["map_version"], 1)
        workers = ringfort_json("workers", "list", "--data", data)["workers"]
        self.assertEqual([w["pace"] for w in workers if w["name"] == "auditor"], [1 << 20])
        client = Client(port, "gold:miner", "shovel")
        self.addCleanup(client.close)
        # The devices are not in the fixture: they have no say until a pass of the replicators finds that all are empty.
        eventually(lambda: client("PUT", "/c").status in (201, 202), "the devices have a say", CATCH_UP_SECONDS)
        self.assertEqual(client("PUT", "/c/o", b"nugget").status, 201)
        self.assertEqual(client("GET", "/c/o").body, b"nugget")
        self.assertEqual(node.stop(), 0)


if __name__ == "__main__":
    unittest.main()
