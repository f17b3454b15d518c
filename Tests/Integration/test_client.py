"""OpenStack's own client, unmodified: whole trees up and down, names as people make them."""

import contextlib
import hashlib
import itertools
import os
import pathlib
import shutil
import subprocess
import tempfile

import swiftclient

from ringfort import CLIENT, StoreTestCase

ODD_NAMES = [
    "with space",
    "two  spaces ",
    "ünïcode ☃ 漢字",
    "100%",
    "percent%2Fslash",
    "what?.txt",
    "a#b",
    "-leading",
    "--help",
    "quote\"'`",
    "plus+and&semi;colon:",
    ".hidden",
    "..two dots",
    "tab\there",
    "back\\slash",
    "e\u0301 decomposed",
    "*",
    "a" * 200,
    "[brackets]{braces}",
    "~tilde",
    "=equals=",
    "emoji 🦆",
]
# What a Debian has anyway: thousands of small files, some empty. The limit keeps the test short.
TREES = ["/usr/share/doc", *sorted(map(str, pathlib.Path("/usr/lib").glob("python3*")))]
FILES_PER_TREE = int(os.environ.get("RINGFORT_TEST_FILES", "600"))
LARGE_BYTES = int(os.environ.get("RINGFORT_TEST_LARGE", str(100 << 20)))


def files_of(root):
    """Relative path -> MD5 of everything below root."""
    found = {}
    for directory, _, names in os.walk(root):
        for name in names:
            path = os.path.join(directory, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, root)] = hashlib.file_digest(file, "md5").hexdigest()
    return found


def make_tree(root):
    for tree in filter(os.path.isdir, TREES):
        regular = (p for p in pathlib.Path(tree).rglob("*") if p.is_file() and not p.is_symlink())
        for path in itertools.islice((p for p in regular if p.stat().st_size < 1 << 20), FILES_PER_TREE):
            target = root / path.relative_to("/usr")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    odd = root / "odd names" / "é"
    odd.mkdir(parents=True)
    for name in ODD_NAMES:
        (odd / name).write_bytes(name.encode())
    (root / "empty").write_bytes(b"")
    (root / "page").write_bytes(bytes(4096))


class ClientTests(StoreTestCase):
    def setUp(self):
        super().setUp()
        self.name = self.container[1:]
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="ringfort-client-"))
        self.addCleanup(shutil.rmtree, self.work)

    def swift(self, *arguments, check=True):
        facts = self.store.credentials()
        own = {k: v for k, v in os.environ.items() if not k.startswith(("OS_", "ST_"))}
        environment = {**own, **{k: facts[k] for k in ("ST_AUTH", "ST_USER", "ST_KEY")}}
        done = subprocess.run(
            [CLIENT, *arguments], cwd=self.work, env=environment, capture_output=True, text=True, timeout=600
        )
        if check:
            self.assertEqual(done.returncode, 0, f"swift {arguments}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done

    def connection(self):
        facts = self.store.credentials()
        return swiftclient.Connection(facts["ST_AUTH"], facts["ST_USER"], facts["ST_KEY"], retries=0)

    def test_tree_comes_back_byte_for_byte(self):
        make_tree(self.work / "tree")
        before = files_of(self.work / "tree")
        self.swift("upload", self.name, "tree")
        listed = self.swift("list", self.name).stdout.splitlines()
        self.assertEqual(sorted(listed), sorted("tree/" + name for name in before))
        # The order of a listing is that of the names' UTF-8 bytes.
        self.assertEqual(listed, sorted(listed, key=str.encode))
        self.swift("download", self.name, "-D", "down")
        self.assertEqual(files_of(self.work / "down/tree"), before)
        stat = self.swift("stat", self.name).stdout
        self.assertRegex(stat, rf"Objects: {len(before)}\b")
        self.swift("delete", self.name)
        self.assertNotIn(self.name, self.swift("list").stdout.splitlines())

    def test_only_changes_are_sent_again(self):
        (self.work / "f").write_bytes(b"one")
        self.swift("upload", "--changed", self.name, "f")
        first = self.client("HEAD", self.container + "/f").headers["X-Timestamp"]
        self.swift("upload", "--changed", self.name, "f")
        self.assertEqual(self.client("HEAD", self.container + "/f").headers["X-Timestamp"], first)

    def test_large_object(self):
        size, block = LARGE_BYTES, os.urandom(1 << 20)
        digest = hashlib.md5()
        with open(self.work / "large", "wb") as file:
            for start in range(0, size, len(block)):
                piece = start.to_bytes(8, "big") + block[8:]
                file.write(piece[: size - start])
                digest.update(piece[: size - start])
        self.swift("upload", self.name, "large")
        self.assertIn(digest.hexdigest(), self.swift("stat", self.name, "large").stdout)
        self.swift("download", self.name, "large", "-o", "back")
        with open(self.work / "back", "rb") as file:
            self.assertEqual(hashlib.file_digest(file, "md5").hexdigest(), digest.hexdigest())

    def test_metadata_copy_and_delete(self):
        (self.work / "f").write_bytes(b"some bytes")
        self.swift("upload", self.name, "f", "-H", "Content-Type: text/x-test", "-H", "X-Object-Meta-Old: 1")
        self.swift("post", self.name, "f", "-m", "Color:blue ünïcode")
        stat = self.swift("stat", self.name, "f").stdout
        self.assertRegex(stat, r"Meta Color: blue ünïcode")
        self.assertNotIn("Meta Old", stat)
        self.assertIn("text/x-test", stat)
        self.swift("copy", "-d", f"/{self.name}-copy/g h", self.name, "f")
        self.assertEqual(self.swift("download", self.name + "-copy", "g h", "-o", "-").stdout, "some bytes")
        self.assertIn("Meta Color", self.swift("stat", self.name + "-copy", "g h").stdout)
        self.swift("post", self.name, "-m", "Season:winter", "-r", ".r:*,.rlistings")
        self.assertRegex(self.swift("stat", self.name).stdout, r"(?s)Read ACL: \.r:\*,\.rlistings.*Meta Season: winter")
        self.swift("delete", self.name + "-copy")
        self.swift("delete", self.name, "f")
        self.assertEqual(self.swift("list", self.name).stdout, "")
        self.assertNotEqual(self.swift("stat", self.name, "f", check=False).returncode, 0)

    def test_names_that_no_file_can_have(self):
        # Names with `.` and `..` between slashes are left to plain HTTP: the client's library resolves them.
        names = ["a", "a/", "a//", "a//b", "a/b", "a/b/", "/a", "//", "...", "line\nbreak", "é/", "x" * 1024]
        with contextlib.closing(self.connection()) as connection:
            for name in names:
                connection.put_object(self.name, name, name.encode())
            listed = [row["name"] for row in connection.get_container(self.name, full_listing=True)[1]]
            self.assertEqual(listed, sorted(names, key=str.encode))
            for name in names:
                self.assertEqual(connection.get_object(self.name, name)[1], name.encode())
            for name in names:
                connection.delete_object(self.name, name)
            self.assertEqual(connection.get_container(self.name)[1], [])

    def test_capabilities(self):
        self.assertIn("max_file_size", self.swift("capabilities").stdout)

    def test_wrong_key_is_told_apart(self):
        done = self.swift("--key", "wrong", "list", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("401", done.stdout + done.stderr)
