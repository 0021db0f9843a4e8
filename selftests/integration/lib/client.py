# SPDX-License-Identifier: GPL-2.0-only
# client.py - a raw HTTP/1.1 client: sends exactly these bytes, reads strictly.
import socket
import struct
import time

from lib import http
from lib.case import scale


class PeerClosed(Exception):
    """The peer ended the connection orderly."""


class PeerReset(Exception):
    """The peer reset the connection."""


OPEN = []  # all of this test, closed at its end


class Client:
    def __init__(self, port, host="127.0.0.1", rcvbuf=None, sndbuf=None, timeout=10, source=None):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        if rcvbuf:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if sndbuf:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
        if source:
            self.socket.bind((source, 0))
        self.socket.settimeout(timeout * scale())
        self.socket.connect((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = http.Reader(self.recv)
        OPEN.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def recv(self):
        try:
            return self.socket.recv(65536)
        except ConnectionError as error:
            raise PeerReset(str(error)) from error

    def send(self, data):
        if isinstance(data, str):
            data = data.encode("latin-1")
        try:
            self.socket.sendall(data)
        except ConnectionError as error:
            raise PeerReset(str(error)) from error
        return self

    def send_slowly(self, data, size=1, pause=0.0):
        """In pieces of `size`, each a segment of its own."""
        for at in range(0, len(data), size):
            self.send(data[at:at + size])
            if pause:
                time.sleep(pause)
        return self

    def set_timeout(self, seconds):
        self.socket.settimeout(seconds * scale())

    def head(self, method="GET"):
        """Next response head, interim ones collected."""
        interim = []
        while True:
            try:
                message = self.reader.head(False)
            except EOFError as error:
                raise PeerClosed(str(error)) from error
            message.framing = http.framing_of(message, False, method)
            if message.status >= 200 or message.status == 101:
                message.interim = interim
                return message
            interim.append(message)

    def interim(self):
        """Next head, whatever it is."""
        message = self.reader.head(False)
        message.framing = "none"
        return message

    def pieces(self, message):
        return self.reader.body_pieces(message, message.framing)

    def response(self, method="GET"):
        message = self.head(method)
        try:
            message.body = b"".join(self.pieces(message))
        except EOFError as error:
            raise PeerClosed(str(error)) from error
        return message

    def request(self, method="GET", target="/", fields=(), body=None, host="test.example", version="HTTP/1.1"):
        lines = ["%s %s %s" % (method, target, version)]
        if host is not None:
            lines.append("Host: " + host)
        lines += ["%s: %s" % (n, v) for n, v in fields]
        if body is not None:
            lines.append("Content-Length: %d" % len(body))
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b""))
        return self.response(method)

    def get(self, target="/", *fields, **more):
        return self.request("GET", target, fields, **more)

    def end(self):
        """Reads until the peer ends: "fin" or "rst", and what came."""
        data = bytearray(self.reader.buffer)
        self.reader.buffer.clear()
        while True:
            try:
                piece = self.recv()
            except PeerReset:
                return "rst", bytes(data)
            if not piece:
                return "fin", bytes(data)
            data += piece

    def check_closed(self):
        """The peer ends the connection and says nothing more."""
        how, data = self.end()
        assert not data, "bytes after the last response: %r" % data[:200]
        return how

    def is_quiet(self, seconds=0.15):
        """No byte and no end comes for so long."""
        if self.reader.buffer:
            return False
        old = self.socket.gettimeout()
        self.socket.settimeout(seconds)
        try:
            data = self.socket.recv(1)
            self.reader.buffer += data
            return False
        except TimeoutError:
            return True
        except OSError:
            return False
        finally:
            self.socket.settimeout(old)

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self):
        self.socket.close()


def accepts(port):
    """Whether a connection can be made."""
    try:
        Client(port, timeout=2).close()
        return True
    except OSError:
        return False


def fetch(port, target="/", method="GET", fields=(), body=None, **more):
    """One request on a connection of its own."""
    keys = {k: more.pop(k) for k in ("rcvbuf", "timeout", "source") if k in more}
    if more.get("connect"):
        keys["host"] = more.pop("connect")
    with Client(port, **keys) as client:
        return client.request(method, target, fields, body, **more)
