"""An emptied device and an audit: OpenStack Swift's replicator and auditor beside Ringfort's, in one run."""

import contextlib
import os
import shutil
import subprocess
import time
import types

from generators import SIZE, fill
from healing import LARGE, audit_pass, put_large, restored
from nodes import one_store, scratch
from systems import DEBIAN_PYTHON, HERE, OpenStackSwift, fill_in, free_port

REPLICAS = 3
# Far beyond what a pass takes.
PATIENCE = 7200


class BackgroundSwift(OpenStackSwift):
    """OpenStack Swift as `make bench-peers` starts it, with what its replicator and auditor need."""

    def start(self):
        super().start()
        values = {"dir": self.directory, "user": self.user, "rsync_port": free_port()}
        values["ids"] = f"uid = {self.user}\ngid = {self.user}" if os.getuid() == 0 else ""
        for name in ("background", "rsyncd"):
            fill_in(f"openstack-swift/{name}.conf.in", self.directory / f"{name}.conf", **values)
        self.spawn(["rsync", "--daemon", "--no-detach", f"--config={self.directory / 'rsyncd.conf'}"])
        return self

    def fill_objects(self, count, size):
        command = [DEBIAN_PYTHON, HERE / "openstack-swift/fill_objects.py", self.directory, f"keys-{size}", count, size]
        user = self.user if os.getuid() == 0 else None
        subprocess.run([str(part) for part in command], check=True, user=user)

    def seconds(self, worker):
        """What one pass of a worker takes."""
        started = time.monotonic()
        command = [f"swift-object-{worker}", self.directory / "background.conf", "once"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode != 0:
            raise SystemExit(f"bench-cluster: OpenStack Swift's {worker} failed:\n{done.stdout}{done.stderr}")
        return time.monotonic() - started

    def empty(self, *numbers):
        for number in numbers:
            objects = self._objects(number)
            shutil.rmtree(objects, ignore_errors=True)
            objects.mkdir()
            if os.getuid() == 0:
                shutil.chown(objects, self.user, self.user)

    def copies(self, number):
        """Objects on a device."""
        return sum(1 for _ in self._objects(number).rglob("*.data"))

    def _objects(self, number):
        return self.directory / f"devices/d{number}/objects"


@contextlib.contextmanager
def openstack_swift():
    state = scratch()
    # Its own user has to reach its directory below.
    state.chmod(0o755)
    system = BackgroundSwift(state, types.SimpleNamespace(listing_names=0))
    try:
        yield system.start()
    finally:
        system.stop()
        shutil.rmtree(state, ignore_errors=True)


def theirs(options, figures):
    """MB/s and copies per second of the auditor, copies per second of the replicator."""
    with openstack_swift() as system:
        system.fill_objects(options.large, LARGE)
        large = REPLICAS * options.large * LARGE / 1e6 / system.seconds("auditor")
        system.empty(*range(system.devices))
        system.fill_objects(options.peer_objects, SIZE)
        small = REPLICAS * options.peer_objects / system.seconds("auditor")
        whole = system.copies(0)
        system.empty(0)
        seconds = system.seconds("replicator")
        back = system.copies(0)
        if back == 0:
            raise SystemExit("bench-cluster: OpenStack Swift's replicator brought nothing back")
        figures["notes"].append(
            f"OpenStack Swift: one pass of its replicator brought {back:,} of {whole:,} copies of {SIZE} bytes "
            f"in {seconds:.0f} s."
        )
        return large, small, back / seconds


def ours(options):
    """The same of Ringfort."""
    with one_store() as (store, client):
        put_large(client, options.large)
        large = REPLICAS * options.large * LARGE / 1e6 / audit_pass(store)[1]
    with one_store() as (store, client):
        fill(store.port, client, "/keys", options.peer_objects)
        small = REPLICAS * options.peer_objects / audit_pass(store)[1]
    return large, small, restored(options.peer_objects)[1]


def measure(options, figures):
    kinds = ("audited_large", "audited_small", "restored")
    for kind, peer, own in zip(kinds, theirs(options, figures), ours(options)):
        figures[f"peer_{kind}"], figures[f"own_{kind}"], figures[f"{kind}_to_peer"] = peer, own, own / peer
