"""What an operator types and scrapes."""

import json
import pathlib
import re
import subprocess
import time
import unittest

from ringfort import BINARY, Store, StoreTestCase, call, ringfort, ringfort_json, sign_in

SUBCOMMANDS = [
    ["up"],
    ["rebalance"],
    ["rebalance", "status"],
    ["rebalance", "pause"],
    ["rebalance", "resume"],
    ["rebalance", "pace"],
    ["user"],
    ["user", "add"],
    ["user", "remove"],
    ["user", "list"],
    ["user", "set-key"],
    ["ring"],
    ["ring", "lookup"],
    ["ring", "create"],
    ["ring", "add"],
    ["ring", "set-weight"],
    ["ring", "set-overload"],
    ["ring", "remove"],
    ["ring", "rebalance"],
    ["ring", "show"],
    ["ring", "dispersion"],
    ["ring", "validate"],
    ["object", "where"],
    ["workers"],
    ["workers", "list"],
    ["workers", "pause"],
    ["workers", "resume"],
    ["workers", "pace"],
    ["verify"],
    ["status"],
    ["token"],
    ["token", "create"],
    ["join"],
    ["node"],
    ["node", "list"],
    ["node", "drain"],
    ["node", "remove"],
    ["node", "rebalance"],
    ["device"],
    ["device", "list"],
    ["device", "add"],
    ["device", "drain"],
    ["device", "remove"],
    ["device", "replace"],
    ["device", "set-weight"],
    ["storage"],
    ["proxy"],
]
# Debian's python3-swift belongs to Debian's Python.
OTHER_RINGS = """
import json, sys
from swift.common.ring import Ring
from swift.common.ring import ring as module
import swift.common.utils as utils
utils.HASH_PATH_PREFIX, utils.HASH_PATH_SUFFIX = b"before", b"after"
utils.validate_hash_conf = module.validate_configuration = lambda: None
ring = Ring(sys.argv[1])
answer = []
for name in sys.argv[2:]:
    part, nodes = ring.get_nodes(*name.split("/", 2))
    answer.append([name, part, [n["id"] for n in nodes], [n["id"] for n in ring.get_more_nodes(part)]])
print(json.dumps(answer))
"""


class DamagedDirectoryTests(unittest.TestCase):
    """What an operator loses or breaks is named, and nothing is made anew over data."""

    def setUp(self):
        self.store = Store()
        self.addCleanup(self.store.remove)
        self.store.start()
        self.store.stop()

    def refusal(self):
        with self.assertRaises(AssertionError) as failure:
            self.store.start()
        return str(failure.exception)

    def test_damaged_files_are_named(self):
        for name in ("users.json", "cluster.json", "cluster.map", "member.json"):
            file = self.store.data / name
            whole = file.read_bytes()
            for bytes in (b"", b"\x00garbage", whole[:40]):
                file.write_bytes(bytes)
                self.assertIn(name, self.refusal())
            file.write_bytes(whole)
        self.store.start()

    def test_no_new_identity_over_old_users(self):
        file = self.store.data / "cluster.json"
        whole = file.read_bytes()
        file.unlink()
        self.assertIn("cluster.json is missing", self.refusal())
        self.assertFalse(file.exists())
        file.write_bytes(whole)
        self.store.start()

    def test_ring_files_are_copies_of_the_map(self):
        files = [self.store.data / f"object.{kind}" for kind in ("builder", "ring.gz")]
        before = [file.read_bytes() for file in files]
        files[0].write_bytes(b"damaged")
        files[1].unlink()
        self.store.start()
        self.assertEqual([file.read_bytes() for file in files], before)

    def test_a_ring_changed_by_hand_is_refused(self):
        builder = self.store.data / "object.builder"
        before = builder.read_bytes()
        ringfort("ring", "set-weight", builder, "0", "50")
        refusal = self.refusal()
        self.assertIn("object.builder", refusal)
        self.assertIn("ringfort device", refusal)
        builder.write_bytes(before)
        self.store.start()


class HelpTests(unittest.TestCase):
    def test_every_subcommand_explains_itself(self):
        for subcommand in SUBCOMMANDS:
            text = ringfort(*subcommand, "--help").stdout
            self.assertIn("USAGE: ringfort " + " ".join(subcommand), text)
            self.assertGreater(len(text), 150, subcommand)

    def test_completion(self):
        for shell in ("bash", "zsh", "fish"):
            self.assertIn("rebalance", ringfort("--generate-completion-script", shell).stdout)

    def test_wrong_arguments_are_told(self):
        for arguments in (["upp"], ["up"], ["up", "--data"], ["up", "--data", "/none/such/dir", "--port", "99999"]):
            done = ringfort(*arguments, check=False, timeout=10)
            self.assertNotEqual(done.returncode, 0, arguments)
            self.assertIn("rror", done.stderr)


class EndpointTests(StoreTestCase):
    def test_healthcheck(self):
        answer = call(self.store.port, "GET", "/healthcheck")
        self.assertEqual((answer.status, answer.body), (200, b"OK"))

    def test_metrics(self):
        self.client("PUT", self.container + "/o", b"x")
        answer = call(self.store.port, "GET", "/metrics")
        self.assertEqual(answer.status, 200)
        self.assertIn("version=0.0.4", answer.headers["Content-Type"])
        samples = [line for line in answer.body.decode().splitlines() if not line.startswith("#")]
        for line in samples:
            self.assertRegex(line, r'^[a-zA-Z_:][\w:]*(\{(\w+="(\\.|[^"\\])*",?)+\})? \S+$')
        self.assertIn("process_resident_memory_bytes", answer.body.decode())
        self.assertGreater(len(samples), 10)
        # Labels are operations and devices, never names out of a request.
        self.assertNotIn(self.container[1:], answer.body.decode())

    def test_info(self):
        info = json.loads(call(self.store.port, "GET", "/info").body)
        self.assertEqual(info["swift"]["max_file_size"], 5368709122)
        self.assertEqual(info["swift"]["container_listing_limit"], 10000)
        self.assertTrue(any(policy.get("default") for policy in info["swift"]["policies"]))

    def test_logs_join_by_transaction(self):
        answer = self.client("GET", self.container + "/none")
        self.assertEqual(answer.headers["X-Trans-Id"], answer.headers["X-Openstack-Request-Id"])
        self.assertNotIn(self.client.token, self.store.log.read_text())

    def test_status(self):
        self.client("PUT", self.container + "/o", bytes(10_000))
        status = ringfort_json("status", "--data", self.store.data)
        self.assertEqual(len(status["devices"]), 4)
        self.assertTrue(ringfort("status", "--data", self.store.data).stdout.strip())

    def test_object_where(self):
        self.client("PUT", self.container + "/o", b"x")
        name = self.client.account.removeprefix("/v1/") + self.container + "/o"
        where = ringfort_json("object", "where", "--data", self.store.data, name)
        self.assertIsInstance(where["partition"], int)
        self.assertEqual(len(where["primaries"]), 3)
        self.assertTrue(ringfort("object", "where", "--data", self.store.data, name).stdout.strip())

    def test_rings_agree_with_openstack(self):
        names = [f"AUTH_a/c{i % 7}/o {i} ünï" for i in range(200)] + ["AUTH_a", "AUTH_a/c", "a/c/d/e//f"]
        for ring in self.store.data.rglob("object*.ring.gz"):
            done = subprocess.run(["/usr/bin/python3", "-c", OTHER_RINGS, ring, *names], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            ours = ringfort_json("ring", "lookup", ring, *names, "--prefix", "before", "--suffix", "after")
            ids = [
                [r["name"], r["partition"], *([d["id"] for d in r[k]] for k in ("primaries", "handoffs"))] for r in ours
            ]
            self.assertEqual(ids, json.loads(done.stdout))
            # As OpenStack's own tools print names.
            slashed = ringfort_json("ring", "lookup", ring, "/" + names[0], "--prefix", "before", "--suffix", "after")
            self.assertEqual(slashed[0]["partition"], ids[0][1])
            break
        else:
            self.fail("no object ring in the data directory")


class UserTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.store = Store()
        cls.addClassCleanup(cls.store.remove)
        cls.store.start()

    def user(self, verb, *arguments, **options):
        return ringfort("user", verb, "--data", self.store.data, *arguments, **options)

    def names(self):
        return [user["user"] for user in ringfort_json("user", "list", "--data", self.store.data)]

    def wait_for_sign_in(self, user, key, status):
        """Changes reach a running store within a moment."""
        deadline = time.monotonic() + 5
        while (answer := sign_in(self.store.port, user, key).status) != status and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(answer, status, user)

    def test_one_user_is_there_from_the_start(self):
        facts = self.store.credentials()
        self.assertEqual(facts["ST_USER"], "admin:admin")
        self.assertIn("admin:admin", self.names())
        self.assertTrue(facts["OS_STORAGE_URL"].endswith("/v1/AUTH_admin"))
        listing = self.user("list").stdout + self.user("list", "--json").stdout
        self.assertNotIn(facts["ST_KEY"], listing)

    def test_life_of_a_user_while_the_store_runs(self):
        self.user("add", "acme:bob", "--key", "first key", "--role", ".admin")
        self.wait_for_sign_in("acme:bob", "first key", 200)
        client = self.store.client("acme:bob", "first key")
        self.assertEqual(client("PUT", "/c").status, 201)
        self.user("set-key", "acme:bob", "--key", "second")
        self.wait_for_sign_in("acme:bob", "first key", 401)
        self.wait_for_sign_in("acme:bob", "second", 200)
        self.user("remove", "acme:bob")
        self.wait_for_sign_in("acme:bob", "second", 401)
        self.assertNotIn("acme:bob", self.names())

    def test_user_without_a_role_has_no_rights(self):
        self.user("add", "plain:eve", "--key", "k")
        self.wait_for_sign_in("plain:eve", "k", 200)
        self.assertEqual(self.store.client("plain:eve", "k")("PUT", "/c").status, 403)

    def test_mistakes_change_nothing(self):
        before = self.names()
        for arguments in (
            ["add", "nocolon"],
            ["add", "a:b", "--role", ".king"],
            ["remove", "no:body"],
            ["set-key", "no:body", "--key", "k"],
            ["add", "admin:admin", "--key", "k"],
            ["add", ":", "--key", "k"],
            ["add", "a/b:c", "--key", "k"],
        ):
            self.assertNotEqual(self.user(*arguments, check=False).returncode, 0, arguments)
        self.assertEqual(self.names(), before)

    def test_users_of_a_store_that_is_stopped(self):
        store = Store()
        self.addCleanup(store.remove)
        store.start()
        store.stop()
        done = ringfort("user", "add", "--data", store.data, "late:comer", "--role", ".admin")
        key = re.search(r"\S{16,}", done.stdout)
        self.assertIsNotNone(key, "a key is made up and shown once: " + done.stdout)
        store.start()
        users = ringfort_json("user", "list", "--data", store.data)
        self.assertIn("late:comer", [user["user"] for user in users])
        ringfort("user", "set-key", "--data", store.data, "late:comer", "--key", "given")
        deadline = time.monotonic() + 5
        while sign_in(store.port, "late:comer", "given").status != 200 and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(sign_in(store.port, "late:comer", "given").status, 200)

    def test_json_of_up(self):
        store = Store()
        self.addCleanup(store.remove)
        store.arguments.append("--json")
        store.process = subprocess.Popen(
            [BINARY, *store.arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.addCleanup(store.process.stdout.close)
        facts = json.loads(store.process.stdout.readline().removeprefix("ready "))
        self.assertTrue(pathlib.Path(facts["credentials"]).is_file())
