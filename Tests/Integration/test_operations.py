"""Runs every command of `Documentation/operations.md` on a small cluster, in the order of the page."""

import pathlib
import re
import shlex
import shutil
import tempfile
import unittest

from ringfort import ROOT, ringfort
from test_join import Node
from test_rebalance import make_builders

PAGE = ROOT / "Documentation/operations.md"
OBJECTS = 40
# The clusters of the page would wait for half a minute between two comparisons.
REPLICATE = ["--replicate-every", "1"]
WATCH_SECONDS = 60


def commands():
    """Pairs of a machine and a command line."""
    machine = None
    for line in PAGE.read_text().splitlines():
        if not line.startswith("    "):
            continue
        line = line.strip()
        if found := re.fullmatch(r"# on (\S+)", line):
            machine = found.group(1)
        elif re.match(r"ringfort |systemctl ", line):
            yield machine, line


class OperationsTests(unittest.TestCase):
    def setUp(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="ringfort-operations-"))
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)
        self.nodes, self.token = {}, None

    def test_the_page(self):
        seen = set()
        for machine, line in commands():
            with self.subTest(machine=machine, line=line):
                words = shlex.split(line)
                seen.add(" ".join(words[:3]))
                self.run_line(machine, words)
        # A page that was not understood would pass as well.
        self.assertGreater(len(seen), 20)
        for command in ("node remove", "device replace", "user set-key", "rebalance pace", "verify AUTH_admin/photos"):
            self.assertTrue(any(command in line for line in seen), command)
        self.check()

    def run_line(self, machine, words):
        match words:
            case ["ringfort", "up", *_]:
                self.assertIn("--listen", words)
                node = self.nodes[machine] = self.node(machine)
                make_builders(node.data)
                node.up(*REPLICATE)
                self.upload()
            case ["ringfort", "join", url, "--token", "TOKEN", *_]:
                self.assertEqual(url, "http://10.0.0.1:8080")
                self.nodes[machine] = self.node(machine).join(self.token, *REPLICATE)
            case ["systemctl", "stop", "ringfort"]:
                self.assertEqual(self.nodes[machine].stop(), 0)
            case ["systemctl", "start", "ringfort"]:
                start = re.search(r"ExecStart=\S+/ringfort (.*)", PAGE.read_text()).group(1).split()
                self.assertEqual(start, ["up", "--data", "/srv/ringfort"])
                self.nodes[machine].again("up", *REPLICATE)
            case ["ringfort", "node", "remove", *_, name, "--force"]:
                # This is for a machine that is lost.
                self.nodes.pop(name).kill()
                self.run_here(machine, words)
            case ["ringfort", *_]:
                self.run_here(machine, words)
            case _:
                self.fail(f"no test knows how to run {words}")

    def run_here(self, machine, words):
        paths = {"/srv/ringfort": self.nodes[machine].data}
        words = [str(paths.get(w, w)).replace("/disks/", f"{self.scratch}/disks/") for w in words[1:]]
        if "--watch" in words:
            words += ["--timeout", str(WATCH_SECONDS)]
        done = ringfort(*words, timeout=WATCH_SECONDS + 10)
        if words[:2] == ["token", "create"]:
            self.token = done.stdout.strip()

    def node(self, name):
        node = Node(self.scratch, name, self.nodes.get("store-1"))
        self.addCleanup(node.kill)
        return node

    def upload(self):
        client = self.nodes["store-1"].client()
        self.addCleanup(client.close)
        self.assertEqual(client("PUT", "/photos").status, 201)
        for name, body in self.objects():
            self.assertEqual(client("PUT", f"/photos/{name}", body).status, 201)

    @staticmethod
    def objects():
        return [("cat.jpg", b"cat" * 100_000)] + [(f"{n}.jpg", f"{n}".encode() * 3000) for n in range(OBJECTS)]

    def check(self):
        """After all that, everything is there, through every node that is left."""
        for name in ("store-1", "store-2"):
            client = self.nodes[name].client()
            self.addCleanup(client.close)
            for object_name, body in self.objects():
                answer = client("GET", f"/photos/{object_name}")
                self.assertEqual((answer.status, answer.body), (200, body), (name, object_name))


if __name__ == "__main__":
    unittest.main()
