"""Runs the real `ringfort` binary for the tests and talks to it."""

import collections
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("RINGFORT", ROOT / ".build/release/ringfort"))
# OpenStack's client, out of the same virtual environment as this Python.
CLIENT = pathlib.Path(sys.executable).parent / "swift"
START_SECONDS = 20
# A stop waits for running requests this long at most (see `ringfort up --help`).
STOP_SECONDS = 30

Response = collections.namedtuple("Response", "status headers body")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ringfort(*arguments, check=True, timeout=60):
    """Runs a subcommand to its end."""
    done = subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=timeout)
    if check and done.returncode != 0:
        raise AssertionError(f"ringfort {' '.join(map(str, arguments))}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def ringfort_json(*arguments):
    return json.loads(ringfort(*arguments, "--json").stdout)


class Process:
    """A `ringfort` process that prints a line `ready ...` when it answers."""

    # What the command line begins with: another network namespace, for instance.
    prefix = ()
    # Another program than the one that is tested: that of an earlier commit.
    binary = BINARY

    def __init__(self, arguments, directory, name):
        self.arguments, self.directory, self.name = [str(a) for a in arguments], pathlib.Path(directory), name
        self.process = None

    def start(self):
        self.out, self.log = self.directory / f"{self.name}.out", self.directory / f"{self.name}.log"
        with open(self.out, "w") as out, open(self.log, "a") as log:
            command = [*self.prefix, self.binary, *self.arguments]
            self.process = subprocess.Popen(command, stdout=out, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while not any(line.startswith("ready") for line in self.out.read_text().splitlines()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"{self.name} did not become ready:\n{self.out.read_text()}{self.tail()}")
            time.sleep(0.01)
        return self

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=STOP_SECONDS + 5):
        return self.process.wait(seconds)

    def stop(self):
        """A polite stop; the exit code."""
        if self.process is None or self.process.poll() is not None:
            return self.process and self.process.returncode
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self):
        if self.process and self.process.poll() is None:
            self.signal(signal.SIGKILL)
            self.process.wait(10)

    def tail(self, lines=40):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def resident_mib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s*(\d+)", status).group(1)) >> 10


class Store(Process):
    """`ringfort up` on a directory of its own."""

    def __init__(self, directory=None):
        self.scratch = pathlib.Path(directory or tempfile.mkdtemp(prefix="ringfort-"))
        self.data, self.port = self.scratch / "data", free_port()
        arguments = ["up", "--data", self.data, "--listen", "127.0.0.1", "--port", self.port, "--storage-port", 0]
        super().__init__(arguments, self.scratch, "up")
        self.clients = []

    def credentials(self):
        pairs = {}
        for line in (self.data / "credentials.env").read_text().splitlines():
            name, equals, value = line.removeprefix("export ").partition("=")
            if equals:
                pairs[name] = value.strip("'\"")
        return pairs

    def client(self, user=None, key=None):
        """A signed-in user, the administrator unless said; closed with the store."""
        facts = self.credentials()
        self.clients.append(Client(self.port, user or facts["ST_USER"], key or facts["ST_KEY"]))
        return self.clients[-1]

    def remove(self):
        for client in self.clients:
            client.close()
        self.kill()
        shutil.rmtree(self.scratch, ignore_errors=True)


def sign_in(port, user, key):
    """The answer of v1 authentication."""
    return call(port, "GET", "/auth/v1.0", headers={"X-Auth-User": user, "X-Auth-Key": key})


def call(port, method, path, body=None, headers=None, timeout=60, host="127.0.0.1"):
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return Response(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


class Client:
    """A signed-in user with a kept connection. Paths are below the account and already percent-encoded."""

    def __init__(self, port, user, key):
        answer = sign_in(port, user, key)
        if answer.status not in (200, 204):
            raise AssertionError(f"sign in as {user}: {answer.status}")
        self.port, self.token = port, answer.headers["X-Auth-Token"]
        self.account = urllib.parse.urlsplit(answer.headers["X-Storage-Url"]).path
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def __call__(self, method, path="", body=None, headers=None):
        headers = {"X-Auth-Token": self.token, **(headers or {})}
        try:
            self.connection.request(method, self.account + path, body, headers)
            answer = self.connection.getresponse()
            return Response(answer.status, answer.headers, answer.read())
        except Exception:
            self.connection.close()
            raise

    def names(self, path, query=""):
        answer = self("GET", f"{path}?format=json&{query}")
        return [row.get("name", row.get("subdir")) for row in json.loads(answer.body)]

    def close(self):
        self.connection.close()


class StoreTestCase(unittest.TestCase):
    """Tests of one class share a running store; each makes containers of its own."""

    @classmethod
    def setUpClass(cls):
        cls.store = Store()
        cls.addClassCleanup(cls.store.remove)
        cls.store.start()

    def setUp(self):
        self.client = self.store.client()
        self.addCleanup(self.client.close)
        self.container = "/c-" + self.id().rsplit(".", 1)[1]
        self.assertEqual(self.client("PUT", self.container).status, 201)

    def tearDown(self):
        self.assertIsNone(self.store.process.poll(), "the store went away:\n" + self.store.tail())
        self.assertEqual(call(self.store.port, "GET", "/healthcheck").status, 200)
