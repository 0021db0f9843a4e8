# SPDX-License-Identifier: GPL-2.0-only
# h2.py - HTTP/2 peers of exact frames: a client and an origin; both judge every head that they are sent.
import collections
import contextlib
import json
import re
import select
import socket
import ssl
import struct
import sys
import threading
import time

from lib.case import Skip, check, scale, wait_for
from lib.client import OPEN, PeerClosed, PeerReset
from lib.origin import Origin, pattern

try:
    import hpack
except ImportError:
    sys.path.append("/usr/lib/python3/dist-packages")  # Debian's, for another python than Debian's
    try:
        import hpack
    except ImportError:
        raise Skip("no python3-h2") from None

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 1, 1, 4, 8, 0x20
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR = 0, 1, 2, 3, 5, 6
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 7, 8, 9, 11
TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME, MAX_LIST, ENABLE_CONNECT = 1, 2, 3, 4, 5, 6, 8
NAME = re.compile(r":?[!#$%&'*+.^_`|~0-9a-z-]+\Z")
FORBIDDEN = ("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "http2-settings")
WINDOW_FIRST = 65535


class StreamReset(Exception):
    """The peer reset the stream."""


class LinkFailed(AssertionError):
    """Told to all who wait on a link of which something is in its `errors` already."""


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(values, flags=0):
    return frame(SETTINGS, flags, 0, b"".join(struct.pack(">HI", k, v) for k, v in values.items()))


def window_update(stream, count):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", count))


def rst(stream, code):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def data_frames(stream, data, is_end, size=16384):
    out = bytearray()
    for at in range(0, len(data) or 1, size):
        flags = END_STREAM if is_end and at + size >= len(data) else 0
        out += frame(DATA, flags, stream, bytes(data[at:at + size]))
    return bytes(out)


def judge(fields, is_request, is_trailers):
    """What RFC 9113 8 forbids in a head, as text; None: nothing."""
    seen, is_regular = set(), False
    for name, value in fields:
        if not NAME.match(name) or re.search("[\0\r\n]", value) or value != value.strip(" \t"):
            return "field %r: %r" % (name, value)
        if name in FORBIDDEN or (name == "te" and value != "trailers"):
            return "connection-specific field %s: %s" % (name, value)
        if not name.startswith(":"):
            is_regular = True
        elif is_regular or name in seen or is_trailers:
            return "pseudo-header %s out of place" % name
        if name.startswith(":"):
            seen.add(name)
    if is_trailers:
        return None
    if not is_request:
        return None if seen == {":status"} else "pseudo-headers %s" % seen
    wanted = {":method", ":scheme", ":path", ":authority"}
    if (":method", "CONNECT") in fields:
        wanted = wanted | {":protocol"} if ":protocol" in seen else {":method", ":authority"}
    return None if seen | {":authority"} == wanted else "pseudo-headers %s" % seen


class Stream:
    """One request and its response, seen from either side."""

    def __init__(self, link, number):
        self.link = link
        self.id = number
        self.method = "GET"
        self.fields = None  # of the peer's final head
        self.interim = []
        self.trailers = None
        self.data = bytearray()
        self.received = 0
        self.keeps_data = True
        self.gives_window = True
        self.owed = 0
        self.is_ended = False
        self.reset = None
        self.credit = 0  # of the window, beyond what SETTINGS of the peer give to each stream
        self.at = time.monotonic()

    @property
    def window(self):
        return self.link.peer_window + self.credit

    @window.setter
    def window(self, count):
        self.credit = count - self.link.peer_window

    def all(self, name):
        return [v for n, v in self.fields if n == name]

    def get(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    @property
    def status(self):
        return int(self.get(":status"))

    @property
    def body(self):
        return bytes(self.data)

    # ---- waiting

    def wait(self, condition, text, seconds=10):
        """A reset of the stream is an end of waiting."""
        self.link.wait(lambda: condition() or self.reset is not None, lambda: "stream %d: %s" % (self.id, text),
                       seconds)
        if not condition():
            raise StreamReset("stream %d reset with %d: %s" % (self.id, self.reset, text))
        return self

    def wait_head(self, seconds=10):
        return self.wait(lambda: self.fields is not None, "no head", seconds)

    def wait_end(self, seconds=10):
        return self.wait(lambda: self.is_ended, "no end", seconds)

    def wait_data(self, count, seconds=10):
        return self.wait(lambda: self.received >= count or self.is_ended, "no %d bytes" % count, seconds)

    def wait_reset(self, seconds=10):
        """The code."""
        self.link.wait(lambda: self.reset is not None, "stream %d is not reset" % self.id, seconds)
        return self.reset

    # ---- sending

    def head(self, fields, is_end=False):
        self.link.send_block(self.id, fields, is_end)
        return self

    def send(self, data=b"", is_end=False, seconds=30):
        """As the windows allow, and as long as the peer wants it."""
        view, link = memoryview(data), self.link
        while True:
            with link.changed:
                link.wait(lambda: not view or min(link.window, self.window) > 0 or self.reset is not None,
                          "stream %d has no window" % self.id, seconds)
                if self.reset == NO_ERROR and self.is_ended:
                    return self  # it was answered and wants no more (RFC 9113 8.1)
                if self.reset is not None:
                    raise StreamReset("stream %d reset with %d" % (self.id, self.reset))
                count = min(len(view), link.window, self.window, 1 << 20) if view else 0
                link.window -= count
                self.window -= count
            link.write(data_frames(self.id, view[:count], is_end and count == len(view)))
            view = view[count:]
            if not view:
                return self

    def end(self, trailers=None):
        if trailers is not None:
            self.link.send_block(self.id, trailers, True)
        else:
            self.link.write(frame(DATA, END_STREAM, self.id))
        return self

    def cancel(self, code=CANCEL):
        self.link.write(rst(self.id, code))
        return self

    def answer(self, status=200, body=b"", fields=(), trailers=None):
        """Origin: a complete response."""
        is_bare = self.method == "HEAD" or status in (204, 304)
        head = [(":status", str(status))] + list(fields)
        if status not in (204, 304):
            head.append(("content-length", str(len(body))))
        self.head(head, is_bare or (not body and trailers is None))
        if not is_bare and (body or trailers is not None):
            self.send(body, trailers is None)
            if trailers is not None:
                self.end(trailers)
        return self


class Link:
    """One connection.  A thread reads; wait() waits for what it finds."""

    is_client = True

    def __init__(self, sock, own=None, window=1 << 24):
        self.socket = sock
        self.is_tls = isinstance(sock, ssl.SSLSocket)
        sock.settimeout(None)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(20 * scale()), 0))
        if self.is_tls:
            sock.setblocking(False)
        self.changed = threading.Condition(threading.RLock())
        self.sending = threading.RLock()
        self.tls_lock = threading.Lock()
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder(1 << 24)
        self.streams = {}
        self.own = {} if own is None else own
        self.peer = {}
        self.peer_window = WINDOW_FIRST
        self.window = WINDOW_FIRST
        self.own_window = window
        self.owed = 0
        self.frames = []  # (kind, flags, stream, length); of DATA only the count
        self.counts = collections.Counter()
        self.goaways = []  # (last stream, code)
        self.pongs = []
        self.pings = 0
        self.answers_pings = True
        self.answers_settings = True
        self.errors = []
        self.end = None
        self.is_broken = False
        self.received = bytearray()
        self.received_count = 0
        self.block = None
        self.reading = threading.Event()
        self.reading.set()

    def begin(self):
        first = (PREFACE if self.is_client else b"") + settings(self.own)
        if self.own_window > WINDOW_FIRST:
            first += window_update(0, self.own_window - WINDOW_FIRST)
        self.write(first)

    def start(self):
        threading.Thread(target=self.run, daemon=True).start()
        return self

    # ---- bytes

    def recv(self):
        while True:
            try:
                if not self.is_tls:
                    return self.socket.recv(1 << 18)
                with self.tls_lock:
                    return self.socket.recv(1 << 16)
            except ssl.SSLWantReadError:
                select.select([self.socket], [], [], 60)

    def write(self, data):
        """Exactly these bytes."""
        with self.sending:
            try:
                if not self.is_tls:
                    self.socket.sendall(data)
                    return self
                view = memoryview(data)
                while view:
                    try:
                        with self.tls_lock:
                            view = view[self.socket.send(view):]
                    except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                        select.select([], [self.socket], [], 60)
            except BlockingIOError:
                raise AssertionError("the peer does not read") from None
            except (OSError, ValueError) as error:  # ValueError: select() of a socket that was closed meanwhile
                raise PeerReset(str(error)) from error
        return self

    def reply(self, data):
        """By the reader: that a peer takes no more ends no reading of what it has sent, which may be why (GOAWAY)."""
        try:
            self.write(data)
        except PeerReset:
            self.is_broken = True

    def send_block(self, stream, fields, is_end=False, sizes=(), priority=None):
        """HEADERS, and CONTINUATION for each of the sizes at which the block is cut."""
        with self.sending:
            block = self.encoder.encode([(n, v) for n, v in fields])
            payload, flags = block, END_STREAM if is_end else 0
            if priority is not None:
                payload, flags = priority + payload, flags | HAS_PRIORITY
            pieces = []
            for size in sizes:
                pieces.append(payload[:size])
                payload = payload[size:]
            pieces.append(payload)
            out = b""
            for i, piece in enumerate(pieces):
                last = END_HEADERS if i == len(pieces) - 1 else 0
                out += frame(CONTINUATION if i else HEADERS, last | (0 if i else flags), stream, piece)
            return self.write(out)

    def goaway(self, last, code=NO_ERROR):
        return self.write(frame(GOAWAY, 0, 0, struct.pack(">II", last, code)))

    def ping(self, payload=b"12345678"):
        return self.write(frame(PING, 0, 0, payload))

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def kill(self):
        """With a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        Origin.connection_class.reset(self)

    thread = None

    # ---- reading

    def run(self):
        buffer = bytearray()
        try:
            while True:
                self.reading.wait()
                piece = self.recv()
                if not piece:
                    break
                self.received_count += len(piece)
                if len(self.received) < 1 << 22:
                    self.received += piece
                buffer += piece
                self.take_all(buffer)
        except OSError as error:
            self.end = self.end or ("rst" if isinstance(error, ConnectionError) else "closed")
        except Exception as error:  # told to whoever waits
            self.errors.append(repr(error))
        finally:
            with self.changed:
                self.end = self.end or ("rst" if self.is_broken else "fin")
                self.changed.notify_all()
            self.on_end()

    def take_all(self, buffer):
        at, give = 0, b""
        with self.changed:
            if not self.is_client and not self.counts["preface"]:
                if len(buffer) < len(PREFACE):
                    return
                check(buffer.startswith(PREFACE), "no preface: %r", bytes(buffer[:40]))
                self.counts["preface"] = 1
                at = len(PREFACE)
            while len(buffer) - at >= 9:
                size = int.from_bytes(buffer[at:at + 3], "big")
                if len(buffer) - at < 9 + size:
                    break
                kind, flags, number = struct.unpack_from(">BBI", buffer, at + 3)
                if kind == DATA:
                    give += self.take_data(flags, number, memoryview(buffer)[at + 9:at + 9 + size])
                else:
                    self.frames.append((kind, flags, number, size))
                    self.take(kind, flags, number, bytes(buffer[at + 9:at + 9 + size]))
                self.counts[kind] += 1
                at += 9 + size
            del buffer[:at]
            if self.owed > min(self.own_window, 1 << 20) // 4:
                give += window_update(0, self.owed)
                self.owed = 0
            self.changed.notify_all()
        if give:
            self.reply(give)

    def take_data(self, flags, number, payload):
        stream, size = self.streams.get(number), len(payload)
        check(stream, "DATA on stream %d, which does not exist", number)
        check(size <= self.own.get(MAX_FRAME, 16384), "a frame of %d bytes", size)
        if flags & PADDED:
            payload = payload[1:size - payload[0]]
        self.owed += size
        stream.received += len(payload)
        if stream.keeps_data:
            stream.data += payload
        payload.release()
        if flags & END_STREAM:
            self.take_end(stream)
            return b""
        if not stream.gives_window:
            return b""
        stream.owed += size
        if stream.owed < self.own.get(INITIAL_WINDOW, WINDOW_FIRST) // 4:
            return b""
        owed, stream.owed = stream.owed, 0
        return window_update(number, owed)

    def take(self, kind, flags, number, payload):
        stream = self.streams.get(number)
        check(self.block is None or kind == CONTINUATION, "frame %d inside a header block", kind)
        if kind == HEADERS:
            if flags & PADDED:
                payload = payload[1:len(payload) - payload[0]]
            if flags & HAS_PRIORITY:
                payload = payload[5:]
            self.block = [number, flags, payload]
        elif kind == CONTINUATION:
            self.block[2] += payload
        if kind in (HEADERS, CONTINUATION) and flags & END_HEADERS:
            (number, first, block), self.block = self.block, None
            self.take_head(number, self.decoder.decode(block, raw=True), bool(first & END_STREAM))
        elif kind == SETTINGS and not flags & ACK:
            self.take_settings({k: v for k, v in struct.iter_unpack(">HI", payload)})
        elif kind == PING and flags & ACK:
            self.pongs.append(payload)
        elif kind == PING:
            self.pings += 1
            if self.answers_pings:
                self.reply(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            self.goaways.append(struct.unpack(">II", payload[:8]))
        elif kind == WINDOW_UPDATE and number == 0:
            self.window += struct.unpack(">I", payload)[0]
        elif kind == WINDOW_UPDATE and stream:
            stream.window += struct.unpack(">I", payload)[0]
        elif kind == RST_STREAM and stream and stream.reset is None:
            stream.reset = struct.unpack(">I", payload)[0]

    def take_settings(self, values):
        self.peer.update(values)
        if INITIAL_WINDOW in values:
            self.peer_window = values[INITIAL_WINDOW]
        if TABLE_SIZE in values:
            self.encoder.header_table_size = min(4096, values[TABLE_SIZE])
        if self.answers_settings:
            self.reply(frame(SETTINGS, ACK))

    def take_head(self, number, raw, is_end):
        fields = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in raw]
        stream = self.streams.get(number)
        if not stream:
            check(not self.is_client, "HEADERS on stream %d", number)
            stream = self.streams[number] = Stream(self, number)
        is_trailers = stream.fields is not None
        fault = judge(fields, not self.is_client, is_trailers)
        check(not fault, "stream %d: %s", number, fault)
        if is_trailers:
            check(is_end, "trailers without END_STREAM")
            stream.trailers = fields
        elif fields[0] != (":status", "101") and fields[0][1].startswith("1") and fields[0][0] == ":status":
            stream.interim.append(fields)
            return
        else:
            stream.fields = fields
        if not self.is_client and not is_trailers:
            stream.method = stream.get(":method")
            stream.is_ended = is_end
            self.on_request(stream)
        elif is_end:
            self.take_end(stream)

    def take_end(self, stream):
        stream.is_ended = True
        length = stream.get("content-length")
        is_bare = self.is_client and (stream.method == "HEAD" or stream.status == 304)
        if length is not None and not is_bare:
            check(int(length) == stream.received, "stream %d: content-length %s, DATA %d", stream.id, length,
                  stream.received)

    def on_request(self, stream):
        raise AssertionError("a request on stream %d" % stream.id)

    def on_end(self):
        pass

    # ---- waiting

    def wait(self, condition, text, seconds=10):
        deadline = time.monotonic() + seconds * scale()
        with self.changed:
            while True:
                if self.errors:
                    raise LinkFailed("peer: %s" % self.errors)
                value = condition()
                if value:
                    return value
                text_now = text() if callable(text) else text
                if self.end:
                    raise PeerClosed("%s before: %s; GOAWAY %s" % (self.end, text_now, self.goaways))
                if not self.changed.wait(max(0, deadline - time.monotonic())):
                    check(condition(), "waited %.1f s: %s", seconds * scale(), text_now)

    def wait_goaway(self, code=None, seconds=10):
        """(last stream, code) of the last one."""
        self.wait(lambda: self.goaways and (code is None or self.goaways[-1][1] == code),
                  lambda: "no GOAWAY of %s: %s" % (code, self.goaways), seconds)
        return self.goaways[-1]

    def wait_closed(self, seconds=10):
        self.wait(lambda: self.end, "the connection stays open", seconds)
        return self.end

    def wait_settings(self):
        self.wait(lambda: self.counts[SETTINGS] > 0, "no SETTINGS")
        return self.peer

    def round_trip(self):
        """All that was sent before was read and answered."""
        payload = struct.pack(">Q", int(time.monotonic() * 1e9))
        self.ping(payload)
        self.wait(lambda: payload in self.pongs, "no answer to a PING")
        return self


class H2Client(Link):
    """Keys: tls (context), name, own (settings), window (of the connection), begins (send the preface)."""

    def __init__(self, port, tls=None, name="a.example", own=None, window=1 << 24, begins=True, rcvbuf=None,
                 source=None):
        sock = socket.socket()
        if rcvbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if source:
            sock.bind((source, 0))
        sock.settimeout(10 * scale())
        sock.connect(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.scheme = "https" if tls else "http"
        if tls:
            sock = tls.wrap_socket(sock, server_hostname=name)
            check(sock.selected_alpn_protocol() == "h2", "ALPN gave %s", sock.selected_alpn_protocol())
        Link.__init__(self, sock, own, window)
        self.next_id = 1
        OPEN.append(self)
        self.answers_settings = begins
        if begins:
            self.begin()
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def take(self, kind, flags, number, payload):
        check(kind != PUSH_PROMISE, "PUSH_PROMISE")
        Link.take(self, kind, flags, number, payload)

    def open(self, method="GET"):
        """A stream without a byte yet.  Whoever holds `sending` must not wait for `changed`."""
        stream = self.streams[self.next_id] = Stream(self, self.next_id)
        self.next_id += 2
        stream.method = method
        return stream

    def head(self, method="GET", path="/", fields=(), authority="test.example"):
        return [(":method", method), (":scheme", self.scheme), (":authority", authority),
                (":path", path)] + list(fields)

    def request(self, method="GET", path="/", fields=(), body=None, is_end=True, **more):
        """Sends it; the caller waits.  is_end False: more of it is to come."""
        with self.sending:  # ids go up in the order of the heads
            stream = self.open(method)
            stream.head(self.head(method, path, fields, **more), is_end and body is None)
        if body is not None:
            stream.send(body, is_end)
        return stream

    def raw(self, fields, is_end=True, **more):
        """Sends this list of fields as it is."""
        with self.sending:
            stream = self.open(dict(fields).get(":method", "GET"))
            self.send_block(stream.id, fields, is_end, **more)
        return stream

    def get(self, path="/", method="GET", fields=(), body=None, seconds=10, **more):
        return self.request(method, path, fields, body, **more).wait_end(seconds)


class OriginLink(Link):
    is_client = False

    def __init__(self, origin, sock):
        self.origin = origin
        Link.__init__(self, sock, dict(origin.own), origin.window)
        self.requests = []
        self.taken = 0

    def on_request(self, stream):
        stream.path = stream.get(":path")
        self.requests.append(stream)
        with self.origin.lock:
            self.origin.requests.append(stream)
        threading.Thread(target=self.serve, args=(stream,), daemon=True).start()

    def serve(self, stream):
        try:
            self.origin.behaviour(stream.path or "/")(stream)
        except (StreamReset, PeerClosed, PeerReset, LinkFailed, OSError):
            pass
        except Exception as error:  # told at the end of the test
            self.errors.append(repr(error))

    def on_end(self):
        if self.errors:
            self.origin.errors += self.errors
        self.socket.close()


class H2Origin:
    """
    Cleartext by prior knowledge, or tls: a context with ALPN.  .on(path, function(stream)) adds behaviours.  At its
    end it fails the test if the proxy ever broke HTTP/2 (unless .is_judging is False: it broke HTTP/2 itself).
    """

    def __init__(self, tls=None, own=None, window=1 << 24, port=0):
        self.tls = tls
        self.own = {MAX_STREAMS: 100} if own is None else own
        self.window = window
        self.table = {}
        self.links, self.requests, self.errors = [], [], []
        self.lock = threading.Lock()
        self.gate = threading.Event()
        self.is_judging = True
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(1024)
        self.port = self.listener.getsockname()[1]
        self.is_closed = False
        self.on_link = lambda link: link.begin()
        threading.Thread(target=self.accept_all, daemon=True).start()

    def accept_all(self):
        while not self.is_closed:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self.tls:
                    sock = self.tls.wrap_socket(sock, server_side=True)
            except OSError:  # this one only: it left, or does not speak TLS
                sock.close()
                continue
            link = OriginLink(self, sock)
            with self.lock:
                self.links.append(link)
            with contextlib.suppress(PeerReset):  # its reader finds that out
                self.on_link(link)
            link.start()

    def on(self, path, function):
        self.table[path] = function
        return self

    def behaviour(self, path):
        path = path.split("?")[0]
        word = path.split("/")[1] if path.startswith("/") else ""
        return self.table.get(path) or self.table.get("/" + word + "/*") or BEHAVIOURS.get(word, headers)

    def paths(self):
        with self.lock:
            return [r.path for r in self.requests]

    def open_links(self):
        return [link for link in self.links if not link.end]

    def close(self):
        self.is_closed = True
        self.gate.set()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for link in self.links:
            link.close()
        wait_for(lambda: all(link.end for link in self.links), "a reader of the origin does not end")
        for link in self.links:
            self.errors += [e for e in link.errors if e not in self.errors]
        check(not self.errors or not self.is_judging, "what the proxy sent to the origin: %s", self.errors)


# ---- built-in behaviours: by the first segment of the path

def headers(stream):
    """What came, as JSON."""
    stream.wait_end(30)
    stream.answer(body=json.dumps({"fields": stream.fields, "trailers": stream.trailers,
                                   "body": stream.body.decode("latin-1")}).encode())


def echo(stream):
    """Piece by piece."""
    stream.head([(":status", "200")])
    at = 0
    while True:
        stream.wait(lambda: stream.received > at or stream.is_ended, "no more", 60)
        piece = bytes(stream.data[at:])
        at += len(piece)
        if piece:
            stream.send(piece)
        if stream.is_ended and at == stream.received:
            break
    stream.end(stream.trailers)


def bytes_(stream):
    """/bytes/N"""
    stream.answer(body=pattern(int(stream.path.split("/")[2])))


def status(stream):
    """/status/N"""
    stream.answer(int(stream.path.split("/")[2]), b"" if stream.path.split("/")[2] in ("204", "304") else b"status")


def never(stream):
    """Answers when the gate opens, or never."""
    while not stream.link.origin.gate.wait(0.02):
        if stream.reset is not None or stream.link.end:
            return
    stream.answer(body=b"at last")


def sink(stream):
    """Counts the body."""
    stream.keeps_data = False
    stream.wait_end(120)
    stream.answer(body=b"%d" % stream.received)


def source(stream):
    """/source/MIB"""
    count = int(stream.path.split("/")[2])
    block = pattern(1 << 20)
    stream.head([(":status", "200"), ("content-length", str(count << 20))])
    for i in range(count):
        stream.send(block, i == count - 1, 60)


def tunnel(stream):
    """CONNECT and extended CONNECT: everything comes back."""
    echo(stream)


BEHAVIOURS = {"headers": headers, "echo": echo, "bytes": bytes_, "status": status, "never": never, "sink": sink,
              "source": source, "ws": tunnel}


def h2_origin(t, **keys):
    origin = H2Origin(**keys)
    t.closers.append(origin.close)
    return origin


H2C = 'protocol "h2c"'
TO_H2 = "http-version { min-version 2; }"


def faults(s, reason):
    """How often the proxy ended a connection or stream of a client for this."""
    return s.metric("session_faults_total", reason=reason)
