"""Bytes that no good client sends: each gets a clear error or a closed connection, changes nothing, others go on."""

import http.client
import json
import os
import time

import raw
from ringfort import StoreTestCase, call, sign_in

# A request head has to be complete within this time (see `ringfort up --help`), with some air for a busy machine.
HEAD_SECONDS = 40
REFUSED = {0, 400}


class HostileTestCase(StoreTestCase):
    def setUp(self):
        super().setUp()
        self.token_line = "X-Auth-Token: " + self.client.token

    def put(self, headers, body=b"", name="o", **options):
        path = self.client.account + self.container + "/" + name
        return raw.request("PUT", path, [self.token_line, *headers], body, **options)

    def send(self, data, **options):
        return raw.send(self.store.port, data, **options)[0]

    def tearDown(self):
        self.assertEqual(self.client("GET", "").status // 100, 2, "others are served")
        super().tearDown()

    def assert_nothing_there(self, name="o"):
        self.assertEqual(self.client("GET", f"{self.container}/{name}").status, 404)
        self.assertEqual(self.client.names(self.container), [])
        self.assertEqual(self.client("HEAD", self.container).headers["X-Container-Bytes-Used"], "0")


class NameTests(HostileTestCase):
    def test_names_that_are_not_utf8(self):
        for name in ("%ff", "%c3%28", "%ed%a0%80", "%f5%80%80%80", "a%c3", "%c0%af"):
            self.assertEqual(self.send(self.put(["Content-Length: 1"], b"x", name)), 412, name)
        self.assert_nothing_there()

    def test_raw_bytes_in_the_path(self):
        path = (self.client.account + self.container + "/").encode() + b"\xff\xfe"
        line = (
            b"PUT " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n" + self.token_line.encode() + b"\r\n\r\n"
        )
        self.assertIn(self.send(line), {0, 400, 412})
        self.assert_nothing_there()

    def test_nul(self):
        self.assertIn(self.send(self.put(["Content-Length: 1"], b"x", "a%00b")), {400, 412})
        self.assertIn(self.send(self.put(["Content-Length: 1", b"X-Object-Meta-A: a\0b"], b"x")), {0, 400})
        self.assert_nothing_there()

    def test_long_names(self):
        self.assertEqual(self.send(self.put(["Content-Length: 1"], b"x", "n" * 1025)), 400)
        # 342 characters of three bytes: too long although the text is short.
        self.assertEqual(self.send(self.put(["Content-Length: 1"], b"x", "%e2%98%83" * 342)), 400)
        container = raw.request("PUT", self.client.account + "/" + "c" * 257, [self.token_line, "Content-Length: 0"])
        self.assertEqual(self.send(container), 400)
        self.assert_nothing_there()

    def test_percent_signs_that_encode_nothing(self):
        for name in ("%", "%z1", "a%2"):
            self.assertIn(self.send(self.put(["Content-Length: 1"], b"x", name)), {201, 400, 412}, name)

    def test_paths_outside_of_the_api(self):
        for path in ("/", "/v1", "/v2/AUTH_x/c", "//", "/v1//c/o", "*", "http://[", "/../../etc/passwd", "/%2e%2e/x"):
            status = self.send(raw.request("GET", path, [self.token_line]))
            self.assertIn(status // 100, (0, 4), path)


class LengthTests(HostileTestCase):
    def test_wrong_lengths(self):
        for length in ("abc", "-1", "+1", "1.5", "0x10", "", " ", "1 2", "99999999999999999999999", "1,2"):
            self.assertIn(self.send(self.put([f"Content-Length: {length}"], b"x")), REFUSED, length)
        self.assertIn(self.send(self.put(["Content-Length: 1", "Content-Length: 2"], b"xy")), REFUSED)
        self.assert_nothing_there()

    def test_missing_length(self):
        self.assertEqual(self.send(self.put([])), 411)
        self.assert_nothing_there()

    def test_larger_than_any_object(self):
        self.assertEqual(self.send(self.put(["Content-Length: 5368709123"])), 413)
        self.assertEqual(self.send(self.put(["Content-Length: 9223372036854775807"])), 413)

    def test_body_shorter_than_said(self):
        for size in (10, 300_000, 3_000_000):
            with raw.Connection(self.store.port) as connection:
                connection.sendall(self.put([f"Content-Length: {size + 1}"], os.urandom(size)))
            with raw.Connection(self.store.port) as connection:
                connection.sendall(self.put([f"Content-Length: {size + 1}"], os.urandom(size)))
                connection.end_sending()
                self.assertIn(connection.answer()[0], {0, 400, 408, 499})
        self.assert_nothing_there()

    def test_overwrite_that_breaks_off_leaves_the_old_object(self):
        self.client("PUT", self.container + "/o", b"old")
        with raw.Connection(self.store.port) as connection:
            connection.sendall(self.put(["Content-Length: 1000000"], bytes(500_000)))
        time.sleep(0.2)
        self.assertEqual(self.client("GET", self.container + "/o").body, b"old")

    def test_space_of_broken_uploads_is_given_back(self):
        def used():
            return sum(path.stat().st_blocks for path in self.store.data.rglob("*") if path.is_file()) * 512

        before = used()
        for _ in range(10):
            with raw.Connection(self.store.port) as connection:
                connection.sendall(self.put(["Content-Length: 8000001"], bytes(8_000_000)))
        deadline = time.monotonic() + 10
        while used() > before + (16 << 20) and time.monotonic() < deadline:
            time.sleep(0.1)
        self.assertLess(used(), before + (16 << 20))

    def test_body_longer_than_said(self):
        with raw.Connection(self.store.port) as connection:
            connection.sendall(self.put(["Content-Length: 3"], b"abcSURPLUS / HTTP/1.1\r\n\r\n"))
            self.assertEqual(connection.answer()[0], 201)
            # What follows is a request of its own, and no good one.
            self.assertIn(connection.answer()[0] // 100, (0, 4, 5))
        self.assertEqual(self.client("GET", self.container + "/o").body, b"abc")

    def test_disconnect_while_reading(self):
        self.client("PUT", self.container + "/big", bytes(32 << 20))
        path = self.client.account + self.container + "/big"
        for _ in range(20):
            with raw.Connection(self.store.port) as connection:
                connection.sendall(raw.request("GET", path, [self.token_line]))
                connection.receive()
        self.assertLess(self.store.resident_mib(), 400)


class FramingTests(HostileTestCase):
    def test_two_ways_to_say_the_length(self):
        both = ["Content-Length: 6", "Transfer-Encoding: chunked"]
        for headers in (both, both[::-1]):
            self.assertIn(self.send(self.put(headers, b"0\r\n\r\nX")), REFUSED)
        self.assert_nothing_there()

    def test_unknown_transfer_codings(self):
        for coding in (
            "gzip",
            "gzip, chunked",
            "identity",
            "chunked, chunked",
            "chunked, gzip",
            "xchunked",
            "chunked;a=b",
            "",
        ):
            status = self.send(self.put([f"Transfer-Encoding: {coding}"], b"1\r\nx\r\n0\r\n\r\n"))
            self.assertIn(status, {0, 400, 411, 501}, coding)
        self.assertIn(self.send(self.put(["Transfer-Encoding: chunked"] * 2, b"0\r\n\r\n")), {0, 400, 501})
        self.assertIn(self.send(self.put(["Transfer-Encoding : chunked"], b"0\r\n\r\n")), REFUSED)
        old = self.put(["Transfer-Encoding: chunked"], b"0\r\n\r\n", version="HTTP/1.0")
        self.assertIn(self.send(old), REFUSED | {411, 501})
        self.assert_nothing_there()

    def test_broken_chunks(self):
        for body in (
            b"zz\r\nx\r\n0\r\n\r\n",
            b"-1\r\nx\r\n0\r\n\r\n",
            b"fffffffffffffffff\r\nx",
            b"8000000000000000\r\nx",
            b"0x1\r\nx\r\n0\r\n\r\n",
            b"1\r\nxy\r\n0\r\n\r\n",
            b"1\nx\n0\n\n",
            b"1 \r\nx\r\n0\r\n\r\n",
            b"\r\n",
            b"1;" + b"e" * 100_000 + b"\r\nx\r\n0\r\n\r\n",
            b"1\r\nx\r\n0\r\n" + b"T: v\r\n" * 20_000 + b"\r\n",
        ):
            self.assertIn(self.send(self.put(["Transfer-Encoding: chunked"], body)), REFUSED | {413, 431}, body[:30])
        self.assert_nothing_there()

    def test_chunked_upload_that_breaks_off(self):
        with raw.Connection(self.store.port) as connection:
            connection.sendall(self.put(["Transfer-Encoding: chunked"], b"3e8\r\n" + bytes(1000) + b"\r\n"))
        time.sleep(0.2)
        self.assert_nothing_there()

    def test_head_syntax(self):
        good = "Content-Length: 0"
        for lines in (
            ["X-A: b\r\n folded", good],
            ["X-A: b\r\n\tfolded", good],
            [" X-A: b", good],
            ["X-A : b", good],
            ["no colon", good],
            [": empty", good],
            ["X A: b", good],
            [b"X-\xff: b", good],
            [b"X-A: a\rb", good],
            [b"X-A: a\x01b", good],
            ["X(A): b", good],
        ):
            self.assertIn(self.send(self.put(lines)), REFUSED, lines)
        self.assert_nothing_there()

    def test_bare_line_feeds(self):
        request = self.put(["Content-Length: 0"])
        self.assertIn(self.send(request.replace(b"\r\n", b"\n") + b"\n"), REFUSED)
        self.assertIn(self.send(request.replace(b"\r\n", b"\n", 1)), REFUSED)
        self.assertIn(self.send(request.replace(b"\r\n", b"\r") + b"\r\n\r\n"), REFUSED)
        self.assert_nothing_there()

    def test_request_lines(self):
        for line in (
            b"GET /healthcheck\r\n\r\n",
            b"GET  /healthcheck HTTP/1.1\r\n\r\n",
            b"GET /healthcheck HTTP/9.9\r\n\r\n",
            b"\r\n" * 100,
            b"GET /health check HTTP/1.1\r\n\r\n",
            b"G\0T / HTTP/1.1\r\n\r\n",
            b"GET /\x00 HTTP/1.1\r\n\r\n",
            b"A" * 100_000 + b"\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600),
            os.urandom(5000) + b"\r\n\r\n",
        ):
            with raw.Connection(self.store.port) as connection:
                connection.sendall(line)
                connection.end_sending()
                self.assertIn(connection.answer()[0], {0, 400, 405, 414, 431, 501, 505}, line[:30])

    def test_unknown_methods(self):
        for method in ("BREW", "TRACE", "CONNECT", "get", "M" * 1000):
            status = self.send(raw.request(method, self.client.account, [self.token_line]))
            self.assertIn(status, {0, 400, 405, 501}, method)

    def test_smuggled_request_is_not_run(self):
        victim = self.client.account + self.container + "/victim"
        self.client("PUT", self.container + "/victim", b"here")
        inner = raw.request("DELETE", victim, [self.token_line])
        chunks = b"0\r\n\r\n" + inner
        for headers in (
            [f"Content-Length: {len(chunks)}", "Transfer-Encoding: chunked"],
            ["Transfer-Encoding: xchunked", "Content-Length: 5"],
            ["Transfer-Encoding:\x0bchunked", f"Content-Length: {len(chunks)}"],
            ["X: y\r\n Transfer-Encoding: chunked"],
            ["Content-Length: 0\r\n folded", f"Content-Length: {len(chunks)}"],
            ["Transfer-Encoding\r\n: chunked"],
        ):
            raw.send(self.store.port, self.put(headers, chunks))
            self.assertEqual(self.client("GET", self.container + "/victim").body, b"here", headers)

    def test_pipelined_requests_are_answered_in_order(self):
        for number in range(3):
            self.client("PUT", f"{self.container}/p{number}", str(number))
        paths = [f"{self.client.account}{self.container}/p{number}" for number in range(3)]
        with raw.Connection(self.store.port) as connection:
            connection.sendall(b"".join(raw.request("GET", path, [self.token_line]) for path in paths))
            answers = [connection.answer() for _ in range(3)]
        self.assertEqual([(status, body) for status, _, body in answers], [(200, b"0"), (200, b"1"), (200, b"2")])


class FloodTests(HostileTestCase):
    def test_many_headers(self):
        lines = [f"X-Flood-{i}: v" for i in range(5000)]
        self.assertIn(self.send(self.put(["Content-Length: 0", *lines])), {0, 400, 431})
        self.assert_nothing_there()

    def test_long_header(self):
        self.assertIn(self.send(self.put(["Content-Length: 0", "X-Long: " + "v" * 1_000_000])), {0, 400, 431})
        self.assert_nothing_there()

    def test_head_without_an_end(self):
        sent = 0
        with raw.Connection(self.store.port) as connection:
            connection.sendall(b"GET /healthcheck HTTP/1.1\r\n")
            try:
                while sent < 64 << 20:
                    connection.sendall(b"X-A: " + b"v" * 1000 + b"\r\n")
                    sent += 1007
            except (ConnectionError, TimeoutError):
                pass
        self.assertLess(sent, 64 << 20)
        self.assertLess(self.store.resident_mib(), 400)

    def test_slow_heads_cost_nobody_else_anything(self):
        slow = [raw.Connection(self.store.port, HEAD_SECONDS) for _ in range(300)]
        try:
            for connection in slow:
                connection.sendall(b"GET /healthcheck HTTP/1.1\r\nX-Slow: ")
            start = time.monotonic()
            for _ in range(50):
                self.assertEqual(call(self.store.port, "GET", "/healthcheck").status, 200)
            self.assertLess(time.monotonic() - start, 5)
            # One byte now and then does not buy more time.
            deadline = time.monotonic() + HEAD_SECONDS
            open_ones = slow[:20]
            while open_ones and time.monotonic() < deadline:
                for connection in list(open_ones):
                    try:
                        connection.sendall(b"v")
                    except ConnectionError:
                        open_ones.remove(connection)
                time.sleep(1)
            self.assertEqual(open_ones, [], "slow heads are cut off")
        finally:
            for connection in slow:
                connection.close()

    def test_reader_that_stops_reading_does_not_fill_memory(self):
        self.client("PUT", self.container + "/big", bytes(64 << 20))
        request = raw.request("GET", self.client.account + self.container + "/big", [self.token_line])
        stopped = [raw.Connection(self.store.port) for _ in range(16)]
        for connection in stopped:
            connection.sendall(request)
        time.sleep(1)
        self.assertLess(self.store.resident_mib(), 400)
        for connection in stopped:
            connection.close()


class TokenTests(HostileTestCase):
    def test_wrong_tokens(self):
        token = self.client.token
        flipped = token[:-1] + ("a" if token[-1] != "a" else "b")
        for wrong in ("", "x", "AUTH_tk" + "0" * 32, flipped, token[:-1], token + "x", token.swapcase(), "t" * 6000):
            answer = call(self.store.port, "GET", self.client.account, headers={"X-Auth-Token": wrong})
            self.assertEqual(answer.status, 401, wrong[:40])
            self.assertIn("WWW-Authenticate", answer.headers)
        self.assertEqual(call(self.store.port, "PUT", self.client.account + self.container + "/o", b"x").status, 401)
        binary = raw.request("GET", self.client.account, [b"X-Auth-Token: \xff\xfe\xfd"])
        self.assertIn(self.send(binary), {0, 400, 401})
        self.assert_nothing_there()

    def test_token_of_another_account(self):
        answer = self.client.connection
        answer.request("GET", "/v1/AUTH_somebody_else", headers={"X-Auth-Token": self.client.token})
        response = answer.getresponse()
        response.read()
        self.assertEqual(response.status, 403)

    def test_wrong_keys(self):
        facts = self.store.credentials()
        for user, key in [
            (facts["ST_USER"], "wrong"),
            (facts["ST_USER"], ""),
            ("nobody:nobody", "x"),
            ("", ""),
            ("no-colon", "x"),
        ]:
            self.assertEqual(sign_in(self.store.port, user, key).status, 401, user)
        self.assertEqual(call(self.store.port, "GET", "/auth/v1.0").status, 401)

    def test_no_continue_for_a_stranger(self):
        path = self.client.account + self.container + "/o"
        data = raw.request("PUT", path, ["Content-Length: 1000000", "Expect: 100-continue"])
        self.assertEqual(self.send(data), 401)

    def test_unknown_expectation(self):
        self.assertIn(self.send(self.put(["Content-Length: 1", "Expect: miracles"], b"x")), {417, 201})


class OtherInputTests(HostileTestCase):
    def test_queries(self):
        for query in (
            "limit=abc",
            "limit=-1",
            "limit=99999999999999999999",
            "format=%ff",
            "marker=%ff",
            "delimiter=%00",
            "&&&=",
            "a" * 5000,
        ):
            status = self.client("GET", f"{self.container}?{query}").status
            self.assertIn(status // 100, (2, 4), query)

    def test_info_says_what_the_limits_are(self):
        limits = json.loads(call(self.store.port, "GET", "/info").body)["swift"]
        self.assertEqual(limits["max_object_name_length"], 1024)

    def test_connections_that_say_nothing(self):
        silent = [raw.Connection(self.store.port) for _ in range(500)]
        connection = http.client.HTTPConnection("127.0.0.1", self.store.port, timeout=5)
        connection.request("GET", "/healthcheck")
        self.assertEqual(connection.getresponse().status, 200)
        connection.close()
        for one in silent:
            one.close()
