"""Storage servers and a proxy as processes of their own. Every command line of theirs is here."""

import pathlib
import secrets
import shutil
import tempfile

from ringfort import Client, Process, free_port, ringfort

REPLICAS = 3
PART_POWER = 8


class Cluster:
    """Storage processes with one device each, and proxies."""

    def __init__(self, nodes=3, replicate_every=30, proxies=1, options=()):
        # Of every process.
        self.options = options
        self.replicate_every = replicate_every
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="ringfort-cluster-"))
        self.shared = self.scratch / "cluster"
        self.ports = [free_port() for _ in range(nodes)]
        self.storage = [self._storage(number) for number in range(nodes)]
        self.proxies = [self._proxy(number) for number in range(proxies)]
        self.proxy = self.proxies[0]

    def _storage(self, number):
        data = self.scratch / f"node{number}"
        arguments = [
            "storage",
            "--cluster",
            self.shared,
            "--data",
            data,
            "--listen",
            "127.0.0.1",
            "--port",
            self.ports[number],
            "--replicate-every",
            self.replicate_every,
            *self.options,
        ]
        return Process(arguments, self.scratch, f"storage{number}")

    def _proxy(self, number):
        port = free_port()
        # One process owns a directory: each further proxy has a copy, as on a machine of its own.
        data = self.shared if number == 0 else self.scratch / f"cluster{number}"
        arguments = ["proxy", "--data", data, "--listen", "127.0.0.1", "--port", port, *self.options]
        process = Process(arguments, self.scratch, f"proxy{number}")
        process.port, process.data = port, data
        return process

    def create(self):
        """What an operator gives to every node: rings, the secrets of the cluster, the users."""
        self.shared.mkdir()
        for name in ("account", "container", "object"):
            builder = self.shared / f"{name}.builder"
            ringfort("ring", "create", builder, "--part-power", PART_POWER, "--replicas", REPLICAS)
            for number, port in enumerate(self.ports):
                place = ["--zone", number + 1, "--ip", "127.0.0.1", "--port", port, "--device", "d1"]
                ringfort("ring", "add", builder, *place, "--weight", 100)
            ringfort("ring", "rebalance", builder)
        self.key = secrets.token_hex(24)
        ringfort("user", "add", "--data", self.shared, "admin:admin", "--key", self.key, "--role", ".admin")

    def start(self):
        self.create()
        for proxy in self.proxies[1:]:
            shutil.copytree(self.shared, proxy.data)
        for process in (*self.storage, *self.proxies):
            process.start()
        return self

    def client(self):
        return Client(self.proxy.port, "admin:admin", self.key)

    def remove(self):
        for process in (*self.proxies, *self.storage):
            process.kill()
        shutil.rmtree(self.scratch, ignore_errors=True)
