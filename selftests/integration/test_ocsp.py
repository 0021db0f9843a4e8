# SPDX-License-Identifier: GPL-2.0-only
# test_ocsp.py - stapled OCSP answers, fetched from `openssl ocsp`: kept, renewed, never waited for.
import os
import shutil
import socket
import time

from lib import check, check_eq, check_in, wait_for
from lib.case import Skip, scale
from lib.tls import Authority, Relay, Responder, context, read, s_client, sni_block, tls_block, tls_fetch

GOOD = "OCSP Response Status: successful"


def status(s, *words, name="a.example"):
    """What s_client with status_request says: (answer came, text)"""
    a = s_client(s.port, "-status", *words, name=name)
    check_eq(a.status, 200)
    return GOOD in a.text, a.text


def wait_staple(s, name="a.example", seconds=8):
    return wait_for(lambda: (lambda x: x[0] and x[1])(status(s, name=name)), lambda: "a staple; " + s.stderr()[-300:], seconds, 0.2)


def setup(t, more="", responder=None, start=True, **issue):
    """(proxy, authority, responder that runs unless given)"""
    ca = Authority(t)
    r = responder or Responder(t, ca)
    pair = ca.issue("a.example", ["a.example"], ocsp=r.url, **issue)
    with open(pair.cert, "a", encoding="ascii") as file:  # the issuer is needed to judge answers
        file.write(read(ca.cert))
    if not responder and start:
        r.start()
    s = t.sentinel(t.origin(), listener=tls_block(pair, more=more))
    s.pair = pair
    return s, ca, r


def test_an_answer_is_fetched_and_stapled(t):
    s, ca, r = setup(t)
    text = wait_staple(s)
    check_in("Cert Status: good", text)
    for version in ("-tls1_2", "-tls1_3"):
        check_eq(status(s, version)[0], True, version)
    check("OCSP" not in s_client(s.port).text, "a staple for who did not ask")
    check_eq(s.metric("ocsp_fetches_total", result="success"), 1)
    check_eq(s.status()["certificates"][0]["stapled"], True)
    a = s_client(s.port, "-status", "-CAfile", ca.cert, "-verify_return_error")
    check_in("Verify return code: 0 (ok)", a.text)


def test_answers_outlive_a_restart_and_a_reload(t):
    s, _, r = setup(t)
    wait_staple(s)
    r.stop()
    s.check_reload(listener=tls_block(s.pair) + "keepalive-timeout-secs 30\n")
    check_eq(status(s)[0], True)
    s.check_reload(listener=tls_block(s.pair, more="prefer-client-ciphers #true"))
    check_eq(status(s)[0], True)
    s.stop()
    kept = os.listdir(os.path.join(s.state_path, "ocsp"))
    check_eq(kept, [s.pair.fingerprint + ".der"])
    s.start()
    check_eq(status(s)[0], True)  # the responder is gone
    check_eq(s.metric("ocsp_fetches_total", result="success"), 0)


def certificate(ca, **issue):
    pair = ca.issue("a.example", ["a.example"], **issue)
    with open(pair.cert, "a", encoding="ascii") as file:
        file.write(read(ca.cert))
    return pair


def kept(s):
    try:
        return os.listdir(os.path.join(s.state_path, "ocsp"))
    except FileNotFoundError:
        return None


def test_the_first_certificate_with_a_responder_comes_by_a_reload(t):
    ca = Authority(t)
    r = Responder(t, ca)
    first, second = certificate(ca), certificate(ca, ocsp=r.url)
    r.start()
    s = t.sentinel(t.origin())
    check_eq(kept(s), None)  # nothing to keep, no folder
    s.check_reload(listener=tls_block(second))
    wait_staple(s)
    wait_for(lambda: kept(s) == [second.fingerprint + ".der"], lambda: "the file: %s; %s" % (kept(s), s.stderr()[-300:]))
    t.sentinel(t.origin(), listener=tls_block(second, more="ocsp-stapling #false"))
    check_eq(kept(t.proxies[-1]), None)
    s = t.sentinel(t.origin(), listener=tls_block(first))
    check_eq(kept(s), [])  # made at the start, when there are the rights for it
    second.put_into(first)
    wait_staple(s)
    wait_for(lambda: kept(s) == [second.fingerprint + ".der"], "the file")


def test_what_is_on_disk_is_judged_again(t):
    s, _, r = setup(t)
    wait_staple(s)
    r.stop()
    s.stop()
    path = os.path.join(s.state_path, "ocsp", s.pair.fingerprint + ".der")
    with open(path, "rb") as file:
        data = bytearray(file.read())
    data[80] ^= 1  # in what is signed
    with open(path, "wb") as file:
        file.write(data)
    s.start()
    wait_for(lambda: s.metric("ocsp_fetches_total", result="failure") >= 1, "the failed fetch")
    check_eq(status(s)[0], False)


def test_a_dead_responder_delays_nothing(t):
    listener = socket.create_server(("127.0.0.1", 0))  # accepts and is silent
    t.closers.append(listener.close)

    class Silent:
        url = "http://127.0.0.1:%d/" % listener.getsockname()[1]
    s, ca, _ = setup(t, responder=Silent)
    asked, _ = listener.accept()
    t.closers.append(asked.close)
    for _ in range(5):
        began = time.monotonic()
        check_eq(status(s)[0], False)
        check(time.monotonic() - began < 2 * scale(), "a handshake took %.1f s", time.monotonic() - began)
    began = time.monotonic()
    s.stop()
    check(time.monotonic() - began < 5 * scale(), "the stop took %.1f s", time.monotonic() - began)


def test_a_responder_with_an_address_that_is_dead(t):
    if os.geteuid() != 0 or not shutil.which("unshare"):
        raise Skip("only root can have an /etc/hosts of its own")
    ca = Authority(t)
    r = Responder(t, ca)
    relay = Relay(t, r.port)  # on 127.0.0.1 only
    hosts = t.write("hosts", "".join("127.0.0.%d %s.test\n" % (n, name) for name, order in (("one", (2, 3, 1)), ("two", (1, 2)), ("dead", (2, 3)))
                                     for n in order))
    pairs = []
    for name in ("one", "two", "dead"):
        pair = ca.issue(name + ".example", [name + ".example"], ocsp="http://%s.test:%d/" % (name, relay.port))
        with open(pair.cert, "a", encoding="ascii") as file:
            file.write(read(ca.cert))
        pairs.append(pair)
    r.start()
    s = t.sentinel(t.origin(), listener=tls_block(pairs[0], more=sni_block(pairs[1]) + sni_block(pairs[2])),
                   prefix=["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', hosts])
    for name in ("one.example", "two.example"):
        wait_staple(s, name)
    wait_for(lambda: s.metric("ocsp_fetches_total", result="failure") == 1, "the failed fetch")
    check_eq(s.metric("ocsp_fetches_total", result="success"), 2)
    check_eq(status(s, name="dead.example")[0], False)


def test_a_responder_that_comes_late(t):
    s, ca, r = setup(t, start=False)
    wait_for(lambda: s.metric("ocsp_fetches_total", result="failure") >= 1, "the failed fetch")
    check_eq(status(s)[0], False)
    check_in("ocsp: no answer from", s.stderr())
    check_eq(tls_fetch(s.port, "/bytes/1", context()).status, 200)


def test_revoked_certificates_are_not_stapled(t):
    ca = Authority(t)
    r = Responder(t, ca)
    pair = ca.issue("a.example", ["a.example"], ocsp=r.url)
    with open(pair.cert, "a", encoding="ascii") as file:
        file.write(read(ca.cert))
    ca.revoke(pair)
    r.start()
    s = t.sentinel(t.origin(), listener=tls_block(pair))
    wait_for(lambda: s.metric("ocsp_fetches_total", result="failure") >= 1, "the answer")
    check_in("revoked", s.stderr())
    check_eq(status(s)[0], False)


def test_answers_of_somebody_else_are_refused(t):
    ca, other = Authority(t), Authority(t)  # of the same name, with another key
    r = Responder(t, other).start()
    pair = ca.issue("a.example", ["a.example"], ocsp=r.url)
    with open(pair.cert, "a", encoding="ascii") as file:
        file.write(read(ca.cert))
    s = t.sentinel(t.origin(), listener=tls_block(pair))
    wait_for(lambda: s.metric("ocsp_fetches_total", result="failure") >= 1, "the answer")
    check_eq(status(s)[0], False)


def test_garbage_of_a_responder(t):
    for answer in (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", b"garbage\r\n\r\n", b"",
                   b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(200000)):
        listener = socket.create_server(("127.0.0.1", 0))

        class Fake:
            url = "http://127.0.0.1:%d/x?y" % listener.getsockname()[1]
        s, _, _ = setup(t, responder=Fake)
        sock, _ = listener.accept()
        request = b""
        while b"\r\n\r\n" not in request:
            request += sock.recv(65536)
        check(request.startswith(b"POST /x?y HTTP/1.1\r\n"), "%r", request)
        check_in(b"application/ocsp-request", request)
        try:
            sock.sendall(answer)
        except OSError:
            pass
        sock.close()
        listener.close()
        wait_for(lambda: s.metric("ocsp_fetches_total", result="failure") >= 1, "the failure")
        check_eq(status(s)[0], False)
        s.stop()


def test_a_configured_responder_and_none(t):
    s, ca, r = setup(t, start=False)
    relay = Relay(t, r.port)
    wait_for(lambda: s.metric("ocsp_fetches_total", result="failure") >= 1, "the failed fetch")
    r.start()
    s.check_reload(listener=tls_block(s.pair, more='ocsp-responder "http://127.0.0.1:%d/here"' % relay.port))
    wait_staple(s)
    check_in(b"POST /here ", bytes(relay.flights[0]))
    asked = len(relay.flights)
    off = t.sentinel(t.origin(), listener=tls_block(s.pair, more='ocsp-stapling #false\nocsp-responder "http://127.0.0.1:%d/"' % relay.port))
    off.sleep_ticks(2.5)
    check_eq((status(off)[0], len(relay.flights)), (False, asked))


def test_each_certificate_has_its_own_answer(t):
    s, ca, r = setup(t)
    second = ca.issue("b.example", ["b.example"], ocsp=r.url)
    with open(second.cert, "a", encoding="ascii") as file:
        file.write(read(ca.cert))
    r.stop()
    r.start()  # it reads its list at the start
    s.check_reload(listener=tls_block(s.pair, more=sni_block(second, "b.example")))
    one, two = wait_staple(s), wait_staple(s, "b.example")
    number = [x.split("Serial Number: ")[1].split()[0] for x in (one, two)]
    check(number[0] != number[1], "%r", number)


def test_must_staple(t):
    s, _, r = setup(t, start=False, is_must_staple=True)
    check_eq(tls_fetch(s.port, "/bytes/1", context()).status, 200)
    r.start()
    s.stop()
    s.start()
    check_in("Cert Status: good", wait_staple(s))


def test_must_staple_comes_before_all_others(t):
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)  # accepts and is silent
    t.closers.append(listener.close)
    ca = Authority(t)
    r = Responder(t, ca)
    slow = [certificate(ca, ocsp="http://127.0.0.1:%d/" % listener.getsockname()[1]) for _ in range(9)]
    pair, second = certificate(ca, ocsp=r.url, is_must_staple=True), certificate(ca, ocsp="http://127.0.0.1:1/", is_must_staple=True)
    r.start()
    names = ["n%d.example" % n for n in range(9)]
    block = [tls_block(slow[0], more="".join(sni_block(p, n) for p, n in zip(slow[1:], names)) + sni_block(pair, "a.example") + x)
             for x in ("", sni_block(second, "b.example"))]
    s = t.sentinel(t.origin(), listener=block[0])
    check_eq(s.stderr().count("demands an OCSP staple"), 1)
    check_in(pair.cert, s.stderr().split("demands an OCSP staple")[0].splitlines()[-1])
    wait_staple(s, seconds=4)
    wait_for(lambda: s.metric("tls_must_staple_missing") == 0, "the metric")
    s.check_reload(listener=block[1])
    check_eq((s.metric("tls_must_staple_missing"), s.stderr().count("demands an OCSP staple")), (1, 2))
    check_eq(tls_fetch(s.port, "/bytes/1", context(), name="b.example").status, 200)
    s.sleep_ticks(1.5)
    check_eq(s.stderr().count("demands an OCSP staple"), 2)  # once, not every second
