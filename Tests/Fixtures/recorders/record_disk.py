"""Records a small disk and a node's directory as the program in RINGFORT writes them: `record_disk.py FILE`.

The file is base64 of a compressed archive: `device/` is a device of a storage node that was stopped while another one was
away, `cluster/` what its cluster shares, `node/` the directory of a store without its devices, and `contents.json` what
was uploaded. `scripts/record-golden` runs it; Tests/ObjectServerTests/GoldenDiskTests.swift reads it."""

import base64
import hashlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

INTEGRATION = pathlib.Path(__file__).resolve().parents[2] / "Integration"
sys.path.insert(0, str(INTEGRATION))

import cluster  # noqa: E402
from ringfort import Store, ringfort  # noqa: E402

# Of the rings: the fixture has to stay small.
PART_POWER = 4
# Bodies up to here lie in the log.
INLINE = 256 << 10
FAR_FUTURE = 4_000_000_000
AWAY = range(12)


def body(name, size):
    """The same in GoldenDiskTests.swift."""
    line = f"{name}\n".encode()
    return (line * (size // len(line) + 1))[:size]


class Contents:
    """What was uploaded into one container."""

    def __init__(self, client):
        self.client, self.objects, self.deleted = client, {}, []

    def put(self, name, size, **headers):
        headers = {"Content-Type": "text/x-golden", **{k.replace("_", "-"): str(v) for k, v in headers.items()}}
        assert self.client("PUT", f"/fruit/{name}", body(name, size), headers).status == 201, name
        self.objects[name] = {"name": name, "size": size, "colour": "", "delete_at": headers.get("X-Delete-At", "0")}

    def colour(self, name, colour):
        """New metadata for the same bytes."""
        assert self.client("POST", f"/fruit/{name}", headers={"X-Object-Meta-Colour": colour}).status == 202, name
        self.objects[name]["colour"] = colour

    def delete(self, name):
        assert self.client("DELETE", f"/fruit/{name}").status == 204, name
        del self.objects[name]
        self.deleted.append(name)


def record_device(target):
    """Three storage nodes; the third one goes away, and the first one keeps rows for its containers."""
    cluster.PART_POWER = PART_POWER
    store = cluster.Cluster()
    try:
        store.start()
        client = store.client()
        assert client("PUT", "/fruit", headers={"X-Container-Meta-Season": "autumn"}).status == 201
        contents = Contents(client)
        contents.put("apple", 3000)
        contents.put("banana", 0)
        contents.put("cherry", INLINE)
        contents.put("durian", INLINE + 1)
        contents.put("elder", 100)
        contents.put("elder", 200)
        contents.put("fig", 10, X_Delete_At=FAR_FUTURE)
        contents.put("grape", INLINE + 2)
        for name in ("apple", "durian"):
            contents.colour(name, "red")
        for name in ("grape", "never"):
            if name == "never":
                contents.put(name, 20)
            contents.delete(name)
        store.storage[2].kill()
        for number in AWAY:
            contents.put(f"late{number:02}", 50 + number)
        contents.delete("late11")
        for process in (store.proxy, store.storage[1], store.storage[0]):
            assert process.stop() == 0
        devices = [p.parent for p in (store.scratch / "node0").rglob("device.json")]
        assert len(devices) == 1, devices
        shutil.copytree(devices[0], target / "device", ignore=shutil.ignore_patterns("lock", "spare-*"))
        shutil.copytree(store.shared, target / "cluster", ignore=shutil.ignore_patterns("*.builder*", "*lock*"))
        return {
            "account": "AUTH_admin",
            "container": "fruit",
            "objects": sorted(contents.objects.values(), key=lambda o: o["name"]),
            "deleted": contents.deleted,
        }
    finally:
        store.remove()


def record_node(target):
    """What lies in a data directory besides the devices."""
    store = Store()
    try:
        store.data.mkdir()
        for name in ("account", "container", "object"):
            builder = store.data / f"{name}.builder"
            ringfort("ring", "create", builder, "--part-power", PART_POWER, "--replicas", 3)
            for zone in range(1, 5):
                place = ["--zone", zone, "--ip", "127.0.0.1", "--port", 6200, "--device", f"d{zone}"]
                ringfort("ring", "add", builder, *place, "--weight", 100)
            ringfort("ring", "rebalance", builder)
            (store.data / f"{name}.ring.gz").unlink()
        store.start()
        ringfort("workers", "pace", "auditor", 1 << 20, "--data", store.data)
        user = ["user", "add", "--data", store.data, "gold:miner", "--key", "shovel", "--role", ".admin"]
        ringfort(*user)
        assert store.stop() == 0
        kept = ("cluster.json", "cluster.map", "member.json", "users.json", "workers.json")
        (target / "node").mkdir()
        for name in kept + tuple(f"{n}.ring.gz" for n in ("account", "container", "object")):
            shutil.copy(store.data / name, target / "node" / name)
    finally:
        store.remove()


def main():
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        contents = record_device(scratch)
        record_node(scratch)
        (scratch / "contents.json").write_text(json.dumps(contents, indent=1))
        # Segments are long and mostly zeros.
        command = ["tar", "--sparse", "--hole-detection=raw", "--sort=name", "--owner=0", "--group=0", "-cf", "-"]
        archive = subprocess.run([*command, "."], cwd=scratch, check=True, capture_output=True).stdout
        packed = subprocess.run(["gzip", "-9n"], input=archive, check=True, capture_output=True).stdout
        text = base64.encodebytes(packed).decode()
        pathlib.Path(sys.argv[1]).write_text(text)
        print(f"{len(text)} bytes, MD5 of the archive {hashlib.md5(archive).hexdigest()}")


if __name__ == "__main__":
    main()
