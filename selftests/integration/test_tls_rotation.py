# SPDX-License-Identifier: GPL-2.0-only
# test_tls_rotation.py - certificates change under load: no handshake fails, no connection is dropped, no wrong pair serves.
import signal
import threading
import time

from lib import check, check_eq, check_in, wait_for
from lib.case import scale
from lib.tls import Authority, TlsClient, context, read, replace, sni_block, tls_block, tls_fetch, tls_proxy

LONG = ("test_a_broken_pair_found_by_the_watch_keeps_the_old_one",)


class Load:
    """Clients that ask all the time: on kept connections, on new ones (full and resumed handshakes, both versions)."""

    def __init__(self, s, ca, target="/bytes/100"):
        self.s, self.ca, self.target = s, ca, target
        self.done, self.handshakes, self.lost, self.kept = 0, 0, [], 0
        self.seen = set()
        self.is_over = False
        self.threads = [threading.Thread(target=self.run, args=x, daemon=True) for x in (
            ("1.3", "kept"), ("1.2", "kept"), ("1.3", "new"), ("1.2", "new"), ("1.3", "resumed"))]
        for thread in self.threads:
            thread.start()

    def run(self, version, how):
        tls = context(self.ca, version=version)
        client = session = None
        while not self.is_over:
            try:
                if not client:
                    client = TlsClient(self.s.port, tls, session=session)
                    self.handshakes += 1
                    self.seen.add(client.cert)
                r = client.get(self.target, host="a.example")
                if r.status != 200:
                    self.lost.append("status %d" % r.status)
                self.done += 1
                if how == "kept":
                    self.kept += 1
                    if "close" in (r.get("connection") or "").lower():
                        self.lost.append("a kept connection was ended")
                        client = None
                    time.sleep(0.002)
                    continue
                session = client.socket.session if how == "resumed" else None
                client.close()
                client = None
            except Exception as error:
                self.lost.append("%s %s: %s: %s" % (version, how, type(error).__name__, error))
                client = session = None

    def stop(self):
        self.is_over = True
        for thread in self.threads:
            thread.join(10 * scale())
        check(not self.lost, "%d lost of %d: %s", len(self.lost), self.done + len(self.lost), self.lost[:3])


def cert_now(s):
    with TlsClient(s.port, context()) as c:
        return c.cert


def test_ten_rotations_by_sighup_under_load(t):
    s, ca = tls_proxy(t, workers=2)
    pairs = [ca.issue("a.example", ["a.example"]) for _ in range(10)]
    load = Load(s, ca)
    for pair in pairs:
        before = load.handshakes, load.kept
        pair.put_into(s.pair)
        s.signal(signal.SIGHUP)
        wait_for(lambda: cert_now(s) == pair.fingerprint, "the new certificate")
        wait_for(lambda: pair.fingerprint in load.seen and load.handshakes > before[0] + 10 and load.kept > before[1] + 10,
                 "the load to go on")
    load.stop()
    check_eq(s.metric("handshake_failures_total"), 0)
    check_eq(s.metric("config_reloads_total", result="success"), 10)
    wait_for(lambda: s.metric("snapshots") == 1, "old snapshots remain")


def test_rotations_by_the_watch_under_load(t):
    s, ca = tls_proxy(t, workers=2)
    pairs = [ca.issue("a.example", ["a.example"]) for _ in range(3)]
    load = Load(s, ca)
    for pair in pairs:
        pair.put_into(s.pair)
        wait_for(lambda: cert_now(s) == pair.fingerprint, "the new certificate", 10, 0.2)
    load.stop()
    check_eq(s.metric("handshake_failures_total"), 0)
    check(s.metric("config_reloads_total") == 0 or s.metric("config_reloads_total", result="failure") == 0)
    wait_for(lambda: s.metric("snapshots") <= 2, "old snapshots remain")  # the one that read the file stays


def test_a_broken_pair_found_by_the_watch_keeps_the_old_one(t):
    ca = Authority(t)
    good = ca.issue("b.example", ["b.example"])
    pair = ca.issue("a.example", ["a.example"])
    s = t.sentinel(t.origin(), listener=tls_block(pair, more=sni_block(good, "b.example")))
    old = pair.fingerprint
    cert, key = read(pair.cert), read(pair.key)
    replace(pair.cert, "-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n")
    wait_for(lambda: "the old ones stay" in s.stderr(), "the error in the log", 10)
    check_in(pair.cert, s.stderr())
    check_eq(cert_now(s), old)
    check_eq(tls_fetch(s.port, "/bytes/1", context(ca)).status, 200)
    said = s.stderr().count("the old ones stay")
    s.sleep_ticks(4.5)
    check_eq(s.stderr().count("the old ones stay"), said)  # once for each change
    replace(pair.cert, cert)
    replace(pair.key, read(good.key))  # which does not fit
    wait_for(lambda: s.stderr().count("the old ones stay") > said, "the error in the log", 10)
    check_eq(cert_now(s), old)
    new = ca.issue("a.example", ["a.example"])
    new.put_into(pair)
    wait_for(lambda: cert_now(s) == new.fingerprint, "the new certificate", 12, 0.2)
    check(key.splitlines()[1] not in s.stderr(), "a key was printed")


def test_a_broken_pair_keeps_no_other_listener_from_its_renewal(t):
    ca = Authority(t)
    bad, good = ca.issue("a.example", ["a.example"]), ca.issue("a.example", ["a.example"])
    port = t.port()
    s = t.sentinel(t.origin(), start=False)
    s.write_config(listeners="\n".join('listener "l%d" {\naddress "127.0.0.1:%d"\n%s\n}' % (p, p, tls_block(pair)) for p, pair in (
        (s.port, bad), (port, good))))
    s.start()
    replace(bad.cert, "nothing\n")
    new = ca.issue("a.example", ["a.example"])
    new.put_into(good)

    def now():
        with TlsClient(port, context()) as c:
            return c.cert == new.fingerprint
    wait_for(now, "the renewed certificate", 12, 0.2)
    check_in("the old ones stay", s.stderr())
    check_in(bad.cert, s.stderr())
    check_eq(tls_fetch(s.port, "/bytes/1", context(ca)).status, 200)


def test_a_broken_certificate_in_a_reload_refuses_the_whole_file(t):
    s, ca = tls_proxy(t)
    old, generation = s.pair.fingerprint, s.metric("config_generation")
    wrong = ca.issue("a.example", ["a.example"])
    replace(wrong.key, read(ca.issue("x", ["x"]).key))
    expected = [(tls_block(wrong), wrong.key), (tls_block(s.pair).replace(s.pair.cert, "/nowhere.pem"), "/nowhere.pem"),
                (tls_block(s.pair, more='client-auth "required"\nca-file "%s"' % s.pair.key), s.pair.key)]
    for block, text in expected:
        is_ok, out = s.reload(listener=block, route='policies { response-headers { set { X-New "1"; }; }; }')
        check(not is_ok and text in out and "error" in out, "%s %s", is_ok, out)
        r = tls_fetch(s.port, "/bytes/1", context(ca))
        check_eq((r.status, r.get("x-new"), cert_now(s)), (200, None, old))
    check_eq(s.metric("config_generation"), generation)
    check_eq(s.metric("config_reloads_total", result="failure"), 3)
    s.signal(signal.SIGHUP)
    wait_for(lambda: s.metric("config_reloads_total", result="failure") == 4, "the failure")
    check_eq(cert_now(s), old)


def test_a_refused_reload_takes_no_certificate_from_the_watch(t):
    s, ca = tls_proxy(t, workers=1)
    other = ca.issue("b.example", ["b.example"])
    replace(other.cert, read(ca.issue("x", ["x"]).cert))  # not of its key: found after the other was loaded
    for changes, text in (({"workers": 2}, "restart"),
                          ({"workers": 1, "listener": tls_block(s.pair) + '\n}\nlistener "z" {\naddress "127.0.0.1:%d"\n%s' %
                            (t.port(), tls_block(other))}, other.key)):
        renewed = ca.issue("a.example", ["a.example"])
        renewed.put_into(s.pair)
        is_ok, out = s.reload(**changes)
        check(not is_ok and text in out, "%s %s", is_ok, out)
        wait_for(lambda: cert_now(s) == renewed.fingerprint, "the new certificate", 10, 0.2)


def test_connections_keep_what_they_began_with(t):
    s, ca = tls_proxy(t)
    tls = context(ca)
    with TlsClient(s.port, tls) as c:
        check_eq(c.get("/bytes/1").status, 200)
        new = ca.issue("a.example", ["a.example"])
        new.put_into(s.pair)
        check(s.admin("reload")[0], "reload")
        check_eq(cert_now(s), new.fingerprint)
        check_eq(c.get("/bytes/1000000").status, 200)  # the old context lives on
        # A name that moves to another certificate: the connection is not for it any more.
        other = ca.issue("b.example", ["b.example"])
        s.check_reload(listener=tls_block(new, more=sni_block(other, "b.example")))
        check_eq(c.get("/bytes/1").status, 200)


def test_reload_during_handshakes(t):
    s, ca = tls_proxy(t, workers=2)
    errors, is_over = [], []

    def shake(version):
        tls = context(ca, version=version)
        while not is_over:
            try:
                TlsClient(s.port, tls).close()
            except Exception as error:
                errors.append("%s: %s" % (type(error).__name__, error))
    threads = [threading.Thread(target=shake, args=(v,), daemon=True) for v in ("1.2", "1.3", "1.3")]
    for thread in threads:
        thread.start()
    for i in range(20):
        if i % 2:
            ca.issue("a.example", ["a.example"]).put_into(s.pair)
        s.check_reload(listener=tls_block(s.pair, more="prefer-client-ciphers #%s" % ("true" if i % 2 else "false")))
    is_over.append(True)
    for thread in threads:
        thread.join()
    check_eq(errors, [])


def test_an_expired_certificate_is_a_warning(t):
    """One forgotten site must not keep the others down after a reboot."""
    ca = Authority(t)
    pair = ca.issue("a.example", ["a.example"], ends_secs=-60)
    s = t.sentinel(t.origin(), start=False, listener=tls_block(pair))
    code, _, err = s.command("check", check_code=None)
    check_eq(code, 0)
    check_in("has expired on", err)
    check_in(pair.cert, err)


def test_a_renewal_that_cannot_be_loaded_now_is_told(t):
    s, ca = tls_proxy(t)
    o = s.origins[0]
    clients = []
    for i in range(40):
        c = TlsClient(s.port, context())
        c.send(b"GET /never HTTP/1.1\r\nHost: a.example\r\n\r\n")  # holds the generation that serves now
        o.wait_requests(len(clients) + 1)
        clients.append(c)
        if not s.reload(route='policies { response-headers { set { X-Generation "%d"; }; }; }' % i)[0]:
            break
    first, renewed = cert_now(s), ca.issue("a.example", ["a.example"])
    renewed.put_into(s.pair)
    line = "certificates: changed files are not loaded yet: "
    wait_for(lambda: line in s.stderr(), lambda: "a line in the log: " + s.stderr()[-500:], 10)
    check_in("configurations are still in use", s.stderr().split(line)[1].splitlines()[0])
    check_eq(cert_now(s), first)
    o.gate.set()
    for c in clients:
        check_eq(c.response().body, b"at last")
