"""Devices with file systems of their own, in files: they can be full or fail while the node runs."""

import fcntl
import os
import struct
import subprocess
import tempfile
import pathlib

from torture_network import run

SIZE = 3 << 30
# EXT4_IOC_SHUTDOWN: from now on the file system fails everything, and what its journal has not written is lost.
SHUTDOWN = 0x8004587D
WITHOUT_FLUSH = 2


class Disk:
    """An ext4 in a sparse file, mounted as the device of a node."""

    def __init__(self, image, place):
        self.image, self.place = image, place

    def mount(self, *options):
        self.place.mkdir(parents=True, exist_ok=True)
        run("mount", "-o", ",".join(("loop", *options)), self.image, self.place)

    def make(self):
        with open(self.image, "wb") as image:
            image.truncate(SIZE)
        run("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1", self.image)
        self.mount()
        return self

    def fail(self):
        """As if the disk were pulled out."""
        directory = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(directory, SHUTDOWN, struct.pack("I", WITHOUT_FLUSH))
        finally:
            os.close(directory)

    def unmount(self):
        run("umount", self.place, check=False)

    def fill(self, leave=0):
        """Takes all the space but so many bytes."""
        status = os.statvfs(self.place)
        size = max(4096, status.f_bavail * status.f_frsize - leave)
        with open(self.place / "filler", "wb") as filler:
            while size >= 4096:
                try:
                    os.posix_fallocate(filler.fileno(), filler.tell(), size)
                    filler.seek(size, os.SEEK_CUR)
                except OSError:
                    size //= 2

    def free(self):
        (self.place / "filler").unlink(missing_ok=True)


def disks_work(say):
    """Whether file systems in files can be mounted here."""
    if os.geteuid() != 0:
        say("no disks of their own here (they need root): no full and no failed devices")
        return False
    with tempfile.TemporaryDirectory(prefix="ringfort-disk-") as scratch:
        disk = Disk(pathlib.Path(scratch) / "image", pathlib.Path(scratch) / "place")
        try:
            disk.make()
            disk.unmount()
            return True
        except (OSError, subprocess.CalledProcessError) as failure:
            say(f"no disks of their own here ({failure}): no full and no failed devices")
            return False
