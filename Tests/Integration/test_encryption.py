"""Links between nodes that are encrypted: what is on the wire, who is turned away, and a switch while clients write and read."""

import json
import os
import re
import secrets
import socket
import struct
import subprocess
import threading
import time
import unittest

from cluster import Cluster
from ringfort import call, ringfort, ringfort_json
from test_join import JoinTestCase, eventually
from test_rebalance import make_builders

ALL_PROTOCOLS = 3
# What a peer that does not encrypt begins with: the header of a hello.
CLEAR_HELLO = struct.pack(">IBBBBIIII", 10, 1, 0, 1, 0, 0, 0, 0, 0)
OBJECTS = 12


class Capture:
    """Everything that goes over TCP to and from some ports of this machine, or all of them."""

    def __init__(self, ports=None):
        self.ports, self.bytes, self.packets = ports, bytearray(), 0
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(ALL_PROTOCOLS))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
        self.socket.bind(("lo", 0))
        self.socket.settimeout(0.1)
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        # What was sent until now is still taken.
        time.sleep(0.3)
        self.is_over.set()
        self.thread.join()
        self.socket.close()

    def run(self):
        while not self.is_over.is_set():
            try:
                packet = self.socket.recv(1 << 17)
            except TimeoutError:
                continue
            ip = packet[14:]
            if packet[12:14] != b"\x08\x00" or ip[9] != 6:
                continue
            tcp = ip[(ip[0] & 15) * 4 :]
            if self.ports is None or self.ports & set(struct.unpack(">HH", tcp[:4])):
                self.packets += 1
                self.bytes += tcp[(tcp[12] >> 4) * 4 :]


@unittest.skipUnless(os.geteuid() == 0, "only root sees what is on the wire")
class WireTests(unittest.TestCase):
    """Processes that are told by an option."""

    MARK = b"what nobody else may read "

    def cluster(self, *options):
        cluster = Cluster(options=options)
        self.addCleanup(cluster.remove)
        cluster.start()
        client = cluster.client()
        self.addCleanup(client.close)
        return cluster, client

    def exchange(self, cluster, client):
        """Small and large bodies there and back, with all that passed between the processes."""
        with Capture(set(cluster.ports)) as wire:
            self.assertEqual(client("PUT", "/marked-container").status, 201)
            for name, size in (("small", 100), ("middle", 100_000), ("large", 3_000_000)):
                body = (self.MARK * (size // len(self.MARK) + 1))[:size]
                self.assertEqual(client("PUT", f"/marked-container/{name}", body).status, 201)
                answer = client("GET", f"/marked-container/{name}")
                self.assertEqual((answer.status, answer.body), (200, body))
        self.assertGreater(wire.packets, 50)
        # Three copies of each body went over it.
        self.assertGreater(len(wire.bytes), 9_000_000)
        return bytes(wire.bytes)

    def test_nothing_is_read_on_the_wire(self):
        cluster, client = self.cluster("--encrypt")
        wire = self.exchange(cluster, client)
        for secret in (self.MARK, b"marked-container", b"RFW1", b"middle"):
            self.assertNotIn(secret, wire)

    def test_without_it_everything_is(self):
        wire = self.exchange(*self.cluster())
        for word in (self.MARK, b"marked-container", b"RFW1"):
            self.assertIn(word, wire)


class RefusalTests(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster(options=["--encrypt"])
        self.addCleanup(self.cluster.remove)
        self.cluster.start()
        self.client = self.cluster.client()
        self.addCleanup(self.client.close)
        self.assertEqual(self.client("PUT", "/c").status, 201)

    def answer_to(self, words, port):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(words)
            heard = b""
            while True:
                piece = connection.recv(1 << 16)
                if not piece:
                    return heard
                heard += piece

    def test_strangers(self):
        port = self.cluster.ports[0]
        for words in (CLEAR_HELLO + b"RFW1" + bytes(6), b"GET / HTTP/1.1\r\n\r\n", bytes(3000)):
            self.assertEqual(self.answer_to(words, port), b"")
        # To one that begins as TLS does and goes on otherwise, an alert.
        self.assertLessEqual(len(self.answer_to(b"\x16\x03\x01\x00\x80" + bytes(128), port)), 7)
        log = self.cluster.storage[0].log.read_text()
        self.assertIn("peer does not encrypt, and the links of this cluster have to be encrypted", log)
        self.assertEqual(self.client("PUT", "/c/o", b"still there").status, 201)

    def test_a_client_of_tls_without_the_key(self):
        """It has every reason to be let in but the key: the right cluster, the right cipher."""
        identity = json.loads((self.cluster.shared / "cluster.json").read_text())
        for name, reason in ((identity["cluster_id"], "does not hold the cluster's key"), ("else", "shows no key")):
            with self.subTest(name=name):
                # The log has one such line in ten seconds.
                storage = self.cluster.storage[1 if name == "else" else 2]
                port = self.cluster.ports[self.cluster.storage.index(storage)]
                done = self.s_client(port, "-psk_identity", name, "-psk", secrets.token_hex(32))
                self.assertIn("alert", done)
                eventually(lambda: reason in storage.log.read_text(), "the reason is logged")
                self.assertNotIn(identity["key"], storage.log.read_text())

    def s_client(self, port, *options):
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3", *options]
        command += ["-ciphersuites", "TLS_AES_128_GCM_SHA256"]
        done = subprocess.run(command, input=b"", capture_output=True, timeout=20)
        self.assertNotEqual(done.returncode, 0)
        return (done.stdout + done.stderr).decode(errors="replace")

    def test_a_server_with_a_certificate_is_none_of_ours(self):
        """A storage process whose place somebody else has taken, who shows a certificate as servers do."""
        port = self.cluster.ports[0]
        for process in (self.cluster.storage[0], self.cluster.proxy):
            process.stop()
        files = [self.cluster.scratch / name for name in ("key.pem", "certificate.pem")]
        request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        subprocess.run([*request, "-keyout", files[0], "-out", files[1]], check=True, capture_output=True)
        command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-key", files[0], "-cert", files[1]]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as false:
            self.assertTrue(any(b"ACCEPT" in line for line in false.stdout))
            self.cluster.proxy.start()
            client = self.cluster.client()
            self.addCleanup(client.close)
            for number in range(OBJECTS):
                self.assertEqual(client("PUT", f"/c/{number}", b"to the other two").status, 201)
            # The proxy tries again and again.
            time.sleep(1)
            false.kill()
            heard = false.communicate()[0].decode(errors="replace")
        self.assertIn("alert", heard)
        self.assertNotIn("RFW1", heard)
        self.assertIn("certificate verify failed", self.cluster.proxy.log.read_text())

    def test_processes_are_restarted_with_it_one_by_one(self):
        """Those that have it not yet are let in by none that has it, and encrypt with it when they call."""
        self.cluster.remove()
        cluster = self.cluster = Cluster()
        self.addCleanup(cluster.remove)
        cluster.start()
        client = cluster.client()
        self.addCleanup(client.close)
        self.assertEqual(client("PUT", "/c").status, 201)
        for number, process in enumerate(cluster.storage):
            process.stop()
            process.arguments.append("--encrypt")
            process.start()
            # Two of three are a majority; a process that has just gone is noticed.
            eventually(lambda: client("PUT", f"/c/{number}", b"x" * 1000).status == 201, "writes go on")
            self.assertEqual(client("GET", f"/c/{number}").body, b"x" * 1000)


class SwitchTests(JoinTestCase):
    def prepare(self, first):
        make_builders(first.data)

    def setUp(self):
        super().setUp()
        self.grow("two", "three")
        self.agree()

    def encryption(self, word, node=0):
        return ringfort_json("encryption", word, "--data", self.nodes[node].data)

    def clear_links(self, node):
        metrics = call(node.port, "GET", "/metrics").body.decode()
        return int(float(re.search(r'ringfort_storage_connections\{encrypted="no"\} (\S+)', metrics).group(1)))

    def assert_all(self, takes_clear):
        status = self.encryption("status")
        self.assertEqual([node["takes_clear_links"] for node in status["nodes"]], [takes_clear] * 3)

    def test_a_switch_while_clients_write_and_read(self):
        self.assertEqual(self.nodes[0].status()["encryption"], "off")
        self.assert_all(True)
        self.assertGreater(sum(map(self.clear_links, self.nodes)), 0)
        clients = [Load(node, f"/load-{number}") for number, node in enumerate(self.nodes) for _ in range(2)]
        for load in clients:
            load.start()
        try:
            time.sleep(1)
            for word, others in (("on", "off"), ("off", "on"), ("on", "off")):
                done = self.encryption(word, node=1)
                self.assertEqual((done["encryption"], done["unaware"]), (word, []))
                time.sleep(2)
            eventually(lambda: not any(map(self.clear_links, self.nodes)), "no link is in the clear", 60)
            time.sleep(1)
        finally:
            for load in clients:
                load.stop()
        for load in clients:
            self.assertEqual(load.failures, [])
            self.assertGreater(load.requests, 50)
        self.assert_all(False)
        self.assertEqual(self.nodes[2].status()["encryption"], "on")
        self.assertIn("links between nodes encrypted", ringfort("status", "--data", self.nodes[2].data).stdout)
        for load in clients:
            load.check(self.nodes[0].client())

    def test_a_node_that_was_away_and_one_that_joins(self):
        two, three = self.nodes[1:]
        three.kill()
        done = self.encryption("on")
        self.assertEqual(done["unaware"], ["three"])
        # It starts with the map of before, and calls and is called all the same.
        three.again("up")
        client = three.client()
        self.addCleanup(client.close)
        for number in range(4):
            self.assertIn(client("PUT", f"/at-once-{number}").status, (201, 202))
        self.agree()
        self.assert_all(False)
        # All at once: the map on the disk says it.
        for node in self.nodes:
            node.stop()
        for node in self.nodes:
            node.again("up")
        self.agree()
        self.assert_all(False)
        self.objects_everywhere("restarted")
        self.join_and_listen()

    def join_and_listen(self):
        """Joins a further node; of the secrets of the cluster nothing is on the wire."""
        if os.geteuid() != 0:
            return self.grow("four")
        with Capture() as wire:
            self.grow("four")
            self.agree()
        self.assertGreater(wire.packets, 50)
        self.assertIn(b"POST /ringfort/v1/join", wire.bytes)
        identity = json.loads((self.nodes[0].data / "cluster.json").read_text())
        users = re.findall(rb"\S{30,}", (self.nodes[0].data / "users.json").read_bytes())
        key = re.search(rb"ST_KEY=(\S+)", (self.nodes[0].data / "credentials.env").read_bytes()).group(1)
        known = [identity[name].encode() for name in ("key", "hash_prefix", "hash_suffix")]
        self.assertTrue(users)
        for secret in (*known, bytes.fromhex(identity["key"]), *users, key):
            self.assertNotIn(secret, wire.bytes)
        self.objects_everywhere("joined")

    def test_a_new_store_is_encrypted_from_the_beginning(self):
        lone = self.node("lone")
        lone.first = None
        make_builders(lone.data)
        lone.up("--encrypt")
        self.assertEqual(lone.status()["encryption"], "on")
        status = ringfort_json("encryption", "status", "--data", lone.data)
        self.assertFalse(status["nodes"][0]["takes_clear_links"])
        lone.stop()
        lone.up("--encrypt")
        # One that is there is not changed by an option that would have to hold for all nodes.
        self.nodes[0].stop()
        with self.assertRaisesRegex(AssertionError, "encryption on"):
            self.nodes[0].up("--encrypt")


class Load(threading.Thread):
    """Writes and reads through one node until it is stopped, and remembers what was answered wrongly."""

    def __init__(self, node, container):
        super().__init__()
        self.client, self.container = node.client(), f"{container}-{secrets.token_hex(4)}"
        self.failures, self.requests, self.bodies = [], 0, {}
        self.is_over = threading.Event()

    def run(self):
        self.expect(201, "PUT", self.container)
        number = 0
        while not self.is_over.is_set():
            name = f"{self.container}/{number % OBJECTS}"
            body = secrets.token_bytes(2_000_000 if number % 7 == 0 else 3_000)
            self.expect(201, "PUT", name, body)
            self.bodies[name] = body
            answer = self.expect(200, "GET", name)
            if answer and answer.body != body:
                self.failures.append((name, "another body"))
            number += 1

    def expect(self, status, method, path, body=None):
        self.requests += 1
        try:
            answer = self.client(method, path, body)
        except OSError as error:
            return self.failures.append((method, path, repr(error)))
        if answer.status != status:
            self.failures.append((method, path, answer.status, answer.body[:200]))
        return answer

    def stop(self):
        self.is_over.set()
        self.join()
        self.client.close()

    def check(self, reader):
        try:
            for name, body in self.bodies.items():
                answer = reader("GET", name)
                assert (answer.status, answer.body) == (200, body), name
        finally:
            reader.close()


if __name__ == "__main__":
    unittest.main()
