"""fill_listing.py DIR CONTAINER COUNT: rows obj-00000000... in the three databases of a container of AUTH_bench.

With OpenStack Swift's own broker this takes seconds instead of the hours of a million PUTs. There are no objects behind the
rows, so they serve listings only.
"""

import os
import sys

from swift.common import utils

directory, container, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
utils.validate_hash_conf()

from swift.common.ring import Ring  # noqa: E402
from swift.container.backend import ContainerBroker  # noqa: E402

part, nodes = Ring(os.path.join(directory, "container.ring.gz")).get_nodes("AUTH_bench", container)
name = utils.hash_path("AUTH_bench", container)
row = {
    "created_at": utils.Timestamp.now().internal,
    "size": 0,
    "content_type": "application/octet-stream",
    "deleted": 0,
    "etag": "d41d8cd98f00b204e9800998ecf8427e",
    "storage_policy_index": 0,
    "ctype_timestamp": None,
    "meta_timestamp": None,
}
for node in nodes:
    path = os.path.join(
        directory, "devices", node["device"], utils.storage_directory("containers", part, name), name + ".db"
    )
    broker = ContainerBroker(path, account="AUTH_bench", container=container)
    for start in range(0, count, 10000):
        names = (f"obj-{number:08d}" for number in range(start, min(start + 10000, count)))
        broker.merge_items([{**row, "name": name} for name in names])
