"""The systems that are compared: each starts on loopback, keeps its state in one directory, and stops."""

import getpass
import http.client
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse

from machine import Processes

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CORES = os.cpu_count() or 1
# Debian's Python, for which Debian's OpenStack packages are.
DEBIAN_PYTHON = "/usr/bin/python3"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fill_in(template, target, **values):
    text = (HERE / template).read_text()
    for name, value in values.items():
        text = text.replace(f"@{name.upper()}@", str(value))
    target.write_text(text)


class System:
    """What the load needs to know of a system."""

    # Whether GET means one static file, and PUT one unsynced copy.
    static = False
    # The container of the listings and how many names it has.
    listed, names = "keys", 0

    def __init__(self, state, options):
        self.state, self.options = pathlib.Path(state), options
        self.directory = self.state / self.name
        self.port, self.token, self.account = free_port(), "", ""
        self.running, self.objects = [], 0
        self.directory.mkdir(parents=True)

    @property
    def processes(self):
        return Processes(process.pid for process in self.running)

    def spawn(self, command, **options):
        log = open(self.directory / f"{pathlib.Path(command[0]).name}.log", "a")
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **options,
        )
        self.running.append(process)
        return process

    def call(self, method, path, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(
                method, path, headers={"X-Auth-Token": self.token, "Content-Length": "0", **(headers or {})}
            )
            answer = connection.getresponse()
            answer.read()
            return answer
        finally:
            connection.close()

    def wait_for(self, path, seconds=60):
        deadline = time.monotonic() + seconds
        while True:
            try:
                if self.call("GET", path).status < 300:
                    return
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise SystemExit(
                    f"{self.name} does not answer; its logs are in {self.directory} (keep them with --state)"
                )
            time.sleep(0.05)

    def sign_in(self, user, key, path="/auth/v1.0"):
        answer = self.call("GET", path, {"X-Auth-User": user, "X-Auth-Key": key})
        self.token = answer.headers["X-Auth-Token"]
        self.account = urllib.parse.urlsplit(answer.headers["X-Storage-Url"]).path

    def container(self, name):
        path = f"{self.account}/{name}"
        status = self.call("PUT", path).status
        if status not in (201, 202):
            raise SystemExit(f"{self.name}: PUT of container {name}: {status}")
        return path

    def stop(self):
        for process in self.running:
            process.terminate()
        for process in self.running:
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                pass
            # What is left of its session: workers whose parent did not take them along.
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        self.running = []

    def remove(self):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class Ringfort(System):
    name = "ringfort"

    def start(self):
        """Seconds until it is ready."""
        out = self.directory / "ringfort.log"
        seen = out.stat().st_size if out.exists() else 0
        begun = time.monotonic()
        process = self.spawn(
            [ROOT / ".build/release/ringfort", "up", "--data", self.directory / "data", "--port", self.port]
        )
        while not any(line.startswith("ready") for line in self._output(out, seen)):
            if process.poll() is not None or time.monotonic() > begun + 60:
                raise SystemExit("ringfort did not become ready:\n" + "\n".join(self._output(out, seen)[-20:]))
            time.sleep(0.005)
        seconds = time.monotonic() - begun
        facts = dict(
            line.removeprefix("export ").split("=", 1)
            for line in (self.directory / "data/credentials.env").read_text().splitlines()
            if "=" in line
        )
        self.sign_in(facts["ST_USER"].strip("'\""), facts["ST_KEY"].strip("'\""))
        return seconds

    def restart_after_kill(self):
        """Seconds until it is ready again after SIGKILL."""
        self.running[0].kill()
        self.running[0].wait()
        self.running = []
        return self.start()

    @staticmethod
    def _output(path, start):
        with open(path, errors="replace") as file:
            file.seek(start)
            return file.read().splitlines()


class Nginx(System):
    name, static = "nginx", True

    def start(self):
        root = os.getuid() == 0
        for part in ("root", "tmp"):
            (self.directory / part).mkdir()
            if root:
                shutil.chown(self.directory / part, "www-data", "www-data")
        (self.directory / "root/4k").write_bytes(os.urandom(4096))
        fill_in(
            "nginx.conf.in",
            self.directory / "nginx.conf",
            dir=self.directory,
            port=self.port,
            cores=CORES,
            user="user www-data;" if root else "",
        )
        binary = shutil.which("nginx") or "/usr/sbin/nginx"
        self.spawn([binary, "-c", self.directory / "nginx.conf", "-g", "daemon off;"])
        self.wait_for("/4k")

    def container(self, name):
        return f"/{name}"


class OpenStackSwift(System):
    """Debian's packages: a proxy, three replicas on four devices, servers for accounts, containers, each device.

    Of /etc/swift only the package's swift.conf is read (hash prefix, policies); nothing there is written.
    """

    name = "openstack-swift"
    devices, listed = 4, "listed"

    def start(self):
        if self.options.listing_names:
            self.names = self.options.listing_names
        self.user = "swift" if os.getuid() == 0 else getpass.getuser()
        ports = {"account": free_port(), "container": free_port()}
        objects = [free_port() for _ in range(self.devices)]
        self._make_directories()
        self._make_rings(ports, objects)
        memcached = free_port()
        for kind, port in [*ports.items(), ("object", objects[0])]:
            # Objects: one process for each device's port, as its operators do.
            workers = "servers_per_port = 1" if kind == "object" else f"workers = {CORES}"
            fill_in(
                "openstack-swift/storage-server.conf.in",
                self.directory / f"{kind}-server.conf",
                dir=self.directory,
                port=port,
                kind=kind,
                user=self.user,
                workers=workers,
            )
        fill_in(
            "openstack-swift/proxy-server.conf.in",
            self.directory / "proxy-server.conf",
            dir=self.directory,
            port=self.port,
            cores=CORES,
            user=self.user,
            memcached_port=memcached,
        )
        as_user = ["-u", self.user] if os.getuid() == 0 else []
        self.spawn(["memcached", *as_user, "-l", "127.0.0.1", "-p", memcached, "-m", "256", "-c", "4096"])
        for kind in ("account", "container", "object", "proxy"):
            self.spawn([f"swift-{kind}-server", self.directory / f"{kind}-server.conf"])
        self.wait_for("/healthcheck")
        self._wait_for_account()

    def _wait_for_account(self):
        """The storage servers come up after the proxy."""
        deadline = time.monotonic() + 60
        while True:
            self.sign_in("bench:bench", "benchmark")
            if self.call("PUT", self.account + "/first").status == 201:
                return
            if time.monotonic() > deadline:
                raise SystemExit(f"{self.name}: no container can be made; its logs are in {self.directory}")
            time.sleep(0.5)

    def fill_listing(self):
        """The rows of the listing without their objects."""
        self.container(self.listed)
        command = [
            DEBIAN_PYTHON,
            HERE / "openstack-swift/fill_listing.py",
            self.directory,
            self.listed,
            str(self.names),
        ]
        subprocess.run(command, check=True, user=self.user if os.getuid() == 0 else None)

    def _make_directories(self):
        for number in range(self.devices):
            (self.directory / f"devices/d{number}").mkdir(parents=True)
        (self.directory / "cache").mkdir()
        if os.getuid() == 0:
            for path in [self.directory, *self.directory.rglob("*")]:
                shutil.chown(path, self.user, self.user)

    def _make_rings(self, ports, objects):
        for kind in ("account", "container", "object"):
            builder = self.directory / f"{kind}.builder"
            self._ring(builder, "create", 10, 3, 1)
            for number in range(self.devices):
                port = objects[number] if kind == "object" else ports[kind]
                self._ring(builder, "add", f"r1z{number + 1}-127.0.0.1:{port}/d{number}", 100)
            self._ring(builder, "rebalance")

    @staticmethod
    def _ring(*arguments):
        subprocess.run(["swift-ring-builder", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


class CephGateway(System):
    """Debian's Ceph: one monitor, one manager, three OSDs, a gateway, pools of size three.."""

    name = "ceph-rgw"

    def start(self):
        environment = {**os.environ, "STATE": str(self.directory), "PORT": str(self.port)}
        subprocess.run([HERE / "ceph-rgw/up.sh"], env=environment, check=True, stdout=sys.stderr)
        self.wait_for("/")
        self.sign_in("bench:bench", "benchmark", "/auth/v1.0")

    @property
    def processes(self):
        return Processes(
            int(path.read_text()) for path in (self.directory / "run").glob("*.pid") if ".self" not in path.name
        )

    def stop(self):
        environment = {**os.environ, "STATE": str(self.directory), "PORT": str(self.port)}
        subprocess.run([HERE / "ceph-rgw/down.sh"], env=environment, check=False)


SYSTEMS = {system.name: system for system in (Nginx, OpenStackSwift, CephGateway, Ringfort)}
