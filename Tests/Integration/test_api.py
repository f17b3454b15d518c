"""ETags, conditions, ranges, listings and metadata over plain HTTP."""

import hashlib
import http.client
import json
import re
import time
import urllib.parse
import xml.etree.ElementTree

from ringfort import StoreTestCase, call

BODY = bytes(range(256)) * 40


class ObjectTests(StoreTestCase):
    def setUp(self):
        super().setUp()
        self.path = self.container + "/o"
        answer = self.client("PUT", self.path, BODY, {"Content-Type": "text/x-o", "X-Object-Meta-A": "1"})
        self.assertEqual(answer.status, 201)
        self.etag = hashlib.md5(BODY).hexdigest()
        self.assertEqual(answer.headers["ETag"], self.etag)

    def get(self, **headers):
        return self.client("GET", self.path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def test_get_and_head_agree(self):
        get, head = self.get(), self.client("HEAD", self.path)
        self.assertEqual((get.status, get.body, head.status, head.body), (200, BODY, 200, b""))
        for name in ("Content-Length", "Content-Type", "ETag", "Last-Modified", "X-Timestamp", "X-Object-Meta-A"):
            self.assertEqual(get.headers[name], head.headers[name], name)
        self.assertEqual(get.headers["Accept-Ranges"], "bytes")
        self.assertRegex(get.headers["X-Trans-Id"], r"^tx[0-9a-f]{21}-[0-9a-f]{10}")
        self.assertRegex(get.headers["X-Timestamp"], r"^\d{10}\.\d{5}$")

    def test_etag_of_a_put_is_checked(self):
        wrong = self.client("PUT", self.path, b"other", {"ETag": "0" * 32})
        self.assertEqual(wrong.status, 422)
        self.assertEqual(self.get().body, BODY)
        right = hashlib.md5(b"other").hexdigest()
        self.assertEqual(self.client("PUT", self.path, b"other", {"ETag": f'"{right}"'}).status, 201)

    def test_conditions(self):
        date = self.get().headers["Last-Modified"]
        past, future = "Sat, 01 Jan 2000 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
        for headers, status in [
            ({"If_None_Match": f'"{self.etag}"'}, 304),
            ({"If_None_Match": "*"}, 304),
            ({"If_None_Match": '"x"'}, 200),
            ({"If_Match": self.etag}, 200),
            ({"If_Match": "*"}, 200),
            ({"If_Match": f'"x", "{self.etag}"'}, 200),
            ({"If_Match": '"x"'}, 412),
            ({"If_Modified_Since": date}, 304),
            ({"If_Modified_Since": past}, 200),
            ({"If_Modified_Since": "nonsense"}, 200),
            ({"If_Unmodified_Since": past}, 412),
            ({"If_Unmodified_Since": future}, 200),
        ]:
            answer = self.get(**headers)
            self.assertEqual(answer.status, status, headers)
            if status == 304:
                self.assertEqual((answer.body, answer.headers["ETag"]), (b"", self.etag))

    def test_put_only_if_absent(self):
        self.assertEqual(self.client("PUT", self.path, b"x", {"If-None-Match": "*"}).status, 412)
        self.assertEqual(self.client("PUT", self.path, b"x", {"If-None-Match": '"a"'}).status, 400)
        self.assertEqual(self.client("PUT", self.container + "/new", b"x", {"If-None-Match": "*"}).status, 201)
        self.assertEqual(self.get().body, BODY)

    def test_single_ranges(self):
        size = len(BODY)
        for text, first, last in [
            ("bytes=0-0", 0, 0),
            ("bytes=5-9", 5, 9),
            ("bytes=100-", 100, size - 1),
            ("bytes=-7", size - 7, size - 1),
            (f"bytes=9-{size * 2}", 9, size - 1),
            (f"bytes=-{size * 2}", 0, size - 1),
        ]:
            answer = self.get(Range=text)
            self.assertEqual((answer.status, answer.body), (206, BODY[first : last + 1]), text)
            self.assertEqual(answer.headers["Content-Range"], f"bytes {first}-{last}/{size}")
        for text in (f"bytes={size}-", "bytes=-0", f"bytes={size}-{size + 5}"):
            answer = self.get(Range=text)
            self.assertEqual((answer.status, answer.headers["Content-Range"]), (416, f"bytes */{size}"), text)
        for text in (
            "bytes=9-5",
            "bytes=a-b",
            "lines=1-2",
            "bytes",
            "bytes=",
            "bytes=1-2-3",
            "bytes=99999999999999999999-x",
        ):
            answer = self.get(Range=text)
            self.assertEqual((answer.status, answer.body), (200, BODY), text)

    def test_several_ranges(self):
        answer = self.get(Range="bytes=0-3,10-19,-2")
        self.assertEqual(answer.status, 206)
        boundary = re.fullmatch(r"multipart/byteranges; ?boundary=(\S+)", answer.headers["Content-Type"]).group(1)
        parts = answer.body.split(b"--" + boundary.encode())[1:-1]
        bodies = [part.split(b"\r\n\r\n", 1)[1][:-2] for part in parts]
        self.assertEqual(bodies, [BODY[0:4], BODY[10:20], BODY[-2:]])
        self.assertEqual(int(answer.headers["Content-Length"]), len(answer.body))
        many = ",".join(f"{i}-{i}" for i in range(0, 120, 2))
        self.assertEqual(self.get(Range="bytes=" + many).status, 416)

    def test_empty_object(self):
        self.client("PUT", self.path, b"")
        answer = self.get()
        self.assertEqual((answer.status, answer.body, answer.headers["ETag"]), (200, b"", hashlib.md5().hexdigest()))
        self.assertEqual(self.get(Range="bytes=0-").status, 416)

    def test_chunked_upload(self):
        pieces = (BODY[i : i + 999] for i in range(0, len(BODY), 999))
        self.assertEqual(self.client("PUT", self.path, pieces).status, 201)
        self.assertEqual(self.get().body, BODY)

    def test_post_replaces_metadata(self):
        headers = {"X-Object-Meta-B": "2", "Content-Disposition": "inline"}
        self.assertEqual(self.client("POST", self.path, headers=headers).status, 202)
        head = self.client("HEAD", self.path).headers
        self.assertEqual((head["X-Object-Meta-B"], head["Content-Disposition"]), ("2", "inline"))
        self.assertIsNone(head["X-Object-Meta-A"])
        self.assertEqual((head["Content-Type"], head["ETag"]), ("text/x-o", self.etag))
        self.assertEqual(self.client("POST", self.container + "/none").status, 404)

    def test_metadata_limits(self):
        over = [
            {"X-Object-Meta-" + "n" * 129: "v"},
            {"X-Object-Meta-N": "v" * 257},
            {"X-Object-Meta-": "v"},
            {f"X-Object-Meta-{i}": "v" for i in range(91)},
            {f"X-Object-Meta-{i:020}": "v" * 250 for i in range(20)},
        ]
        for headers in over:
            self.assertEqual(self.client("PUT", self.container + "/limits", b"", headers).status, 400, list(headers)[0])
        self.assertEqual(self.client("HEAD", self.container + "/limits").status, 404)

    def test_copy(self):
        to = self.container[1:] + "/copy%20of"
        answer = self.client("COPY", self.path, headers={"Destination": to, "X-Object-Meta-C": "3"})
        self.assertEqual((answer.status, answer.headers["X-Copied-From"]), (201, self.path[1:]))
        copy = self.client("GET", self.container + "/copy%20of")
        self.assertEqual(
            (copy.body, copy.headers["X-Object-Meta-A"], copy.headers["X-Object-Meta-C"]), (BODY, "1", "3")
        )
        self.assertEqual(copy.headers["Content-Type"], "text/x-o")
        fresh = {"X-Copy-From": self.path, "X-Fresh-Metadata": "true", "Content-Length": "0"}
        self.assertEqual(self.client("PUT", self.container + "/fresh", headers=fresh).status, 201)
        self.assertIsNone(self.client("HEAD", self.container + "/fresh").headers["X-Object-Meta-A"])
        self.assertEqual(self.client("COPY", self.path, headers={"Destination": "nocontainer"}).status, 412)

    def test_expiry(self):
        self.client("PUT", self.path, BODY, {"X-Delete-After": "1"})
        self.assertEqual(self.get().status, 200)
        time.sleep(2.1)
        self.assertEqual(self.get().status, 404)
        self.assertEqual(self.client("PUT", self.path, BODY, {"X-Delete-At": "1"}).status, 400)
        self.assertEqual(self.client("PUT", self.path, BODY, {"X-Delete-At": "soon"}).status, 400)

    def test_delete(self):
        self.assertEqual(self.client("DELETE", self.path).status, 204)
        self.assertEqual((self.get().status, self.client("DELETE", self.path).status), (404, 404))
        self.assertEqual(self.client.names(self.container), [])

    def test_last_write_wins_over_one_connection(self):
        for number in range(200):
            self.assertEqual(self.client("PUT", self.path, str(number)).status, 201)
            self.assertEqual(self.get().body, str(number).encode())

    def test_dots_are_part_of_a_name(self):
        names = [".", "..", "a/../b", "a/./b", "../..", "a/.."]
        for name in names:
            self.assertEqual(self.client("PUT", f"{self.container}/{name}", name.encode()).status, 201, name)
        for name in names:
            self.assertEqual(self.client("GET", f"{self.container}/{name}").body, name.encode())
        self.assertEqual(self.client.names(self.container), sorted([*names, "o"]))

    def test_put_into_no_container(self):
        self.assertEqual(self.client("PUT", "/none/o", b"x").status, 404)


class ListingTests(StoreTestCase):
    NAMES = ["a", "a/1", "a/2", "b::x", "b::y", "c", "d/e/f", "d/g", "z\u00e9"]

    def setUp(self):
        super().setUp()
        for name in self.NAMES:
            self.assertEqual(
                self.client("PUT", f"{self.container}/{urllib.parse.quote(name)}", name.encode()).status, 201
            )

    def list(self, query):
        return self.client.names(self.container, query)

    def test_windows(self):
        for query, names in [
            ("", self.NAMES),
            ("limit=2", ["a", "a/1"]),
            ("limit=0", []),
            ("marker=c", ["d/e/f", "d/g", "z\u00e9"]),
            ("end_marker=b", ["a", "a/1", "a/2"]),
            ("prefix=a/", ["a/1", "a/2"]),
            ("prefix=nothing", []),
            ("marker=a/1&end_marker=d&prefix=b", ["b::x", "b::y"]),
            ("reverse=true&limit=2", ["z\u00e9", "d/g"]),
            ("reverse=true&marker=c&end_marker=a/2", ["b::y", "b::x"]),
        ]:
            self.assertEqual(self.list(query), names, query)

    def test_delimiters(self):
        for query, names in [
            ("delimiter=/", ["a", "a/", "b::x", "b::y", "c", "d/", "z\u00e9"]),
            ("delimiter=::", ["a", "a/1", "a/2", "b::", "c", "d/e/f", "d/g", "z\u00e9"]),
            ("delimiter=/&prefix=d/", ["d/e/", "d/g"]),
            ("delimiter=/&marker=a/", ["b::x", "b::y", "c", "d/", "z\u00e9"]),
            ("delimiter=/&limit=2", ["a", "a/"]),
            ("delimiter=/&reverse=true&limit=3", ["z\u00e9", "d/", "c"]),
            ("path=d", ["d/g"]),
            ("path=", ["a", "b::x", "b::y", "c", "z\u00e9"]),
        ]:
            self.assertEqual(self.list(query), names, query)

    def test_formats(self):
        plain = self.client("GET", self.container)
        self.assertEqual(plain.body.decode(), "".join(name + "\n" for name in self.NAMES))
        self.assertEqual(plain.headers["Content-Type"], "text/plain; charset=utf-8")
        row = json.loads(self.client("GET", self.container + "?format=json&limit=1").body)[0]
        self.assertEqual((row["name"], row["bytes"], row["hash"]), ("a", 1, hashlib.md5(b"a").hexdigest()))
        self.assertRegex(row["last_modified"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$")
        tree = xml.etree.ElementTree.fromstring(self.client("GET", self.container + "?format=xml&delimiter=/").body)
        self.assertEqual([e.get("name") for e in tree.findall("subdir")], ["a/", "d/"])
        self.assertEqual(tree.get("name"), self.container[1:])
        self.assertEqual(self.client("GET", self.container, headers={"Accept": "image/png"}).status, 406)
        self.assertEqual(self.client("GET", self.container + "?limit=10001").status, 412)

    def test_counts_and_account(self):
        head = self.client("HEAD", self.container).headers
        self.assertEqual(int(head["X-Container-Object-Count"]), len(self.NAMES))
        self.assertEqual(int(head["X-Container-Bytes-Used"]), sum(len(n.encode()) for n in self.NAMES))
        self.assertIn(self.container[1:], self.client.names(""))
        self.assertEqual(self.client("DELETE", self.container).status, 409)
        self.assertEqual(self.client("PUT", self.container).status, 202)

    def test_every_listing_shows_every_write(self):
        for number in range(100):
            self.client("PUT", f"{self.container}/n{number:03}", b"")
            self.assertEqual(self.list("prefix=n")[-1], f"n{number:03}")
            if number % 2:
                self.client("DELETE", f"{self.container}/n{number - 1:03}")
                self.assertNotIn(f"n{number - 1:03}", self.list("prefix=n"))


class AccessTests(StoreTestCase):
    def test_public_container(self):
        self.client("PUT", self.container + "/o", b"x")
        url = self.client.account + self.container
        self.assertEqual(call(self.store.port, "GET", url + "/o").status, 401)
        self.client("POST", self.container, headers={"X-Container-Read": ".r:*,.rlistings"})
        self.assertEqual(call(self.store.port, "GET", url + "/o").body, b"x")
        self.assertEqual(call(self.store.port, "GET", url).status, 200)
        self.assertEqual(call(self.store.port, "PUT", url + "/o", b"y").status, 401)

    def test_container_metadata(self):
        self.client("POST", self.container, headers={"X-Container-Meta-A": "1", "X-Container-Meta-B": "2"})
        self.client("POST", self.container, headers={"X-Remove-Container-Meta-A": "x"})
        head = self.client("HEAD", self.container).headers
        self.assertEqual((head["X-Container-Meta-A"], head["X-Container-Meta-B"]), (None, "2"))

    def test_expect_is_answered_before_the_body(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.store.port, timeout=10)
        connection.putrequest("PUT", self.client.account + self.container + "/e")
        for name, value in [("X-Auth-Token", self.client.token), ("Content-Length", "3"), ("Expect", "100-continue")]:
            connection.putheader(name, value)
        connection.endheaders()
        self.assertTrue(connection.sock.recv(64).startswith(b"HTTP/1.1 100"))
        connection.send(b"abc")
        self.assertEqual(connection.getresponse().status, 201)
        connection.close()
