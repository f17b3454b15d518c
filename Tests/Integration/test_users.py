"""Users of a cluster: what is changed on one node is in force on all, also on those that were away."""

import base64
import concurrent.futures
import io
import os
import random
import signal
import tarfile
import time
import unittest

from ringfort import ROOT, call, ringfort, ringfort_json, sign_in
from test_join import JoinTestCase, eventually

# Two seconds are promised where nodes reach each other; a machine that runs the tests may be busy.
PATIENCE = 15
# More than travels at once, and than a new node is told when it joins.
MANY = 1600
CHAOS_SECONDS = 20


class UserTestCase(JoinTestCase):
    def setUp(self):
        super().setUp()
        self.grow("two", "three")
        self.agree()
        self.one, self.two, self.three = self.nodes
        self.slowest = 0
        self.addCleanup(lambda: print(f"{self.id()}: the slowest change took {self.slowest:.2f} s", flush=True))

    def user(self, node, *arguments):
        return ringfort_json("user", arguments[0], "--data", node.data, *arguments[1:])

    def names(self, node):
        return sorted(user["user"] for user in self.user(node, "list"))

    def signs_in(self, node, name, key):
        return sign_in(node.port, name, key).status == 200

    def within(self, check, what, seconds=PATIENCE):
        began = time.monotonic()
        eventually(check, what, seconds)
        self.slowest = max(self.slowest, time.monotonic() - began)

    def everywhere(self, name, key, nodes=None, is_user=True):
        nodes = nodes or self.nodes
        self.within(
            lambda: all(self.signs_in(node, name, key) == is_user for node in nodes),
            f"{name} {'can' if is_user else 'can not'} sign in at {[node.name for node in nodes]}",
        )

    def all_list(self, *names):
        expected = sorted(["admin:admin", *names])
        self.within(lambda: all(self.names(node) == expected for node in self.nodes), f"all list {expected}")

    def files(self):
        return {(node.data / "users.json").read_bytes() for node in self.nodes}


class SpreadingTests(UserTestCase):
    def test_what_one_node_changes_is_in_force_on_all(self):
        self.user(self.one, "add", "photos:ann", "--key", "first", "--role", ".admin")
        self.everywhere("photos:ann", "first")
        self.all_list("photos:ann")
        answer = sign_in(self.three.port, "photos:ann", "first")
        token, path = answer.headers["X-Auth-Token"], "/v1/AUTH_photos"
        for node in self.nodes:
            self.assertEqual(call(node.port, "GET", path, headers={"X-Auth-Token": token}).status, 204)

        # Another key: the old one and what was signed in with it end everywhere.
        self.user(self.two, "set-key", "photos:ann", "--key", "second")
        self.everywhere("photos:ann", "second")
        self.everywhere("photos:ann", "first", is_user=False)
        for node in self.nodes:
            self.assertEqual(call(node.port, "GET", path, headers={"X-Auth-Token": token}).status, 401)

        token = sign_in(self.one.port, "photos:ann", "second").headers["X-Auth-Token"]
        self.user(self.three, "remove", "photos:ann")
        self.everywhere("photos:ann", "second", is_user=False)
        for node in self.nodes:
            self.assertEqual(call(node.port, "GET", path, headers={"X-Auth-Token": token}).status, 401)
        self.all_list()
        # The same name once more, on a node that has heard of the removal only.
        self.user(self.two, "add", "photos:ann", "--key", "third")
        self.everywhere("photos:ann", "third")
        self.everywhere("photos:ann", "second", is_user=False)
        self.within(lambda: len(self.files()) == 1, "all have the same file")
        self.no_secrets("first", "second", "third")

    def no_secrets(self, *keys):
        kept = b"".join(self.files())
        for node in self.nodes:
            log = node.log.read_text()
            for key in keys:
                self.assertNotIn(f'"{key}"', log)
                self.assertNotIn(key.encode(), kept)
            for line in kept.decode().splitlines()[1:]:
                self.assertNotIn(line.split()[-1], log)

    def test_two_nodes_change_at_once(self):
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            added = [
                pool.submit(self.user, node, "add", f"{node.name}:u{number}", "--key", f"key-{node.name}-{number}")
                for number in range(4)
                for node in self.nodes
            ]
            for done in added:
                done.result()
        names = [f"{node.name}:u{number}" for number in range(4) for node in self.nodes]
        self.all_list(*names)
        for node in self.nodes:
            self.everywhere(f"{node.name}:u3", f"key-{node.name}-3")

        # One user changed on all: one of the keys counts, and everywhere the same one.
        for round in range(3):
            keys = {node: f"{node.name}-{round}" for node in self.nodes}
            with concurrent.futures.ThreadPoolExecutor(3) as pool:
                list(pool.map(lambda n: self.user(n, "set-key", "one:u0", "--key", keys[n]), self.nodes))
            self.within(lambda: len(self.files()) == 1, "all have the same file")
            valid = lambda node: [key for key in keys.values() if self.signs_in(node, "one:u0", key)]
            self.within(
                lambda: len(valid(self.one)) == 1 and all(valid(n) == valid(self.one) for n in self.nodes),
                "one key counts on all nodes",
            )

    def test_a_node_that_was_away(self):
        self.user(self.one, "add", "a:stays", "--key", "before")
        self.user(self.one, "add", "a:goes", "--key", "goes")
        self.all_list("a:stays", "a:goes")

        # Killed, and changed itself while nothing runs there.
        self.three.kill()
        self.user(self.one, "remove", "a:goes")
        self.user(self.two, "set-key", "a:stays", "--key", "after")
        self.user(self.two, "add", "a:new", "--key", "new")
        self.user(self.three, "add", "a:own", "--key", "own")
        self.everywhere("a:stays", "after", [self.one, self.two])
        self.three.again("up")
        self.everywhere("a:stays", "after")
        self.everywhere("a:new", "new")
        self.everywhere("a:own", "own")
        self.everywhere("a:goes", "goes", is_user=False)
        self.all_list("a:stays", "a:new", "a:own")

        # Stopped in the middle of its work: it knows nothing of what happens meanwhile, not even that time passes.
        self.two.signal(signal.SIGSTOP)
        try:
            self.user(self.one, "remove", "a:new")
            self.everywhere("a:new", "new", [self.one, self.three], is_user=False)
            self.assertIn("a:new", self.names(self.two))
        finally:
            self.two.signal(signal.SIGCONT)
        self.everywhere("a:new", "new", is_user=False)
        self.all_list("a:stays", "a:own")

        # The file of long ago: a removed user does not come back out of it, and neither does an old key.
        old = (self.two.data / "users.json").read_bytes()
        self.user(self.three, "remove", "a:own")
        self.user(self.three, "set-key", "a:stays", "--key", "latest")
        self.all_list("a:stays")
        for is_running in (True, False):
            if not is_running:
                self.two.stop()
            (self.two.data / "users.json").write_bytes(old)
            if not is_running:
                self.two.again("up")
            self.within(lambda: len(self.files()) == 1, "all have the same file")
            self.all_list("a:stays")
            self.everywhere("a:stays", "latest")
        # And a node that has lost it gets it again, with no first user of its own.
        self.three.stop()
        (self.three.data / "users.json").unlink()
        self.three.again("up")
        self.all_list("a:stays")
        self.within(lambda: len(self.files()) == 1, "all have the same file")
        client = self.three.client()
        self.addCleanup(client.close)
        self.assertEqual(client("GET").status, 204)

    def test_a_node_that_was_removed_takes_no_part(self):
        ringfort("node", "remove", "--data", self.one.data, "three", "--force")
        eventually(lambda: "not in the cluster" in self.three.log.read_text(), "the node hears that it was removed")
        self.user(self.three, "add", "a:stray", "--key", "k")
        self.user(self.one, "add", "a:b", "--key", "k")
        self.everywhere("a:b", "k", [self.one, self.two])
        # Some rounds of questions.
        time.sleep(3)
        self.assertEqual([self.names(node) for node in (self.one, self.two)], [["a:b", "admin:admin"]] * 2)
        self.assertEqual(self.names(self.three), ["a:stray", "admin:admin"])


class ChaosTests(UserTestCase):
    """Changes on random nodes, of which one at a time is killed or stopped; the model is the last change that was taken of each user."""

    def test_the_last_change_counts(self):
        seed = int(os.environ.get("RINGFORT_TEST_SEED", random.randrange(1 << 32)))
        choice, away, model = random.Random(seed), {}, {}
        end, changes = time.monotonic() + CHAOS_SECONDS, 0
        while time.monotonic() < end:
            self.disturb(choice, away)
            name, key = f"c:u{choice.randrange(8)}", f"k{changes}"
            command = choice.choice(["add", "remove", "set-key"])
            options = [] if command == "remove" else ["--key", key]
            # A node that has not heard of the change before may refuse this one.
            done = ringfort("user", command, "--data", choice.choice(self.nodes).data, name, *options, check=False)
            if done.returncode == 0:
                changes += 1
                model[name] = None if command == "remove" else key
        for node, how in away.items():
            self.bring_back(node, how)
        self.assertGreater(changes, 50)
        self.within(lambda: len(self.files()) == 1, f"all have the same file, seed {seed}")
        for node in self.nodes:
            left = sorted(["admin:admin", *(name for name, key in model.items() if key)])
            self.assertEqual(self.names(node), left, f"seed {seed}")
            keys = [(name, key) for name, key in model.items() if key]
            self.within(lambda: all(self.signs_in(node, *pair) for pair in keys), f"the last keys count, seed {seed}")

    def disturb(self, choice, away):
        chance = choice.random()
        if chance < 0.05 and not away:
            node, how = choice.choice(self.nodes), choice.choice(["kill", "stop"])
            away[node] = how
            node.kill() if how == "kill" else node.signal(signal.SIGSTOP)
        elif chance > 0.9 and away:
            self.bring_back(*away.popitem())

    @staticmethod
    def bring_back(node, how):
        node.again("up") if how == "kill" else node.signal(signal.SIGCONT)


class HostileTests(UserTestCase):
    def test_a_damaged_file_stays_where_it_is(self):
        self.user(self.one, "add", "a:b", "--key", "k")
        self.all_list("a:b")
        file = self.two.data / "users.json"
        whole = file.read_bytes()
        file.write_bytes(whole[:-20])
        eventually(lambda: "users file can't be read" in self.two.log.read_text(), "the damage is reported")
        self.user(self.one, "add", "a:c", "--key", "k")
        self.everywhere("a:c", "k", [self.one, self.three])
        self.assertTrue(self.signs_in(self.two, "a:b", "k"))
        self.assertFalse(self.signs_in(self.two, "a:c", "k"))
        time.sleep(3)
        # Once, and not with every look.
        self.assertLess(self.two.log.read_text().count("users file can't be read"), 4)
        file.write_bytes(whole)
        self.everywhere("a:c", "k")
        self.all_list("a:b", "a:c")

    def test_many_users_come_in_pages(self):
        for node in (self.one, self.three):
            node.stop()
        for number in range(MANY):
            name = f"{'a' * 120}:{number:04}{'u' * 120}"
            ringfort("user", "add", "--data", self.one.data, name, "--key", "k" * 256)
        self.one.again("up")
        self.within(lambda: len(self.names(self.two)) == MANY + 1, "all users have come")
        self.three.again("up")
        self.within(lambda: len(self.names(self.three)) == MANY + 1, "all users have come back")
        self.grow("four")
        self.within(lambda: len(self.files()) == 1, "all have the same file")
        self.everywhere(name, "k" * 256)


class UpgradeTests(JoinTestCase):
    """A file of version 1, which had no removed users and whole seconds."""

    def prepare(self, first):
        packed = base64.b64decode((ROOT / "Tests/Fixtures/disk-1.txt").read_text())
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(self.scratch, [m for m in archive.getmembers() if m.name.startswith("./node")])
        (self.scratch / "node").rename(first.data)
        self.file = (first.data / "users.json").read_bytes()

    def test_a_file_of_before(self):
        self.assertTrue(self.file.startswith(b"ringfort-users 1\n"))
        self.grow("two")
        sign_ins = lambda: [sign_in(node.port, "gold:miner", "shovel").status for node in self.nodes]
        self.assertEqual(sign_ins(), [200, 200])
        # As long as nobody changes a user, the program of before can go on with it.
        time.sleep(2)
        for node in self.nodes:
            self.assertEqual((node.data / "users.json").read_bytes(), self.file)
        ringfort("user", "remove", "--data", self.nodes[1].data, "gold:miner")
        eventually(lambda: sign_ins() == [401, 401], "the user is gone")
        for node in self.nodes:
            self.assertTrue((node.data / "users.json").read_bytes().startswith(b"ringfort-users 2\n"))


if __name__ == "__main__":
    unittest.main()
