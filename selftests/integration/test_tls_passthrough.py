# SPDX-License-Identifier: GPL-2.0-only
# test_tls_passthrough.py - TLS by its name without termination, and plain TCP.
import json
import os
import socket
import ssl
import threading
import time

from lib import Client, check, check_eq, wait_for
from lib.case import scale
from lib.client import PeerReset
from lib.origin import pattern
from lib.tls import Authority, TlsClient, TlsOrigin, context, hello_bytes, s_client, tls_fetch

HOST_ROUTE = 'route "%s" {\nmatches { host "%s"; }\nupstream "%s"\n}'


def passthrough(t, listener="", default=None, **keys):
    """(proxy, {name: origin}, authority): a.example and *.b.example have origins of their own."""
    ca = Authority(t)
    origins = {n: TlsOrigin(t, ca.issue(n, [n + ".example", "*.%s.example" % n]), alpn=["http/1.1"]) for n in "abc"}
    upstreams = "\n".join('upstream "%s" { target "127.0.0.1:%d"; }' % (n, o.port) for n, o in origins.items())
    routes = "\n".join([HOST_ROUTE % ("a", "a.example", "a"), HOST_ROUTE % ("b", "*.b.example", "b"), HOST_ROUTE % (
        "c", "c.nowhere", "c")])
    more = 'protocol "tls-passthrough"\n%s\n%s' % ('default-route "%s"' % default if default else "", listener)
    s = t.sentinel(listener=more, upstreams=upstreams, routes=routes, **keys)
    return s, origins, ca


def test_names_choose_the_origin_which_has_its_own_certificate(t):
    s, origins, ca = passthrough(t)
    for name, origin in (("a.example", "a"), ("x.b.example", "b"), ("A.Example", "a")):
        for version in ("1.2", "1.3"):
            with TlsClient(s.port, context(ca, version=version, alpn=["h2", "http/1.1"]), name) as c:
                check_eq((c.version, c.alpn), ("TLSv" + version, "http/1.1"))
                check_eq(c.get("/bytes/2000000", host=name).body == pattern(2000000), True)
                check_eq(c.request("POST", "/echo", body=pattern(500000), host=name).body == pattern(500000), True)
        check_eq(origins[origin].names[-1].lower(), name.lower())
    check_eq(origins["c"].connections, [])
    wait_for(lambda: s.metric("tunnels_active") == 0, "the tunnels to end")
    check(s.metric("tunnel_bytes_total") > 5000000)


def test_unknown_and_absent_names(t):
    s, origins, ca = passthrough(t)
    for name in ("unknown.example", "b.example", None):
        c = Client(s.port)
        how, data = c.send(hello_bytes(name)).end()
        check_eq(data, b"", "%s: %s" % (name, how))
    check(all(not o.connections for o in origins.values()))
    s.stop()
    s, origins, ca = passthrough(t, default="c")
    for name in ("unknown.example", None):
        check_eq(tls_fetch(s.port, "/bytes/1", name=name).status, 200)
    check_eq(len(origins["c"].connections), 2)


def test_client_certificates_reach_the_origin(t):
    ca, people = Authority(t), Authority(t, "People CA")
    o = TlsOrigin(t, ca.issue("a", ["a.example"]), ca=people)
    s = t.sentinel(o, listener='protocol "tls-passthrough"')
    person = people.issue("alice", ["alice"], usage="clientAuth")
    check_eq(tls_fetch(s.port, "/bytes/1", context(ca, cert=person)).status, 200)
    check_eq(o.connections[-1].client, person.der)


def test_large_hellos_in_pieces_pass(t):
    s, origins, ca = passthrough(t, "handshake-timeout-secs 60")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context(ca).wrap_bio(incoming, outgoing, server_hostname="a.example")
    c = Client(s.port)
    while True:
        try:
            session.do_handshake()
            break
        except ssl.SSLWantReadError:
            c.send_slowly(outgoing.read(), 1, 0.0003)
            incoming.write(c.recv())
    hello = hello_bytes()
    cut = b"".join(b"\x16\x03\x01\x00\x28" + hello[at:at + 40] for at in range(5, len(hello) - len(hello[5:]) % 40, 40))
    rest = hello[5 + len(hello[5:]) // 40 * 40:]
    cut += (b"\x16\x03\x01" + len(rest).to_bytes(2, "big") + rest) if rest else b""
    with Client(s.port) as client:  # in many records
        check_eq(client.send(cut).recv()[:1], b"\x16")


def big_hello(size):
    """A well-formed ClientHello of so many bytes, most of them padding."""
    body = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00"
    pad = size - len(body) - 2 - 4 - 4
    message = body + (pad + 4).to_bytes(2, "big") + b"\x00\x15" + pad.to_bytes(2, "big") + bytes(pad)
    message = b"\x01" + len(message).to_bytes(3, "big") + message
    return b"".join(b"\x16\x03\x01" + len(message[at:at + 16384]).to_bytes(2, "big") + message[at:at + 16384]
                    for at in range(0, len(message), 16384))


def test_hellos_without_bound_and_garbage_are_refused(t):
    s, origins, _ = passthrough(t, default="c")
    for data in (big_hello(60000), b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x00", b"\x16\x03\x01\xff\xff" + bytes(100),
                 b"\x00" + os.urandom(1000), b"\x16\x03\x01\x00\x01\x01" * 100, b"\x80\x2e\x01\x03\x01" + bytes(60)):
        c = Client(s.port)
        try:
            c.send(data)
        except PeerReset:
            pass
        how, got = c.end()
        check_eq(got, b"", repr(data[:10]))
    wait_for(lambda: s.metric("handshake_failures_total", listener="main") == 7, "the count")
    check(all(not o.connections for o in origins.values()))
    Client(s.port).send(big_hello(8000))  # within the bound
    wait_for(lambda: origins["c"].connections, "the hello at the origin")


def test_half_a_hello_and_silence(t):
    s, origins, _ = passthrough(t, "handshake-timeout-secs 1")
    base = s.baseline()
    hello, began = hello_bytes(), time.monotonic()
    clients = [Client(s.port).send(hello[:n]) for n in (0, 1, 5, 100, len(hello) - 1)]
    for c in clients:
        check_eq(c.end()[1], b"")
    check(0.8 < time.monotonic() - began < 4 * scale(), "ended after %.1f s", time.monotonic() - began)
    for n in (1, 100):
        for _ in range(5):
            Client(s.port).send(hello[:n]).reset()
    s.wait_gauges(base)


def test_an_origin_that_is_away_closes_the_client(t):
    s, origins, _ = passthrough(t)
    origins["a"].close()
    c = Client(s.port)
    check_eq(c.send(hello_bytes()).end()[1], b"")
    wait_for(lambda: s.metric("upstream_failures_total", upstream="a", reason="connect_failed") >= 1, "the count")


def test_s_client_sees_the_origin_only(t):
    s, origins, ca = passthrough(t)
    a = s_client(s.port, "-CAfile", ca.cert, "-verify_hostname", "a.example", "-verify_return_error")
    check_eq((a.status, a.has("Verify return code: 0 (ok)")), (200, True))


def check_line(s, **wanted):
    """The newest line has these, and nothing of HTTP."""
    line = json.loads(s.access_lines()[-1])
    check_eq({n: line.get(n) for n in wanted}, wanted)
    check("method" not in line and "path" not in line, "%r", line)


def test_what_the_log_says_of_raw_connections(t):
    s, origins, ca = passthrough(t)
    check_eq(tls_fetch(s.port, "/bytes/1000", context(ca)).status, 200)
    check_line(s, protocol="TLS", host="a.example", status=200, route_id="a", failure=None)
    s, origins, ca = passthrough(t)
    check_eq(Client(s.port).send(hello_bytes("unknown.example")).end()[1], b"")
    check_line(s, protocol="TLS", host="unknown.example", status=None, failure="no_route", body_bytes_sent=0)
    s, origins, ca = passthrough(t, access='format "combined"')
    origins["b"].close()
    check_eq(Client(s.port).send(hello_bytes("x.b.example")).end()[1], b"")
    check('"- - TLS" 000 0 ' in s.access_lines()[0], "%s", s.access_lines()[0])
    check_eq(s.metric("requests_total", route="b", method="CONNECT", status="503"), 1)
    check_eq(s.metric("response_body_size_bytes_sum"), 0)
    s = tcp(t, lambda sock: sock.sendall(sock.recv(100)))
    with Client(s.port) as c:
        check_eq(c.send(b"hello").end()[1], b"hello")
    check_line(s, protocol="TCP", host=None, status=200, body_bytes_received=5, body_bytes_sent=5)
    s.service.close()
    s = t.sentinel("127.0.0.1:%d" % t.port(), listener='protocol "tcp"')
    check_eq(Client(s.port).send(b"hello").end()[1], b"")
    check_line(s, protocol="TCP", status=None, failure="connect_failed", body_bytes_sent=0)


# ---- plain TCP

class Service:
    """A TCP service: serve(socket) in a thread for each connection."""

    def __init__(self, t, serve):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = self.listener.getsockname()[1]
        self.serve, self.ends, self.count = serve, [], 0
        t.closers.append(self.close)
        threading.Thread(target=self.run, daemon=True).start()

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def run(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.count += 1
            threading.Thread(target=self.one, args=(sock,), daemon=True).start()

    def one(self, sock):
        try:
            self.serve(sock)
            self.ends.append("served")
        except OSError as error:
            self.ends.append(str(error))
        sock.close()


def redis(sock):
    """A line in, a line out; ECHO, PING, QUIT."""
    file = sock.makefile("rwb")
    for line in file:
        words = line.strip().split(b" ", 1)
        if words[0] == b"PING":
            file.write(b"+PONG\r\n")
        elif words[0] == b"ECHO":
            file.write(b"+%b\r\n" % words[1])
        elif words[0] == b"QUIT":
            file.write(b"+OK\r\n")
            file.flush()
            return
        else:
            file.write(b"-ERR unknown command\r\n")
        file.flush()


def tcp(t, serve, listener="", **keys):
    service = Service(t, serve)
    s = t.sentinel("127.0.0.1:%d" % service.port, listener='protocol "tcp"\n' + listener, **keys)
    s.service = service
    return s


def test_a_line_protocol_over_tcp(t):
    s = tcp(t, redis)
    c = Client(s.port)
    for i in range(200):
        c.send(b"ECHO %d\r\n" % i)
        check_eq(c.reader.until(b"\r\n"), b"+%d" % i)
    c.send(b"PING\r\nPING\r\nGET / HTTP/1.1\r\nQUIT\r\n")
    how, data = c.end()
    check_eq((how, data), ("fin", b"+PONG\r\n+PONG\r\n-ERR unknown command\r\n+OK\r\n"))


def test_the_server_may_speak_first(t):
    def banner(sock):
        sock.sendall(b"220 ready\r\n")
        check(sock.recv(100) == b"HELO\r\n")
        sock.sendall(b"250 hello\r\n")
    s = tcp(t, banner)
    c = Client(s.port)
    check_eq(c.reader.until(b"\r\n"), b"220 ready")
    check_eq(c.send(b"HELO\r\n").end(), ("fin", b"250 hello\r\n"))


def test_ends_pass_in_both_directions(t):
    def sink(sock):
        total = 0
        while True:
            data = sock.recv(65536)
            if not data:
                break
            total += len(data)
        sock.sendall(b"%d" % total)
    s = tcp(t, sink)
    c = Client(s.port)
    c.send(pattern(3000000))
    c.half_close()
    check_eq(c.end(), ("fin", b"3000000"))

    def source(sock):
        sock.sendall(pattern(1000000))
        sock.shutdown(socket.SHUT_WR)
        check(sock.recv(100) == b"thanks")
    second = tcp(t, source)
    c = Client(second.port)
    check_eq(c.end() == ("fin", pattern(1000000)), True)
    c.send(b"thanks")
    c.half_close()
    wait_for(lambda: second.service.ends, "the end at the origin")
    check_eq(second.service.ends, ["served"])


def test_much_both_ways_at_once(t):
    def echo(sock):
        while True:
            data = sock.recv(65536)
            if not data:
                return
            sock.sendall(data)
    s = tcp(t, echo)
    data = pattern(5000000)
    c = Client(s.port)
    writer = threading.Thread(target=lambda: (c.send(data), c.half_close()), daemon=True)
    writer.start()
    check_eq(c.end() == ("fin", data), True)
    writer.join()


def test_resets_and_dead_origins(t):
    s = tcp(t, lambda sock: sock.recv(100) and None)
    base = s.baseline()
    for how in ("reset", "close"):
        for _ in range(10):
            c = Client(s.port)
            c.send(b"x" * 10)
            getattr(c, how)()
    wait_for(lambda: s.service.count >= 15, "the connections")
    s.wait_gauges(base)
    s.service.close()
    check_eq(Client(s.port).send(b"hello").end()[1], b"")


def test_open_tunnels_are_counted(t):
    s = tcp(t, redis)
    c = Client(s.port)
    c.send(b"PING\r\n")
    check_eq(c.reader.until(b"\r\n"), b"+PONG")
    check_eq(s.metric("tunnels_active"), 1)
    c.close()
    wait_for(lambda: s.metric("tunnels_active") == 0, "the tunnel to end")


def test_tunnels_outlive_a_reload_and_end_at_the_stop(t):
    s = tcp(t, redis, system="graceful-shutdown-timeout-secs 1")
    c = Client(s.port)
    c.send(b"PING\r\n")
    check_eq(c.reader.until(b"\r\n"), b"+PONG")
    s.check_reload(listener='protocol "tcp"\nkeepalive-timeout-secs 30')
    c.send(b"ECHO still\r\n")
    check_eq(c.reader.until(b"\r\n"), b"+still")
    s.stop()
    check_eq(c.end()[1], b"")
