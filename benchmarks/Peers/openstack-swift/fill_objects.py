"""fill_objects.py DIR CONTAINER COUNT SIZE: objects obj-00000000... of AUTH_bench on the three devices of each.

With OpenStack Swift's own code for files this takes minutes where PUTs would take an hour. No listing has a row of them,
and nothing is synced before the end, so they serve replicator and auditor only.
"""

import hashlib
import os
import sys

from swift.common import utils

directory, container, count, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
utils.validate_hash_conf()

from swift.common.ring import Ring  # noqa: E402
from swift.common.storage_policy import POLICIES  # noqa: E402
from swift.obj import diskfile  # noqa: E402

# Filling is not what is measured.
diskfile.fsync = diskfile.fsync_dir = lambda *_: None
settings = {"devices": os.path.join(directory, "devices"), "mount_check": "false", "swift_dir": directory}
files = diskfile.DiskFileManager(settings, utils.get_logger({}))
ring = Ring(os.path.join(directory, "object.ring.gz"))
body = os.urandom(size)
facts = {
    "Content-Type": "application/octet-stream",
    "Content-Length": str(size),
    "ETag": hashlib.md5(body).hexdigest(),
}
for number in range(count):
    name = f"obj-{number:08d}"
    part, nodes = ring.get_nodes("AUTH_bench", container, name)
    stamp = utils.Timestamp.now()
    for node in nodes:
        file = files.get_diskfile(node["device"], part, "AUTH_bench", container, name, policy=POLICIES.default)
        with file.create(size=size) as writer:
            writer.write(body)
            writer.put({"X-Timestamp": stamp.internal, **facts})
            writer.commit(stamp)
os.sync()
