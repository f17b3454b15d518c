"""Nodes that join a running cluster, as processes of their own: tokens, the map that all agree on, rings that follow."""

import json
import pathlib
import re
import shutil
import tempfile
import threading
import time
import unittest

from ringfort import Client, Process, call, free_port, ringfort, ringfort_json

PATIENCE = 20


def eventually(check, what, seconds=PATIENCE):
    """The first true value of `check`."""
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} seconds: {what}")
        time.sleep(0.1)


class Node(Process):
    """One member: `up` for the first, `join` for the others."""

    def __init__(self, scratch, name, first=None):
        self.data, self.port, self.first = scratch / name, free_port(), first
        self.places = ["--data", self.data, "--listen", "127.0.0.1", "--port", self.port, "--storage-port", 0]
        super().__init__([], scratch, name)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def up(self, *options):
        self.arguments = ["up", "--name", self.name, *map(str, (*self.places, *options))]
        return self.start()

    def join(self, token, *options):
        self.arguments = ["join", self.first.url, "--token", token, "--name", self.name]
        self.arguments += [str(o) for o in (*self.places, *options)]
        return self.start()

    def again(self, *command):
        """Starts without a token and without saying anything again."""
        self.arguments = [*map(str, command), "--data", str(self.data)]
        return self.start()

    def token(self, *options):
        return ringfort_json("token", "create", "--data", self.data, *options)["token"]

    def status(self):
        return ringfort_json("status", "--data", self.data)

    def client(self):
        text = (self.data / "credentials.env").read_text()
        return Client(self.port, "admin:admin", re.search(r"ST_KEY=(\S+)", text).group(1))

    def ring(self, name):
        return (self.data / f"{name}.ring.gz").read_bytes()


class JoinTestCase(unittest.TestCase):
    # Of every node, at its start.
    options = []

    def setUp(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="ringfort-join-"))
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)
        self.nodes = [self.node("one")]
        self.prepare(self.nodes[0])
        self.nodes[0].up(*self.options)

    def prepare(self, first):
        """Before the first node makes its store."""

    def node(self, name):
        node = Node(self.scratch, name, self.nodes[0] if getattr(self, "nodes", None) else None)
        self.addCleanup(node.kill)
        return node

    def grow(self, *names):
        for name in names:
            self.nodes.append(self.node(name).join(self.nodes[0].token(), *self.options))

    def agree(self):
        """Waits until all nodes have one map and the rings of it."""

        def same():
            status = self.nodes[0].status()
            versions = {node["map_version"] for node in status["nodes"]} | {status["map_version"]}
            rings = [{node.ring(name) for node in self.nodes} for name in ("account", "container", "object")]
            return len(versions) == 1 and all(len(ring) == 1 for ring in rings)

        eventually(same, "all nodes have one map")


    def objects_everywhere(self, name):
        """What is written through one node is read through all."""
        clients = [node.client() for node in self.nodes]
        for client in clients:
            self.addCleanup(client.close)
        for index, writer in enumerate(clients):
            container = f"/{name}-{index}"
            self.assertEqual(writer("PUT", container).status, 201)
            for number in range(4):
                body = f"{name} {index} {number}".encode() * 1000
                self.assertEqual(writer("PUT", f"{container}/{number}", body).status, 201)
                for reader in clients:
                    answer = reader("GET", f"{container}/{number}")
                    self.assertEqual((answer.status, answer.body), (200, body))
            for reader in clients:
                self.assertEqual(reader.names(container), ["0", "1", "2", "3"])


class JoinTests(JoinTestCase):
    def test_a_cluster_grows(self):
        self.grow("two", "three")
        self.agree()
        for node in self.nodes:
            status = node.status()
            self.assertEqual(len(status["nodes"]), 3)
            self.assertTrue(all(n["reachable"] and abs(n["clock_offset_seconds"]) < 2 for n in status["nodes"]))
            self.assertEqual(len(status["devices"]), 6)
            self.assertEqual(status["warnings"], [])
        self.objects_everywhere("grown")

        # A node that is away while the cluster changes catches up, and none needs its token again.
        self.nodes[2].kill()
        ringfort("node", "rebalance", "--data", self.nodes[0].data, "--settled")
        ringfort("node", "rebalance", "--data", self.nodes[0].data, "--settled")
        changed = ringfort_json("device", "set-weight", "--data", self.nodes[1].data, "two/d1", 150)
        self.assertGreater(changed["moved"]["object"], 0)
        self.nodes[2].again("up")
        self.agree()
        self.assertEqual(self.nodes[2].status()["map_version"], self.nodes[0].status()["map_version"])
        self.nodes[1].stop()
        self.nodes[1].again("join", self.nodes[0].url)
        self.agree()
        self.objects_everywhere("again")

        # Without a majority nothing changes, and who asks hears so soon.
        self.nodes[1].kill()
        self.nodes[2].kill()
        began = time.monotonic()
        refused = ringfort("device", "drain", "--data", self.nodes[0].data, "one/d1", check=False)
        self.assertLess(time.monotonic() - began, 15)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("no majority", refused.stderr)
        self.assertIn("two", refused.stderr)
        unreachable = [n["name"] for n in self.nodes[0].status()["nodes"] if not n["reachable"]]
        self.assertEqual(sorted(unreachable), ["three", "two"])

        # All at once, as after a power cut: nobody has to be told where the others are.
        self.nodes[0].stop()
        for node in self.nodes:
            node.again("up", "--storage-port", 0)
        self.agree()
        ringfort("device", "drain", "--data", self.nodes[0].data, "one/d1")
        self.agree()
        self.objects_everywhere("together")

    def test_two_join_at_once(self):
        joining = [self.node(name) for name in ("left", "right")]
        tokens = [self.nodes[0].token() for _ in joining]
        failures = []

        def join(node, token):
            try:
                node.join(token)
            except AssertionError as failure:
                failures.append(str(failure))

        threads = [threading.Thread(target=join, args=pair) for pair in zip(joining, tokens)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.nodes += joining
        self.agree()
        self.assertEqual(len(self.nodes[0].status()["nodes"]), 3)


class RoleTests(JoinTestCase):
    def workers(self, node):
        """State by name."""
        found = ringfort_json("workers", "list", "--data", node.data)["workers"]
        return {worker["name"]: worker["state"] for worker in found}

    def test_proxies_and_storage_nodes(self):
        # Nothing settles by itself while one replicator is held: here it is said by hand.
        ringfort("workers", "pause", "object-replicator", "--data", self.nodes[0].data)
        proxy, storage = self.node("gate"), self.node("store")
        proxy.join(self.nodes[0].token("--role", "proxy"))
        disks = [self.scratch / "disks" / name for name in ("a", "b")]
        storage.join(self.nodes[0].token("--role", "storage"), "--device", disks[0], "--device", disks[1], "--zone", 7)
        self.nodes += [proxy, storage]
        self.agree()
        self.assertTrue((disks[1] / "device.json").exists())
        nodes = {node["name"]: node for node in ringfort_json("node", "list", "--data", proxy.data)["nodes"]}
        self.assertEqual([nodes[n]["role"] for n in ("gate", "store")], ["proxy", "storage"])
        self.assertEqual(nodes["store"]["zone"], 7)
        client = proxy.client()
        self.addCleanup(client.close)
        self.assertEqual(client("PUT", "/c").status, 201)
        self.assertEqual(client("PUT", "/c/o", b"by way of the gate").status, 201)
        first = self.nodes[0].client()
        self.addCleanup(first.close)
        self.assertEqual(first("GET", "/c/o").body, b"by way of the gate")

        # Devices come and go on nodes that run.
        path = self.scratch / "disks" / "c"
        added = ringfort_json("device", "add", "--data", storage.data, path)
        self.assertGreater(added["resting"]["object"], 0)
        moved = ringfort_json("node", "rebalance", "--data", proxy.data, "--settled")["moved"]["object"]
        self.assertGreater(moved, 0)
        eventually(lambda: len(self.nodes[0].status()["devices"]) == 7, "the new device is served")
        refused = ringfort("device", "remove", "--data", proxy.data, "store/c", check=False)
        self.assertIn("drain it", refused.stderr)
        # Its partitions rest, since their data may be on the way; nothing is stored, so it is not.
        waiting = ringfort_json("device", "drain", "--data", proxy.data, "store/c")
        self.assertGreater(waiting["unmoved"]["object"], 0)

        def empty():
            done = ringfort_json("node", "rebalance", "--data", proxy.data, "--settled")
            return not any(done["unmoved"].values())

        eventually(empty, "the device has no partitions")
        # What an operator holds does not hold the closing of the device.
        ringfort("workers", "pause", "compactor-c", "--data", storage.data)
        # By force: a row may be there that nothing moves away.
        ringfort("device", "remove", "--data", self.nodes[0].data, "store/c", "--force")
        eventually(lambda: len(self.nodes[0].status()["devices"]) == 6, "the device is gone")
        listed = ringfort_json("device", "list", "--data", storage.data)["devices"]
        self.assertNotIn("c", [device["name"] for device in listed])
        self.assertNotIn("compactor-c", self.workers(storage))
        # A device that can't be opened keeps no other from its work.
        (self.scratch / "disks" / "file").write_text("no folder")
        ringfort("device", "add", "--data", storage.data, self.scratch / "disks" / "file" / "e")
        eventually(lambda: "can't be served" in storage.log.read_text(), "the device is reported")
        self.assertNotIn("stopped", self.workers(storage).values())
        self.assertIn("replicator", " ".join(self.workers(storage)))

        # A node that leaves is known to nobody afterwards.
        proxy.stop()
        ringfort("node", "remove", "--data", storage.data, "gate")
        eventually(lambda: len(self.nodes[0].status()["nodes"]) == 2, "the node is gone")
        proxy.again("up")
        eventually(lambda: "not in the cluster" in proxy.log.read_text(), "the node hears that it was removed")


class ChangeTests(JoinTestCase):
    def test_nodes_move_fail_and_leave(self):
        self.grow("two", "three")
        two, three = self.nodes[1:]
        # A node comes back at another address.
        two.stop()
        port = free_port()
        two.again("up", "--storage-port", port)
        listed = lambda: ringfort_json("node", "list", "--data", three.data)["nodes"]
        eventually(lambda: port in [node["storage_port"] for node in listed()], "the others know the new port")
        self.agree()
        self.objects_everywhere("moved")

        # An empty disk takes the place of another.
        disk = self.scratch / "disk"
        replaced = ringfort_json("device", "replace", "--data", two.data, "three/d1", "--with", disk)
        self.assertEqual(replaced["moved"]["object"], 0)
        eventually(lambda: (disk / "device.json").exists(), "the new disk is in use")
        self.objects_everywhere("replaced")

        # A node that is lost is removed by force only; its partitions go to the others at once.
        three.kill()
        refused = ringfort("node", "remove", "--data", two.data, "three", check=False)
        self.assertIn("--force", refused.stderr)
        removed = ringfort_json("node", "remove", "--data", two.data, "three", "--force")
        self.assertGreater(removed["moved"]["object"], 0)
        self.nodes.remove(three)
        self.agree()
        self.assertEqual(self.nodes[0].status()["warnings"], [])
        self.objects_everywhere("removed")


class TokenTests(JoinTestCase):
    def refusal(self, node, token, *options):
        with self.assertRaises(AssertionError) as failure:
            node.join(token, *options)
        return str(failure.exception)

    def test_tokens_that_are_no_good(self):
        late = self.nodes[0].token("--ttl", 1)
        node = self.node("late")
        time.sleep(2.1)
        self.assertIn("expired", self.refusal(node, late))
        self.assertIn("damaged", self.refusal(node, late[:-3]))
        with tempfile.TemporaryDirectory() as other:
            ringfort("user", "add", "--data", other, "a:a")
            foreign = ringfort_json("token", "create", "--data", other)["token"]
        self.assertIn("not one of this cluster", self.refusal(node, foreign))

        # A join that fails burns nothing: the same token and directory, with what was wrong set right.
        token = self.nodes[0].token()
        self.assertIn("advertise", self.refusal(node, token, "--advertise", "192.0.2.1"))
        node.join(token, "--advertise", "127.0.0.1")
        self.assertIn("used", self.refusal(self.node("second"), token))
        self.assertEqual(len(self.nodes[0].status()["nodes"]), 2)
        self.assertNotIn(token, self.nodes[0].log.read_text() + node.log.read_text())

    def test_a_join_that_is_killed_can_be_repeated(self):
        token, node = self.nodes[0].token(), self.node("late")
        for seconds in (0.02, 0.1, 0.2, 0.4, 0.8):
            killer = threading.Timer(seconds, lambda: node.process and node.kill())
            killer.start()
            try:
                node.join(token)
            except AssertionError:
                pass
            killer.join()
            node.kill()
        node.join(token)
        self.nodes.append(node)
        self.agree()
        self.objects_everywhere("after")
        self.assertEqual(len(self.nodes[0].status()["devices"]), 5)

    def test_the_door_is_for_join_requests(self):
        port = self.nodes[0].port
        self.assertEqual(call(port, "GET", "/ringfort/v1/join").status, 405)
        self.assertEqual(call(port, "POST", "/ringfort/v1/other").status, 404)
        self.assertEqual(call(port, "POST", "/ringfort/v1/join", b"{}").status, 400)
        self.assertEqual(call(port, "POST", "/ringfort/v1/join", bytes(5000)).status, 413)
        wrong = {"version": 1, "id": "00" * 16, "role": 3, "expiry": 2**40, "node": "0" * 32}
        wrong |= {"nonce": "00" * 32, "proof": "00" * 32}
        statuses = [call(port, "POST", "/ringfort/v1/join", json.dumps(wrong)).status for _ in range(12)]
        self.assertEqual(statuses[:10], [403] * 10)
        self.assertEqual(statuses[-1], 429)


if __name__ == "__main__":
    unittest.main()
