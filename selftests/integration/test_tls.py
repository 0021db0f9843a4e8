# SPDX-License-Identifier: GPL-2.0-only
# test_tls.py - TLS of listeners: who is served, by which version, suite, group and protocol, and who is refused.
import json
import os
import re
import signal
import socket
import subprocess
import threading

from lib import Client, check, check_eq, check_in, fetch, wait_for
from lib.case import scale
from lib.origin import pattern
from lib.tls import (REQUEST, Authority, Relay, TlsClient, context, curl, hello_bytes, refusal, replace, s_client, tls_block,
                     tls_fetch, tool)


def server(t, more="", kinds=("ecdsa",), origin=None, **keys):
    """(proxy, authority, certificates) with a default certificate of each kind for a.example."""
    ca = Authority(t)
    pairs = [ca.issue("a.example", ["a.example"], kind=kind) for kind in kinds]
    listener = keys.pop("listener", "")
    s = t.sentinel(origin or t.origin(), listener=tls_block(*pairs, more=more) + listener, **keys)
    return s, ca, pairs


def test_requests_and_bodies_pass_both_versions(t):
    s, ca, _ = server(t, limits='max-body-size "10MB"')
    body = pattern(3000000)
    for version in ("1.2", "1.3"):
        with TlsClient(s.port, context(ca, version=version)) as c:
            check_eq(c.version, "TLSv" + version)
            r = c.request("POST", "/echo", body=body)
            check_eq((r.status, r.body == body), (200, True))
            check_eq(c.get("/bytes/5000000").body == pattern(5000000), True)
            check_eq(c.get("/chunked").status, 200)
            fields = json.loads(c.get("/headers").body)["fields"]
            check_in(["x-forwarded-proto", "https"], fields)
            check(not any(n.lower() == "early-data" for n, _ in fields), "%r", fields)


def test_curl_speaks_both_protocols(t):
    s, ca, _ = server(t)
    url = "https://a.example:%d/bytes/1000" % s.port
    words = ["--cacert", ca.cert, "--resolve", "a.example:%d:127.0.0.1" % s.port, "-o", t.path("out"), "-w",
             "%{http_version} %{http_code} %{size_download}", url]
    check_eq(curl("--http1.1", *words), "1.1 200 1000")
    check_eq(curl("--http2", *words), "2 200 1000")
    check_eq(curl("--http2", "--tls-max", "1.2", *words), "2 200 1000")
    check_eq(curl("--no-alpn", *words), "1.1 200 1000")


def test_alpn(t):
    s, ca, _ = server(t)
    for offered, chosen in ((["h2", "http/1.1"], "h2"), (["http/1.1", "h2"], "h2"), (["http/1.1"], "http/1.1"), (["h2"], "h2"),
                            (None, None), (["foo", "http/1.1"], "http/1.1")):
        with TlsClient(s.port, context(ca, alpn=offered)) as c:
            check_eq(c.alpn, chosen, str(offered))
            if chosen != "h2":
                check_eq(c.get("/bytes/1").status, 200)
    check_eq(refusal(s.port, context(ca, alpn=["foo"])), "tlsv1 alert no application protocol")


def test_protocol_h2_offers_nothing_else(t):
    ca = Authority(t)
    pair = ca.issue("a.example", ["a.example"])
    s = t.sentinel(t.origin(), listener=tls_block(pair).replace('"https"', '"h2"'))
    words = ["--cacert", ca.cert, "--resolve", "a.example:%d:127.0.0.1" % s.port, "-o", t.path("out"), "-w",
             "%{http_version} %{http_code}", "https://a.example:%d/bytes/1000" % s.port]
    check_eq(curl("--http2", *words), "2 200")
    check_eq(refusal(s.port, context(ca, alpn=["http/1.1"])), "tlsv1 alert no application protocol")


OLD = ["-cipher", "ALL:@SECLEVEL=0"]


def test_old_versions_are_refused_with_the_right_alert(t):
    s, _, _ = server(t)
    for version in ("-tls1", "-tls1_1"):
        a = s_client(s.port, version, *OLD)
        check_eq(a.suite, None, version)
        check_in("alert protocol version", a.err)
    for version, name in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
        a = s_client(s.port, version)
        check_eq((a.version, a.status), (name, 200))


def test_versions_can_be_narrowed(t):
    s, _, pairs = server(t, 'min-version "1.3"')
    check_in("alert protocol version", s_client(s.port, "-tls1_2").err)
    check_eq(s_client(s.port).version, "TLSv1.3")
    s.check_reload(listener=tls_block(*pairs, more='max-version "1.2"'))
    check_in("alert protocol version", s_client(s.port, "-tls1_3").err)
    check_eq(s_client(s.port).version, "TLSv1.2")
    s.check_reload(listener=tls_block(*pairs, more='min-version "tlsv1.0"'))  # the older words mean 1.2
    check_in("alert protocol version", s_client(s.port, "-tls1_1", *OLD).err)
    check_eq(s_client(s.port, "-tls1_2").status, 200)


E13 = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
MODERN_12 = ("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
             "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305")
CBC = ":ECDHE-RSA-AES128-SHA:ECDHE-RSA-AES256-SHA:AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA:AES256-SHA"
CHROME_SIGS = "ECDSA+SHA256:RSA-PSS+SHA256:RSA+SHA256:ECDSA+SHA384:RSA-PSS+SHA384:RSA+SHA384:RSA-PSS+SHA512:RSA+SHA512"
# name, options of s_client, (version, suite, kind of certificate, group) or None: refused
BROWSERS = [
    ("chrome", ["-ciphersuites", E13, "-cipher", MODERN_12 + CBC, "-curves", "X25519:P-256:P-384", "-sigalgs", CHROME_SIGS,
                "-alpn", "h2,http/1.1"], ("TLSv1.3", "TLS_AES_128_GCM_SHA256", "ecdsa", "X25519")),
    ("firefox", ["-ciphersuites", "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384", "-cipher",
                 MODERN_12 + CBC, "-curves", "X25519:P-256:P-384:P-521", "-sigalgs", "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:"
                 "RSA-PSS+SHA256:RSA-PSS+SHA384:RSA-PSS+SHA512:RSA+SHA256:RSA+SHA384:RSA+SHA512:ECDSA+SHA1:RSA+SHA1"],
     ("TLSv1.3", "TLS_AES_128_GCM_SHA256", "ecdsa", "X25519")),
    ("safari", ["-ciphersuites", "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256", "-curves",
                "X25519:P-256:P-384:P-521"], ("TLSv1.3", "TLS_AES_128_GCM_SHA256", "ecdsa", "X25519")),
    ("a phone without AES", ["-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"],
     ("TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256", "ecdsa", "X25519")),
    ("TLS 1.3 with RSA only", ["-tls1_3", "-sigalgs", "RSA-PSS+SHA256:RSA+SHA256"],
     ("TLSv1.3", "TLS_AES_128_GCM_SHA256", "rsa", "X25519")),
    ("TLS 1.3 with P-256 first", ["-tls1_3", "-curves", "P-256:P-384"], ("TLSv1.3", "TLS_AES_128_GCM_SHA256", "ecdsa", "P-256")),
    ("P-384 only", ["-tls1_3", "-curves", "P-384"], ("TLSv1.3", "TLS_AES_128_GCM_SHA256", "ecdsa", "P-384")),
    ("chrome of 2016", ["-tls1_2", "-cipher", MODERN_12 + CBC, "-curves", "X25519:P-256:P-384", "-sigalgs", CHROME_SIGS],
     ("TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256", "ecdsa", "X25519")),
    ("android 7", ["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305:" + MODERN_12, "-curves", "P-256"],
     ("TLSv1.2", "ECDHE-ECDSA-CHACHA20-POLY1305", "ecdsa", "P-256")),
    ("iOS 9", ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384",
               "-curves", "P-256:P-384:P-521"], ("TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256", "ecdsa", "P-256")),
    ("java 8", ["-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256" + CBC, "-sigalgs",
                "RSA+SHA256:RSA+SHA384:RSA+SHA512", "-curves", "P-256:P-384:P-521"],
     ("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256", "rsa", "P-256")),
    ("internet explorer 11 on windows 10", ["-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384:" + CBC[1:], "-sigalgs",
                                            "RSA+SHA256:RSA+SHA384:RSA+SHA1:ECDSA+SHA256", "-curves", "X25519:P-256:P-384"],
     ("TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384", "rsa", "X25519")),
    ("AES-256 only", ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"],
     ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384", "ecdsa", "X25519")),
    ("only CBC", ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA:ECDHE-RSA-AES256-SHA384:ECDHE-ECDSA-AES128-SHA256"], None),
    ("only RSA key exchange", ["-tls1_2", "-cipher", "AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA"], None),
    ("only finite fields", ["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384"], None),
    ("only anonymous", ["-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"], None),
    ("a group that we lack", ["-tls1_3", "-curves", "P-521"], None),
]
GROUPS = {"X25519": "X25519", "P-256": "prime256v1", "P-384": "secp384r1"}


def test_clients_of_all_ages(t):
    s, _, (ecdsa, rsa) = server(t, kinds=("ecdsa", "rsa"))
    kinds = {ecdsa.fingerprint: "ecdsa", rsa.fingerprint: "rsa"}
    for name, words, wanted in BROWSERS:
        a = s_client(s.port, *words)
        if not wanted:
            check_eq((a.suite, a.status), (None, None), name)
            check_in("alert handshake failure", a.err, name)
            continue
        key = a.field(r"Server Temp Key: (?:ECDH, )?([A-Za-z0-9-]+)")
        check_eq((a.version, a.suite, kinds.get(a.cert), key), wanted[:3] + (GROUPS[wanted[3]],), name)
        if "h2" not in " ".join(words):
            check_eq(a.status, 200, name)


def test_suites_can_be_chosen_and_whose_order_counts(t):
    s, _, pairs = server(t, 'cipher-suites "TLS_AES_256_GCM_SHA384" "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" '
                            '"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"')
    check_eq(s_client(s.port).suite, "TLS_AES_256_GCM_SHA384")
    check_eq(s_client(s.port, "-ciphersuites", "TLS_AES_128_GCM_SHA256", "-tls1_3").suite, None)
    ours_last = ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"]
    check_eq(s_client(s.port, *ours_last).suite, "ECDHE-ECDSA-AES256-GCM-SHA384")
    check_eq(s_client(s.port, "-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305").suite, None)
    s.check_reload(listener=tls_block(*pairs, more="prefer-client-ciphers #true"))
    check_eq(s_client(s.port, *ours_last).suite, "ECDHE-ECDSA-AES128-GCM-SHA256")
    check_eq(s_client(s.port, "-ciphersuites", "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256").suite, "TLS_AES_256_GCM_SHA384")


def test_an_rsa_certificate_alone_serves_everybody(t):
    s, ca, _ = server(t, kinds=("rsa",))
    for version in ("1.2", "1.3"):
        check_eq(tls_fetch(s.port, "/bytes/3", context(ca, version=version)).status, 200)


def test_a_larger_curve_and_a_chain(t):
    root = Authority(t)
    ca = Authority(t, "Between", parent=Authority(t, "Upper", parent=root))
    pair = ca.issue("a.example", ["a.example"], kind="p384")
    s = t.sentinel(t.origin(), listener=tls_block(pair))
    check_eq(tls_fetch(s.port, "/bytes/3", context(root)).status, 200)  # the intermediates are sent


def test_renegotiation_is_refused(t):
    s, _, _ = server(t)
    process = subprocess.Popen([tool("openssl"), "s_client", "-connect", "127.0.0.1:%d" % s.port, "-tls1_2", "-servername",
                                "a.example", "-msg"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = bytearray()
    while b"New, TLSv1.2" not in text:
        piece = os.read(process.stdout.fileno(), 65536)
        check(piece, "no handshake: %r", bytes(text))
        text += piece
    process.stdin.write(b"R\n")  # s_client: renegotiate now
    process.stdin.flush()
    while True:
        piece = os.read(process.stdout.fileno(), 65536)
        if not piece:
            break
        text += piece
        if b"no_renegotiation" in text:
            process.stdin.close()
    process.wait(10)
    after = bytes(text).split(b"RENEGOTIATING")[1]
    check(b"ServerHello" not in after, "%r", after[-800:])
    check(b"no_renegotiation" in after or b"alert" in after or b"write:errno" in after, "%r", after[-800:])
    check_eq(tls_fetch(s.port, "/bytes/1").status, 200)


def test_connections_end_with_close_notify(t):
    s, ca, _ = server(t, listener="keepalive-timeout-secs 1")
    for version in ("1.2", "1.3"):
        with TlsClient(s.port, context(ca, version=version)) as c:
            check_eq(c.get("/bytes/3", ("Connection", "close")).status, 200)
            check_eq(c.check_closed(), "fin")
        with TlsClient(s.port, context(ca, version=version)) as c:
            check_eq(c.get("/bytes/3").status, 200)
            check_eq(c.check_closed(), "fin")  # after keepalive-timeout-secs
        with TlsClient(s.port, context(ca, version=version)) as c:
            check_eq(c.get("/bytes/3").status, 200)
            c.close_notify()


def test_a_client_that_closes_its_half_gets_its_answer(t):
    s, ca, _ = server(t)
    with TlsClient(s.port, context(ca, version="1.3")) as c:
        c.send(REQUEST % (b"/bytes/400000", b"a.example"))
        c.socket.sendall(b"")
        socket.socket.shutdown(c.socket, socket.SHUT_WR)  # a FIN without close_notify
        r = c.response()
        check_eq((r.status, r.body == pattern(400000)), (200, True))


def test_first_records_are_small_and_later_ones_large(t):
    s, ca, _ = server(t)
    relay = Relay(t, s.port, keeps_answers=True)
    with TlsClient(relay.port, context(ca, version="1.3")) as c:
        check_eq(len(c.get("/bytes/1000000").body), 1000000)
        sizes = record_sizes(relay.answers[0])
    check(sizes[1:5] == [1400 + 17] * 4, "first records: %s", sizes[:12])  # but for one with the head
    check(max(sizes) > 16000, "largest record: %d", max(sizes))
    check(len(sizes) < 120, "%d records for a megabyte", len(sizes))


def record_sizes(data):
    """Sizes of application records, those of the handshake left out: what comes after the ticket."""
    at, sizes = 0, []
    while at + 5 <= len(data):
        size = int.from_bytes(data[at + 3:at + 5], "big")
        if data[at] == 23:
            sizes.append(size)
        at += 5 + size
    return sizes[5:]  # EncryptedExtensions, Certificate, CertificateVerify, Finished, ticket


def test_secrets_are_written_only_when_asked_for(t):
    s, ca, pairs = server(t)
    env_file, file = t.path("env.keys"), t.path("keys")
    check_eq(tls_fetch(s.port, "/bytes/1").status, 200)
    check(not os.path.exists(env_file) and not os.path.exists(file))
    s.write_config(listener=tls_block(*pairs, more='keylog-file "%s"' % file))
    for words in (["check"], ["explain", "GET", "/"]):
        err = s.command(*words, check_code=None)[2]
        check(not os.path.exists(file), "%s made the file", words)
        if words == ["check"]:
            check_eq(err.count("warning: "), 1, err)
    told = s.check_reload()
    check_in("`keylog-file`: whoever reads that file", told)  # nobody may overlook it
    check_eq(told.count("warning: "), 1, told)
    check_eq(tls_fetch(s.port, "/bytes/1", context(ca, version="1.3")).status, 200)
    wait_for(lambda: os.path.exists(file) and "CLIENT_TRAFFIC_SECRET_0" in open(file, encoding="ascii").read(), "the secrets")
    check_eq(os.stat(file).st_mode & 0o077, 0)


def test_keys_that_others_can_read_are_refused(t):
    s, ca, (pair,) = server(t)
    os.chmod(pair.key, 0o644)
    code, _, err = s.command("check", check_code=None)
    check_eq(code, 1)
    check_in(pair.key, err)
    check_in("chmod 600", err)
    os.chmod(pair.key, 0o600)
    s.command("check")
    other = ca.issue("b.example", ["b.example"])
    replace(pair.key, open(other.key, encoding="ascii").read())
    code, _, err = s.command("check", check_code=None)
    check_eq(code, 1)
    check(re.search(r"sentinel0\.kdl:\d+:\d+: error: .*key", err), "%s", err)
    secret = open(other.key, encoding="ascii").read().splitlines()[1]
    check(secret not in err + s.stderr(), "a key was printed")


def test_status_and_metrics_tell_of_certificates(t):
    s, _, (pair,) = server(t)
    wait_for(lambda: s.metric("tls_certificate_expiry_timestamp_seconds") > 1e9, "the end of the certificate")
    check_eq([c["fingerprint"] for c in s.status()["certificates"]], [pair.fingerprint])
    check_eq(s.status()["certificates"][0]["names"], ["a.example"])
    with TlsClient(s.port) as c:
        c.get("/bytes/1")
    line = json.loads(s.access_lines(1)[-1])
    check_in("TLSv1.3", json.dumps(line))
    check_in("TLS_AES_128_GCM_SHA256", json.dumps(line))


def test_a_thousand_idle_connections_hold_little(t):
    s, ca, _ = server(t, system="max-connections 4000", listener="max-handshakes 2000\nkeepalive-timeout-secs 600")
    tls = context(ca, version="1.3")
    clients = []

    def add(count):
        for _ in range(count):
            c = TlsClient(s.port, tls)
            check_eq(c.get("/bytes/1").status, 200)
            clients.append(c)
    base = s.baseline()
    add(1000)  # their handshakes leave holes in the heap, which the next ones use
    s.sleep_ticks(2.5)
    before = s.rss()
    add(1000)
    s.sleep_ticks(3.5)  # buffers are let go after one to two seconds
    per = (s.rss() - before) / 1000
    check(per < 20000 or scale() > 1, "%d bytes of userspace a connection", per)
    cpu = s.cpu()
    s.sleep_ticks(1)
    check(s.cpu() - cpu < 0.15 * scale(), "%.2f s of CPU in a second without work", s.cpu() - cpu)
    for c in clients[::50]:
        check_eq(c.get("/bytes/100").status, 200)
    for c in clients:
        c.close()
    base["sessions"] += 4  # idle connections to the origin
    base["ops_inflight"] += 12
    base["descriptors"] += 4
    s.wait_gauges(base, 20)


def test_a_plain_listener_beside_one_of_tls(t):
    ca = Authority(t)
    pair = ca.issue("a.example", ["a.example"])
    plain = t.port()
    s = t.sentinel(t.origin(), start=False)
    s.write_config(listeners='listener "main" {\naddress "127.0.0.1:%d"\n%s}\nlistener "plain" {\naddress "127.0.0.1:%d"\n}'
                   % (s.port, tls_block(pair), plain))
    s.start()
    check_in(["x-forwarded-proto", "http"], json.loads(fetch(plain, "/headers").body)["fields"])
    check_in(["x-forwarded-proto", "https"], json.loads(tls_fetch(s.port, "/headers").body)["fields"])


def test_upgrades_pass_through_tls(t):
    s, ca, _ = server(t, route="websocket #true")
    with TlsClient(s.port, context(ca)) as c:
        c.send(b"GET /upgrade HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
               b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
        check_eq(c.head().status, 101)
        data = pattern(200000)
        c.send(data)
        got = bytearray(c.reader.buffer)
        while len(got) < len(data):
            got += c.recv()
        check_eq(bytes(got) == data, True)


def test_a_stop_lets_answers_end(t):
    s, ca, _ = server(t, system="graceful-shutdown-timeout-secs 5")
    gate = threading.Event()

    def late(connection, request):
        gate.wait(10)
        connection.answer(body=b"late")
    s.origins[0].on("/late", late)
    tls = context(ca, version="1.3")
    idle, busy, half = TlsClient(s.port, tls), TlsClient(s.port, tls), Client(s.port)
    check_eq(idle.get("/bytes/1").status, 200)
    busy.send(REQUEST.replace(b"close", b"keep-alive") % (b"/late", b"a.example"))
    s.origins[0].wait_requests(2)
    half.send(hello_bytes()[:100])
    s.signal(signal.SIGTERM)
    check_eq(idle.check_closed(), "fin")  # with close_notify
    gate.set()
    r = busy.response()
    check_eq((r.status, r.body), (200, b"late"))
    check_eq(busy.check_closed(), "fin")
    check_eq(s.wait_exit(8), 0)
    half.close()


def test_listeners_come_and_go_and_change_what_they_speak(t):
    s, ca, pairs = server(t)
    tls = context(ca)
    kept, half = TlsClient(s.port, tls), Client(s.port).send(hello_bytes()[:50])
    check_eq(kept.get("/bytes/1").status, 200)
    s.check_reload(listener="")  # plain HTTP on the same address
    check_eq(fetch(s.port, "/bytes/1").status, 200)
    check_eq(kept.get("/bytes/1", host="a.example").status, 200)
    half.close()
    s.check_reload(listener=tls_block(*pairs))
    check_eq(tls_fetch(s.port, "/bytes/1", tls).status, 200)
    half = Client(s.port).send(hello_bytes()[:50])
    port = s.port
    s.check_reload(listeners='listener "other" {\naddress "127.0.0.1:%d"\n}' % t.port())
    wait_for(lambda: not is_open(port), "the listener to leave")
    half.send(hello_bytes()[50:])
    half.recv()
    half.close()
    wait_for(lambda: s.metric("open_connections") <= 1, "its connections to end")  # `kept` may stay


def is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False
