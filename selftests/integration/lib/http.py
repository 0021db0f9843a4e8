# SPDX-License-Identifier: GPL-2.0-only
# http.py - a strict reader of HTTP/1.1: refuses what RFC 9112 calls ambiguous, so that a lenient proxy shows.
import re

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
STATUS_LINE = re.compile(rb"(HTTP/1\.[01]) ([1-5][0-9][0-9]) ([\t \x21-\x7e\x80-\xff]*)\Z")
REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) (HTTP/1\.[01])\Z")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})((?:;[\t \x21-\x7e\x80-\xff]*)?)\Z")
HEAD_MAX = 1 << 20


class Malformed(Exception):
    """Bytes that are no strict HTTP/1.1."""


class Message:
    """A request or a response: start line, fields in order, body, trailers."""

    def __init__(self):
        self.method = self.target = self.version = self.reason = ""
        self.status = 0
        self.fields = []
        self.trailers = []
        self.body = b""
        self.interim = []
        self.head = b""
        self.chunks = []
        self.framing = "none"

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]

    def get(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    def has(self, name):
        return bool(self.all(name))


def parse_fields(lines):
    fields = []
    for line in lines:
        if not line or line[:1] in b" \t":
            raise Malformed("folded or empty field line %r" % line)
        name, colon, value = line.partition(b":")
        if not colon or not TOKEN.match(name):
            raise Malformed("field line %r" % line)
        if re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value):
            raise Malformed("control byte in %r" % line)
        fields.append((name.decode("ascii"), value.strip(b" \t").decode("latin-1")))
    return fields


def split_lines(block):
    """Lines of a block without its end; CR and LF only as CRLF."""
    lines = block.split(b"\r\n")
    for line in lines:
        if b"\r" in line or b"\n" in line:
            raise Malformed("bare CR or LF in %r" % line)
    return lines


def parse_head(head, is_request):
    """`head` ends before the empty line."""
    lines = split_lines(head)
    message = Message()
    message.head = head
    found = (REQUEST_LINE if is_request else STATUS_LINE).match(lines[0])
    if not found:
        raise Malformed("start line %r" % lines[0])
    if is_request:
        message.method, message.target, message.version = (g.decode("ascii") for g in found.groups())
    else:
        message.version, message.reason = found.group(1).decode(), found.group(3).decode("latin-1")
        message.status = int(found.group(2))
    message.fields = parse_fields(lines[1:])
    return message


def framing_of(message, is_request, method="GET"):
    """"none", ("length", n), "chunked" or "close"."""
    codings, lengths = message.all("transfer-encoding"), message.all("content-length")
    if codings and lengths:
        raise Malformed("both Transfer-Encoding and Content-Length")
    if len(lengths) > 1 or (lengths and not re.fullmatch(r"[0-9]+", lengths[0])):
        raise Malformed("Content-Length %r" % lengths)
    if codings and (codings != ["chunked"] or message.version != "HTTP/1.1"):
        raise Malformed("Transfer-Encoding %r on %s" % (codings, message.version))
    if not is_request:
        if message.status < 200 or message.status in (204, 304):
            if codings or (lengths and message.status not in (304,)):
                raise Malformed("framing fields with status %d" % message.status)
            return "none"
        if method == "HEAD" or (method == "CONNECT" and message.status < 300):
            return "none"
    if codings:
        return "chunked"
    if lengths:
        return ("length", int(lengths[0])) if int(lengths[0]) else "none"
    return "none" if is_request else "close"


class Reader:
    """Reads messages through recv(): a function that returns more bytes, or b"" at the end."""

    def __init__(self, recv):
        self.recv = recv
        self.buffer = bytearray()
        self.is_ended = False

    def fill(self):
        data = self.recv()
        if not data:
            self.is_ended = True
            return False
        self.buffer += data
        return True

    def until(self, mark, most=HEAD_MAX):
        at = 0
        while True:
            found = self.buffer.find(mark, at)
            if found >= 0:
                block = bytes(self.buffer[:found])
                del self.buffer[:found + len(mark)]
                return block
            if len(self.buffer) > most:
                raise Malformed("no %r in %d bytes" % (mark, len(self.buffer)))
            at = max(0, len(self.buffer) - len(mark) + 1)
            if not self.fill():
                raise EOFError("ended before %r; had %r" % (mark, bytes(self.buffer[:200])))

    def exactly(self, count):
        while len(self.buffer) < count:
            if not self.fill():
                raise EOFError("ended after %d of %d bytes" % (len(self.buffer), count))
        block = bytes(self.buffer[:count])
        del self.buffer[:count]
        return block

    def some(self, most=65536):
        """At least a byte, b"" at the end."""
        if not self.buffer and not self.fill():
            return b""
        block = bytes(self.buffer[:most])
        del self.buffer[:most]
        return block

    def head(self, is_request):
        return parse_head(self.until(b"\r\n\r\n"), is_request)

    def body_pieces(self, message, framing):
        """Yields pieces of the body; afterwards message.trailers is set."""
        if framing == "none":
            return
        if framing == "close":
            while True:
                piece = self.some()
                if not piece:
                    return
                yield piece
        if framing != "chunked":
            left = framing[1]
            while left:
                piece = self.some(min(left, 65536))
                if not piece:
                    raise EOFError("body ended %d bytes early" % left)
                left -= len(piece)
                yield piece
            return
        while True:
            line = self.until(b"\r\n", 4096)
            found = CHUNK_LINE.match(line)
            if not found:
                raise Malformed("chunk line %r" % line)
            size = int(found.group(1), 16)
            message.chunks.append(size)
            if size == 0:
                break
            while size:
                piece = self.some(min(size, 65536))
                if not piece:
                    raise EOFError("chunk ended %d bytes early" % size)
                size -= len(piece)
                yield piece
            if self.exactly(2) != b"\r\n":
                raise Malformed("no CRLF after a chunk")
        lines = []
        while True:
            line = self.until(b"\r\n")
            if b"\r" in line or b"\n" in line:
                raise Malformed("bare CR or LF in a trailer")
            if not line:
                break
            lines.append(line)
        message.trailers = parse_fields(lines)


def iter_requests(data):
    """The requests in recorded bytes; Malformed or EOFError where they are not complete strict ones."""
    pieces = [bytes(data)]
    reader = Reader(lambda: pieces.pop() if pieces else b"")
    while reader.buffer or reader.fill():
        message = reader.head(True)
        message.framing = framing_of(message, True)
        message.body = b"".join(reader.body_pieces(message, message.framing))
        yield message


def parse_requests(data):
    return list(iter_requests(data))
