"""Bytes over a socket, for requests that no HTTP library would send."""
import re
import socket


def connect(port, timeout=10):
    connection = socket.create_connection(("127.0.0.1", port), timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def request(method, path, headers=(), body=b"", version="HTTP/1.1"):
    """A request as bytes; `headers` are lines, taken as they are."""
    lines = [f"{method} {path} {version}".encode(), b"Host: localhost"]
    lines += [line if isinstance(line, bytes) else line.encode() for line in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def read_answer(connection, head=False):
    """(status, head, body) of one answer; status 0 when the server closed without one."""
    received = b""
    try:
        while b"\r\n\r\n" not in received:
            piece = connection.recv(65536)
            if not piece:
                return 0, received, b""
            received += piece
        text, body = received.split(b"\r\n\r\n", 1)
        status = int(text.split(b" ", 2)[1])
        length = re.search(rb"(?im)^content-length:\s*(\d+)", text)
        wanted = 0 if head or status in (100, 204, 304) or not length else int(length.group(1))
        while len(body) < wanted:
            piece = connection.recv(65536)
            if not piece:
                break
            body += piece
        return status, text, body
    except ConnectionError:
        return 0, received, b""


def send(port, data, timeout=10):
    """Sends bytes and reads one answer."""
    with connect(port, timeout) as connection:
        try:
            connection.sendall(data)
        except ConnectionError:
            pass  # The server may answer and close before it has read everything.
        return read_answer(connection)


def is_closed(connection, seconds):
    """Whether the server ends the connection within so many seconds."""
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
        return True
    except ConnectionError:
        return True
    except TimeoutError:
        return False
