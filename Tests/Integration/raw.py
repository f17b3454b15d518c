"""Bytes over a socket, for requests that no HTTP library would send."""

import re
import socket


class Connection:
    """A socket that keeps what it received beyond the answer that was asked for."""

    def __init__(self, port, timeout=10):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def sendall(self, data):
        self.socket.sendall(data)

    def end_sending(self):
        self.socket.shutdown(socket.SHUT_WR)

    def receive(self):
        """Some more bytes; empty at the end."""
        piece = self.socket.recv(65536)
        self.received += piece
        return piece

    def answer(self):
        """(status, head, body) of the next answer; status 0 when the server closed without one."""
        try:
            while b"\r\n\r\n" not in self.received:
                if not self.receive():
                    return 0, self.received, b""
            head, self.received = self.received.split(b"\r\n\r\n", 1)
            status = int(head.split(b" ", 2)[1])
            length = re.search(rb"(?im)^content-length:\s*(\d+)", head)
            wanted = 0 if status in (100, 204, 304) or not length else int(length.group(1))
            while len(self.received) < wanted and self.receive():
                pass
            body, self.received = self.received[:wanted], self.received[wanted:]
            return status, head, body
        except ConnectionError:
            return 0, self.received, b""


def request(method, path, headers=(), body=b"", version="HTTP/1.1"):
    """A request as bytes; `headers` are lines, taken as they are."""
    lines = [f"{method} {path} {version}".encode(), b"Host: localhost"]
    lines += [line if isinstance(line, bytes) else line.encode() for line in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def send(port, data, timeout=10):
    """Sends bytes on a connection of their own and reads one answer."""
    with Connection(port, timeout) as connection:
        try:
            connection.sendall(data)
        except ConnectionError:
            pass  # The server may answer and close before it has read everything.
        return connection.answer()
