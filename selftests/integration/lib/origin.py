# SPDX-License-Identifier: GPL-2.0-only
# origin.py - an HTTP/1.1 origin that records every byte and misbehaves on request.
import ctypes
import hashlib
import json
import re
import socket
import struct
import threading
import time

from lib import http
from lib.case import scale, wait_for

LIBC = ctypes.CDLL(None)
RECORD_MAX = 4 << 20
PATTERN = hashlib.sha512(b"sentinel").digest() * 1024  # 64 KiB


def pattern(count):
    """`count` bytes of which every piece knows its place."""
    return (PATTERN * (count // len(PATTERN) + 1))[:count]


class Connection:
    """One connection: .received is all that came, .end is None, "fin", "rst" or "closed" (by us)."""

    def __init__(self, origin, sock, peer):
        self.origin = origin
        self.socket = sock
        self.peer = peer
        self.received = bytearray()
        self.received_count = 0
        self.requests = []
        self.end = None
        self.error = None
        self.reader = http.Reader(self.recv)
        self.thread = None

    def recv(self):
        try:
            data = self.socket.recv(self.origin.recv_size)
        except TimeoutError:
            raise
        except OSError:
            self.end = self.end or "rst"
            return b""
        if not data:
            self.end = self.end or "fin"
        self.received_count += len(data)
        if len(self.received) < RECORD_MAX:
            self.received += data
        return data

    def send(self, data):
        if isinstance(data, str):
            data = data.encode("latin-1")
        self.socket.sendall(data)

    def answer(self, status=200, body=b"", fields=(), is_close=False, method=None):
        method = method or (self.requests[-1].method if self.requests else "GET")
        lines = ["HTTP/1.1 %d Answer" % status] + ["%s: %s" % f for f in fields]
        if status != 204 and status != 304:
            lines.append("Content-Length: %d" % len(body))
        if is_close:
            lines.append("Connection: close")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        self.send(head if method == "HEAD" or status in (204, 304) else head + body)
        if is_close:
            self.close()

    def close(self):
        self.end = self.end or "closed"
        self.socket.close()

    def shutdown(self):
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        """
        From any thread.  Another one's socket is not closed here: its number would soon be somebody else's, and a
        thread that waits in poll() looks at the number, finds nothing new, and keeps the old connection open.
        """
        self.end = self.end or "closed"
        try:
            if threading.current_thread() is self.thread:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.socket.close()
            else:
                LIBC.connect(self.socket.fileno(), bytes(16), 16)  # to AF_UNSPEC: resets, wakes whoever waits
        except OSError:
            pass

    def wait_end(self):
        """Reads until the peer ends."""
        while self.recv():
            pass

    # ---- serving

    def serve(self):
        self.thread = threading.current_thread()
        try:
            while self.serve_one():
                pass
        except (http.Malformed, EOFError) as error:
            if self.received or isinstance(error, http.Malformed):
                self.error = error
        except (OSError, ValueError) as error:
            self.error = self.error or (None if self.end else error)
        finally:
            if self.end is None:
                self.end = "closed"
            self.socket.close()

    def serve_one(self):
        if not self.reader.buffer and not self.reader.fill():
            return False
        request = self.reader.head(True)
        request.framing = http.framing_of(request, True)
        request.at = time.monotonic()
        request.connection = self
        request.is_body_read = request.framing == "none"
        self.requests.append(request)
        with self.origin.lock:
            self.origin.requests.append(request)
        self.origin.behaviour(request.target)(self, request)
        if self.end:
            return False
        self.read_body(request)
        return "close" not in (request.get("connection") or "").lower()

    def read_body(self, request):
        if not request.is_body_read:
            request.is_body_read = True
            request.body = b"".join(self.reader.body_pieces(request, request.framing))
        return request.body

    def body_pieces(self, request):
        request.is_body_read = True
        return self.reader.body_pieces(request, request.framing)


class Origin:
    """Listens at once; .on(path, function(connection, request)) adds behaviours to the built-in ones below."""

    connection_class = Connection

    def __init__(self, rcvbuf=None, sndbuf=None, backlog=1024, recv_size=65536, is_accepting=True, port=0, family=socket.AF_INET):
        self.recv_size = recv_size
        self.connections = []
        self.requests = []
        self.lock = threading.Lock()
        self.table = {}
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if rcvbuf:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if sndbuf:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
        self.listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", port))
        self.listener.listen(backlog)
        self.port = self.listener.getsockname()[1]
        self.is_closed = False
        self.gate = threading.Event()
        if is_accepting:
            threading.Thread(target=self.accept_all, daemon=True).start()

    def accept_all(self):
        while not self.is_closed:
            try:
                sock, peer = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(60 * scale())
            connection = self.connection_class(self, sock, peer)
            with self.lock:
                self.connections.append(connection)
            threading.Thread(target=connection.serve, daemon=True).start()

    def close(self):
        """No more connections, and the open ones end."""
        self.is_closed = True
        self.gate.set()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for connection in self.connections:
            try:
                connection.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def on(self, path, function):
        self.table[path] = function
        return self

    @property
    def received(self):
        """All bytes of all connections."""
        with self.lock:
            return b"".join(bytes(c.received) for c in self.connections)

    @property
    def received_count(self):
        with self.lock:
            return sum(c.received_count for c in self.connections)

    def clear(self):
        """Forgets what was recorded."""
        with self.lock:
            for connection in self.connections:
                connection.received = bytearray()
                connection.received_count = 0
            self.requests = []
            self.connections = [c for c in self.connections if not c.end]

    def wait_requests(self, count, seconds=5):
        wait_for(lambda: len(self.requests) >= count,
                 lambda: "%d requests at the origin; have %d" % (count, len(self.requests)), seconds)
        return self.requests

    def wait_ends(self, seconds=5):
        """Until no connection is open."""
        wait_for(lambda: all(c.end for c in self.connections), "connections to the origin stay open", seconds)

    def behaviour(self, target):
        path = target.split("?")[0]
        path = re.sub(r"^https?://[^/]*", "", path) or "/"
        if path in self.table:
            return self.table[path]
        word = path.split("/")[1] if path.startswith("/") else path
        return self.table.get("/" + word + "/*") or BEHAVIOURS.get(word, headers)


# ---- built-in behaviours: by the first segment of the path

def headers(connection, request):
    """What came, as JSON."""
    connection.read_body(request)
    connection.answer(body=json.dumps({
        "method": request.method, "target": request.target, "fields": request.fields,
        "trailers": request.trailers, "body": request.body.decode("latin-1"), "framing": str(request.framing),
    }).encode(), fields=[("Content-Type", "application/json")])


def echo(connection, request):
    connection.answer(body=connection.read_body(request))


def number_of(request, index=2):
    return int(request.target.split("?")[0].split("/")[index])


def bytes_(connection, request):
    """/bytes/N"""
    connection.answer(body=pattern(number_of(request)))


def chunked(connection, request):
    """Two chunks, an extension and a trailer."""
    connection.read_body(request)
    connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
    if request.method != "HEAD":
        connection.send("5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Sum: 11\r\n\r\n")


def until_close(connection, request):
    connection.read_body(request)
    connection.send("HTTP/1.1 200 OK\r\n\r\nuntil the end")
    connection.close()


def status(connection, request):
    """/status/N"""
    connection.read_body(request)
    connection.answer(number_of(request), b"" if number_of(request) in (204, 304) else b"status")


def slow_head(connection, request):
    connection.send("HTTP/1.1 200 OK\r\nConte")
    connection.origin.gate.wait(20 * scale())
    connection.send("nt-Length: 2\r\n\r\nok")


def slow_body(connection, request):
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
    connection.origin.gate.wait(20 * scale())
    connection.send("67890")


def never(connection, request):
    """Takes the request, answers when the gate opens, or never."""
    connection.read_body(request)
    while not connection.origin.gate.wait(0.05):
        connection.socket.setblocking(False)
        try:
            if not connection.socket.recv(1, socket.MSG_PEEK):
                connection.end = "fin"
                return
        except BlockingIOError:
            pass
        except OSError:
            connection.end = "rst"
            return
        finally:
            if not connection.end:
                connection.socket.settimeout(60 * scale())
    connection.answer(body=b"at last")


def garbage(connection, request):
    connection.send(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
    connection.close()


def early(connection, request):
    """Answers before the body, and does not read it."""
    connection.send("HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nearly")
    connection.wait_end()


def early_close(connection, request):
    connection.send("HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nearly")
    connection.close()


def too_much(connection, request):
    """More bytes than announced, on a kept connection."""
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello" "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
    connection.wait_end()


def short(connection, request):
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
    connection.close()


def nothing(connection, request):
    connection.read_body(request)
    connection.close()


def reset(connection, request):
    connection.read_body(request)
    connection.reset()


def reset_body(connection, request):
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
    time.sleep(0.05)
    connection.reset()


def early_hints(connection, request):
    connection.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
    connection.answer(body=b"after hints")


def upgrade(connection, request):
    """101, then everything comes back."""
    connection.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: %s\r\n\r\n"
                    % request.get("upgrade", "websocket"))
    tunnel(connection)


def tunnel(connection):
    while True:
        piece = connection.reader.some()
        if not piece:
            break
        connection.send(piece)
    if connection.end == "fin":
        connection.shutdown()


BEHAVIOURS = {
    "echo": echo, "headers": headers, "bytes": bytes_, "chunked": chunked, "until-close": until_close,
    "status": status, "slow-head": slow_head, "slow-body": slow_body, "never": never, "garbage": garbage,
    "early": early, "early-close": early_close, "too-much": too_much, "short": short, "nothing": nothing,
    "reset": reset, "reset-body": reset_body, "early-hints": early_hints, "upgrade": upgrade,
}
