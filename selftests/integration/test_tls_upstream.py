# SPDX-License-Identifier: GPL-2.0-only
# test_tls_upstream.py - TLS to origins: who is believed, why others are not, our own certificate, sessions, ALPN.
import hashlib
import json
import os
import socket
import threading
import time

from lib import Client, check, check_eq, check_in, fetch, wait_for
from lib.nginx import nginx
from lib.origin import pattern
from lib.tls import Authority, TlsOrigin, tls_block, tls_fetch

NO_POOL = "connection-pool { max-idle 0; }"


def upstream(ca=None, sni="a.example", more=""):
    return "tls {\n%s%s%s\n}\n" % ('ca-file "%s"\n' % ca.cert if ca else "", 'sni "%s"\n' % sni if sni else "", more)


def failures(s, reason):
    return s.metric("upstream_tls_failures_total", upstream="o", reason=reason)


def check_refused(s, reason, status=502):
    """A request fails, and everybody is told why: the client only that, the metric and the log the reason."""
    before = failures(s, reason)
    r = fetch(s.port, "/bytes/1")
    check_eq(r.status, status, reason)
    check(b"ertificate" not in r.body, "the client is told %r", r.body)
    wait_for(lambda: failures(s, reason) > before, lambda: "the count of %s; there is %r" % (reason, [
        x[1:] for x in s.metrics().samples if "upstream_tls" in x[0]]))
    line = "no handshake with 127.0.0.1:%d: %s" % (s.origins[0].port, reason)
    # There is a line a second at most.
    wait_for(lambda: line in s.stderr() or fetch(s.port, "/bytes/1").status == 0, "the reason %s in the log" % reason)
    check(s.metric("upstream_failures_total", upstream="o") > 0)


def test_requests_and_bodies_pass(t):
    ca = Authority(t)
    o = TlsOrigin(t, ca.issue("a.example", ["a.example"]))
    s = t.sentinel(o, upstream=upstream(ca), limits='max-body-size "10MB"')
    with Client(s.port) as c:
        body = pattern(3000000)
        check_eq(c.request("POST", "/echo", body=body).body == body, True)
        check_eq(c.get("/bytes/5000000").body == pattern(5000000), True)
        check_eq(c.get("/chunked").status, 200)
        check_eq(c.get("/until-close").status, 200)
    check_eq(o.names[0], "a.example")
    check_eq(s.metric("upstream_tls_failures_total"), 0)


def test_tls_on_both_sides(t):
    ca = Authority(t)
    pair = ca.issue("a.example", ["a.example"])
    o = TlsOrigin(t, pair)
    s = t.sentinel(o, listener=tls_block(pair), upstream=upstream(ca), limits='max-body-size "10MB"')
    body = pattern(2000000)
    check_eq(tls_fetch(s.port, "/echo", method="POST", body=body).body == body, True)


def test_the_name_of_the_target_is_verified(t):
    ca = Authority(t)
    o = TlsOrigin(t, ca.issue("x", ["localhost", "IP:127.0.0.1"]))
    s = t.sentinel("localhost:%d" % o.port, upstream=upstream(ca, None))
    wait_for(lambda: fetch(s.port, "/bytes/1").status == 200, "the name to be resolved")
    check_eq(o.names[-1], "localhost")
    other = t.sentinel(o, upstream=upstream(ca, None))  # by its address: no SNI, the address is compared
    check_eq(fetch(other.port, "/bytes/1").status, 200)
    check_eq(o.names[-1], None)


def test_wrong_certificates_are_refused_with_the_reason(t):
    ca, other = Authority(t), Authority(t, "Other CA")
    for pair, reason, authority in (
            (ca.issue("a", ["a.example"], ends_secs=-60), "expired", ca),
            (ca.issue("a", ["a.example"], begins_secs=86400), "not_yet_valid", ca),
            (ca.issue("b", ["b.example", "*.a.example"]), "wrong_name", ca),
            (other.issue("a", ["a.example"]), "unknown_ca", ca),
            (other.issue("a", ["a.example"]), "unknown_ca", None),  # the system's authorities do not know it
            (ca.issue("a", ["a.example"], usage="clientAuth"), "bad_certificate", ca)):
        o = TlsOrigin(t, pair)
        s = t.sentinel(o, upstream=upstream(authority))
        check_refused(s, reason)
        check_eq(o.received, b"")
        s.stop()


def test_a_certificate_signed_by_itself(t):
    alone = Authority(t, "a.example")
    o = TlsOrigin(t, alone)
    s = t.sentinel(o, upstream=upstream(Authority(t)))
    check_refused(s, "self_signed")


def test_verification_can_be_switched_off_and_that_is_told(t):
    o = TlsOrigin(t, Authority(t).issue("a", ["b.example"], ends_secs=-60))
    s = t.sentinel(o, upstream=upstream(None, "a.example", "insecure-skip-verify #true"))
    check_eq(fetch(s.port, "/bytes/1").status, 200)
    text = s.command("check", check_code=None)[2]
    check_in("is not verified", text)
    check_eq(text.count("verified"), 1, text)


def test_an_origin_that_speaks_no_tls_or_nothing(t):
    ca = Authority(t)
    plain = t.origin()
    s = t.sentinel(plain, upstream=upstream(ca) + "timeouts { connect 1; }")
    r = fetch(s.port, "/bytes/1")
    check_eq(r.status in (502, 504), True, str(r.status))
    listener = socket.create_server(("127.0.0.1", 0))  # accepts, says nothing
    t.closers.append(listener.close)
    silent = t.sentinel("127.0.0.1:%d" % listener.getsockname()[1], upstream=upstream(ca) + "timeouts { connect 1; }")
    began = time.monotonic()
    check_eq(fetch(silent.port, "/bytes/1").status, 504)
    check(0.8 < time.monotonic() - began < 8)
    wait_for(lambda: failures(silent, "timeout") >= 1, "the count of time-outs")


def test_garbage_instead_of_a_server_hello(t):
    ca = Authority(t)
    for junk in (b"HTTP/1.1 400 Bad Request\r\n\r\n", os.urandom(400), b"\x15\x03\x03\x00\x02\x02\x28", b"\x16\x03\x03\xff\xff" + bytes(9), b""):
        listener = socket.create_server(("127.0.0.1", 0))
        t.closers.append(listener.close)

        def serve():
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                sock.recv(65536)
                sock.sendall(junk)
                sock.shutdown(socket.SHUT_WR)
        threading.Thread(target=serve, daemon=True).start()
        s = t.sentinel("127.0.0.1:%d" % listener.getsockname()[1], upstream=upstream(ca))
        check_eq(fetch(s.port, "/bytes/1").status, 502, repr(junk[:10]))
        s.stop()


def test_the_certificate_of_the_proxy(t):
    ca, people = Authority(t), Authority(t, "People CA")
    ours = people.issue("proxy", ["proxy.example"], usage="clientAuth")
    o = TlsOrigin(t, ca.issue("a", ["a.example"]), ca=people)
    with_key = 'client-cert "%s"\nclient-key "%s"' % (ours.cert, ours.key)
    s = t.sentinel(o, upstream=upstream(ca, more=with_key))
    check_eq(fetch(s.port, "/bytes/1").status, 200)
    check_eq(hashlib.sha256(o.connections[-1].client).hexdigest(), ours.fingerprint)
    s.check_reload(upstream=upstream(ca, more='client-cert "%s"' % ours.both))  # both in one file
    check_eq(fetch(s.port, "/bytes/1").status, 200)
    s.check_reload(upstream=upstream(ca))
    check_refused(s, "alert_certificate_required")
    stranger = Authority(t, "Other CA").issue("proxy", ["proxy.example"], usage="clientAuth")
    s.check_reload(upstream=upstream(ca, more='client-cert "%s"\nclient-key "%s"' % (stranger.cert, stranger.key)))
    check_refused(s, "alert_unknown_ca")
    wait_for(lambda: len([c for c in o.connections if not c.failure]) == 2, "the failures at the origin")


def test_sessions_are_resumed(t):
    ca = Authority(t)
    for version in ("1.2", "1.3"):
        o = TlsOrigin(t, ca.issue("a", ["a.example"]), version=version)
        s = t.sentinel(o, upstream=upstream(ca) + NO_POOL)
        for _ in range(6):
            check_eq(fetch(s.port, "/bytes/1").status, 200)
        check_eq([c.is_resumed for c in o.connections], [False] + [True] * 5, version)
        s.check_reload(upstream=upstream(ca, more="session-resumption #false") + NO_POOL)
        before = len(o.connections)
        for _ in range(3):
            check_eq(fetch(s.port, "/bytes/1").status, 200)
        check_eq([c.is_resumed for c in o.connections[before:]], [False] * 3, version)
        s.stop()


def test_connections_are_kept_and_their_name_is_part_of_them(t):
    ca = Authority(t)
    o = TlsOrigin(t, ca.issue("a", ["a.example", "b.example"]))
    target = 'target "127.0.0.1:%d"\n' % o.port
    upstreams = "".join('upstream "%s" {\n%s%s}\n' % (n, target, upstream(ca, n + ".example")) for n in "ab")
    routes = "".join('route "%s" {\nmatches { path-prefix "/%s"; }\nupstream "%s"\n}\n' % (p, p, u) for p, u in (
        ("bytes", "a"), ("headers", "b")))
    s = t.sentinel(o, upstreams=upstreams, routes=routes)
    for path in ("/bytes/1", "/headers", "/bytes/2", "/headers", "/bytes/3"):
        check_eq(fetch(s.port, path).status, 200)
    check_eq(sorted(o.names), ["a.example", "b.example"])
    by_name = [{r.target.split("/")[1] for r in c.requests} for c in o.connections]
    check_eq(sorted(map(sorted, by_name)), [["bytes"], ["headers"]])


def test_versions_of_origins(t):
    ca = Authority(t)
    o = TlsOrigin(t, ca.issue("a", ["a.example"]), version="1.2")
    s = t.sentinel(o, upstream=upstream(ca))
    check_eq(fetch(s.port, "/bytes/1").status, 200)
    s.check_reload(upstream=upstream(ca, more='min-version "1.3"'))
    check_refused(s, "no_shared_version")


NGINX = """
    ssl_certificate %(cert)s; ssl_certificate_key %(key)s; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:S:1m;
    server {
        listen 127.0.0.1:%(h2)d ssl http2; listen 127.0.0.1:%(h1)d ssl;
        client_max_body_size 20m;
        root %(dir)s/www;
        location /what { return 200 "$server_protocol $ssl_protocol $ssl_server_name $ssl_session_reused"; }
    }
"""


def tls_server(t, pair):
    """An nginx with a large file: (port with HTTP/2, port without)"""
    os.mkdir(t.path("www"))
    with open(t.path("www/large"), "wb") as file:
        file.write(pattern(5000000))
    ports = nginx(t, NGINX, ["h1", "h2"], cert=pair.cert, key=pair.key)
    return ports["h2"], ports["h1"]


def test_alpn_chooses_the_protocol_to_nginx(t):
    ca = Authority(t)
    h2, h1 = tls_server(t, ca.issue("a", ["a.example"]))
    for port, versions, wanted in ((h2, "", "HTTP/2.0"), (h1, "", "HTTP/1.1"), (h2, "max-version 1", "HTTP/1.1"),
                                   (h2, "min-version 2", "HTTP/2.0")):
        s = t.sentinel("127.0.0.1:%d" % port, upstream=upstream(ca) + "http-version {\n%s\n}" % versions)
        with Client(s.port) as c:
            for _ in range(3):
                r = c.get("/what")
                check_eq((r.status, r.body.decode().split()[:3]), (200, [wanted, "TLSv1.3", "a.example"]), versions)
            check_eq(c.get("/large").body == pattern(5000000), True)
        s.stop()
    s = t.sentinel("127.0.0.1:%d" % h1, upstream=upstream(ca) + "http-version {\nmin-version 2\n}")
    r = fetch(s.port, "/what")
    check_eq(r.status, 502)
    wait_for(lambda: failures(s, "no_shared_alpn") + failures(s, "alert_other") + failures(s, "alert_handshake") > 0,
             lambda: "the reason: %r" % [x[1:] for x in s.metrics().samples if "upstream_tls" in x[0]])


def test_a_broken_origin_is_passed_over(t):
    ca = Authority(t)
    good = TlsOrigin(t, ca.issue("a", ["a.example"]))
    bad = TlsOrigin(t, ca.issue("a", ["b.example"]))
    s = t.sentinel(bad, good, upstream=upstream(ca), route="retry-policy { max-attempts 2; }")
    for _ in range(6):
        check_eq(fetch(s.port, "/bytes/1").status, 200)
    check(failures(s, "wrong_name") >= 1)
    check_eq(bad.received, b"")


def test_a_new_authority_by_reload(t):
    old, new = Authority(t), Authority(t, "New CA")
    o = TlsOrigin(t, new.issue("a", ["a.example"]))
    s = t.sentinel(o, upstream=upstream(old))
    check_refused(s, "unknown_ca")
    with open(old.cert, "w", encoding="ascii") as file:
        file.write(open(new.cert, encoding="ascii").read())
    check(s.admin("reload")[0])
    check_eq(fetch(s.port, "/bytes/1").status, 200)


def test_a_body_that_is_cut_without_close_notify_is_an_error(t):
    ca = Authority(t)
    o = TlsOrigin(t, ca.issue("a", ["a.example"]))

    def cut(connection, request):
        connection.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nonly this")
        socket.socket.shutdown(connection.socket, socket.SHUT_RDWR)
    o.on("/cut", cut)
    s = t.sentinel(o, upstream=upstream(ca))
    with Client(s.port) as c:
        c.send(b"GET /cut HTTP/1.1\r\nHost: a\r\n\r\n")
        how, data = c.end()
        check(how == "rst" or not data.endswith(b"0\r\n\r\n"), "a truncated body looks complete: %s %r", how, data)


def test_access_log_tells_the_reason(t):
    ca = Authority(t)
    s = t.sentinel(TlsOrigin(t, ca.issue("b", ["b.example"])), upstream=upstream(ca))
    check_eq(fetch(s.port, "/bytes/1").status, 502)
    check_in("wrong_name", json.dumps(json.loads(s.access_lines(1)[-1])))
