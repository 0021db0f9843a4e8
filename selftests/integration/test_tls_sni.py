# SPDX-License-Identifier: GPL-2.0-only
# test_tls_sni.py - which certificate a client gets, and which hosts its connection may then carry.
import json

from lib import check_eq, check_in
from lib.tls import Authority, TlsClient, context, curl, refusal, s_client, sni_block, tls_block, tls_fetch


def cert_of(s, name, *words):
    return s_client(s.port, *words, name=name).cert


def names(t, more="", key="hostnames", **keys):
    """A default certificate and others for names and wildcards: (proxy, {name: certificate}, authority)."""
    ca = Authority(t)
    c = {"default": ca.issue("default.example", ["default.example"])}
    for name, hosts in (("a", ["a.example"]), ("star", ["*.star.example"]), ("exact", ["x.star.example"]),
                        ("deep", ["*.deep.star.example"])):
        c[name] = ca.issue(name, hosts)
    blocks = sni_block(c["a"], "a.example", "second.example") + sni_block(c["star"], "*.star.example")
    blocks += sni_block(c["exact"], "x.star.example") + sni_block(c["deep"])  # the last one: names of the certificate
    s = t.sentinel(t.origin(), listener=tls_block(c["default"], more=blocks + more), **keys)
    return s, c, ca


def test_exact_names_win_over_wildcards(t):
    s, c, _ = names(t)
    for name, wanted in (("a.example", "a"), ("second.example", "a"), ("A.eXample", "a"), ("y.star.example", "star"),
                         ("X.star.example", "exact"), ("z.x.star.example", "star"), ("a.b.star.example", "star"),
                         ("q.deep.star.example", "deep"), ("star.example", "default"), ("deep.star.example", "star"),
                         ("unknown.example", "default"), ("default.example", "default"), (None, "default")):
        for version in ("-tls1_2", "-tls1_3"):
            check_eq(cert_of(s, name, version), c[wanted].fingerprint, "%s %s" % (name, version))


def test_kind_of_key_follows_the_offer(t):
    ca = Authority(t)
    pairs = {kind: ca.issue("a", ["a.example", "b.example"], kind=kind) for kind in ("rsa", "ecdsa")}
    default = ca.issue("d", ["d.example"])
    s = t.sentinel(t.origin(), listener=tls_block(default, more="".join(sni_block(p, "a.example") for p in pairs.values())))
    for words, kind in (([], "ecdsa"), (["-sigalgs", "RSA-PSS+SHA256:ECDSA+SHA256"], None), (["-sigalgs", "RSA-PSS+SHA256"], "rsa"),
                        (["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "rsa"),
                        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], "ecdsa"),
                        (["-tls1_2", "-sigalgs", "RSA+SHA256"], "rsa")):
        cert = cert_of(s, "a.example", *words)
        if kind:
            check_eq(cert, pairs[kind].fingerprint, str(words))
        else:
            check_in(cert, [p.fingerprint for p in pairs.values()])
    check_eq(s_client(s.port, "-sigalgs", "RSA-PSS+SHA256", name="d.example").suite, None)  # the other has ECDSA only


def test_strict_sni_refuses_with_unrecognized_name(t):
    s, c, ca = names(t, "strict-sni #true")
    for name in ("unknown.example", None, "star.example"):
        for version in ("1.2", "1.3"):
            check_eq(refusal(s.port, context(version=version), name), "tlsv1 unrecognized name", "%s %s" % (name, version))
    check_eq(cert_of(s, "a.example"), c["a"].fingerprint)
    check_eq(cert_of(s, "default.example"), c["default"].fingerprint)
    check_eq(s.metric("handshake_failures_total", reason="unrecognized_name"), 6)
    # Then no default is needed.
    s.check_reload(listener='protocol "https"\ntls {\nstrict-sni #true\n%s}\n' % sni_block(c["a"], "a.example"))
    check_eq(cert_of(s, "a.example"), c["a"].fingerprint)
    check_eq(refusal(s.port, context(), "default.example"), "tlsv1 unrecognized name")


def test_names_that_are_none_are_refused_or_get_the_default(t):
    s, c, _ = names(t)
    for name in ("a.example.", "a_b.example", "-", "x" * 63 + ".example", "1.2.3.4"):
        a = s_client(s.port, name=name, request=b"GET / HTTP/1.1\r\nHost: default.example\r\nConnection: close\r\n\r\n")
        check_in(a.cert, (c["default"].fingerprint, c["a"].fingerprint if name == "a.example." else None, None), name)
    check_eq(cert_of(s, "a.example"), c["a"].fingerprint)


CASES = [  # SNI, Host, status
    ("a.example", "a.example", 200), ("a.example", "A.EXAMPLE:443", 200), ("a.example", "second.example", 200),
    ("a.example", "default.example", 421), ("a.example", "unknown.example", 421), ("a.example", "y.star.example", 421),
    ("y.star.example", "z.star.example", 200), ("y.star.example", "x.star.example", 421),
    ("x.star.example", "y.star.example", 421), ("unknown.example", "other.example", 200),
    ("unknown.example", "a.example", 421), (None, "default.example", 200), (None, "a.example", 421),
]


def test_a_host_of_another_certificate_is_misdirected_on_http1(t):
    s, _, _ = names(t)
    for name, host, status in CASES:
        with TlsClient(s.port, name=name) as c:
            r = c.get("/bytes/1", host=host)
            check_eq(r.status, status, "%s %s" % (name, host))
    seen = {r.get("host") for r in t_origin(s).requests}
    check_eq(seen & {"unknown.example", "x.star.example"}, set())  # nothing of those reached the origin
    with TlsClient(s.port, name="a.example") as c:  # a connection that has served others
        check_eq(c.get("/bytes/1", host="a.example").status, 200)
        check_eq(c.get("/bytes/1", host="y.star.example").status, 421)


def t_origin(s):
    return s.origins[0]


def test_a_host_of_another_certificate_is_misdirected_on_http2(t):
    s, _, ca = names(t)
    for name, host, status in CASES:
        if name:
            got = curl("--http2", "-k", "--resolve", "%s:%d:127.0.0.1" % (name, s.port), "-o", t.path("out"), "-w",
                       "%{http_version} %{http_code}", "-H", "Host: " + host, "https://%s:%d/bytes/1" % (name, s.port))
            check_eq(got, "2 %d" % status, "%s %s" % (name, host))
    line = [json.loads(x) for x in s.access_lines(len(CASES) - 2) if '"status":421' in x.replace(" ", "")]
    check_eq(len(line), sum(1 for c in CASES if c[0] and c[2] == 421))


def test_strict_sni_and_misdirected_hosts(t):
    s, _, _ = names(t, "strict-sni #true")
    for name, host, status in (("a.example", "a.example", 200), ("a.example", "second.example", 200),
                               ("a.example", "unknown.example", 421), ("default.example", "default.example", 200)):
        check_eq(tls_fetch(s.port, "/bytes/1", name=name, host=host).status, status, "%s %s" % (name, host))


def test_two_certificates_of_one_name(t):
    ca = Authority(t)
    one, two = ca.issue("1", ["a.example"]), ca.issue("2", ["a.example"])
    s = t.sentinel(t.origin(), start=False, listener=tls_block(one, more=sni_block(one, "a.example") + sni_block(two, "a.example")))
    code, _, err = s.command("check", check_code=None)
    check_eq(code, 1)
    check_in("a.example is in two sni blocks", err)
    s.write_config(listener=tls_block(one, more=sni_block(one, "a.example") + sni_block(two, "a.example", key="priority-hostnames")))
    s.start()
    check_eq(cert_of(s, "a.example"), two.fingerprint)


def test_tickets_do_not_cross_certificates(t):
    s, c, _ = names(t)
    tls = context(version="1.2")  # which has the name in the session; 1.3 below by s_client
    with TlsClient(s.port, tls, "a.example") as client:
        client.get("/bytes/1", host="a.example")
        session = client.socket.session
    with TlsClient(s.port, tls, "a.example", session=session) as client:
        check_eq(client.is_resumed, True)
    with TlsClient(s.port, tls, "x.star.example", session=session) as client:
        check_eq((client.is_resumed, client.cert), (False, c["exact"].fingerprint))
    file = t.path("session")
    s_client(s.port, "-sess_out", file, name="a.example")
    check_eq(s_client(s.port, "-sess_in", file, name="a.example").is_resumed, True)
    other = s_client(s.port, "-sess_in", file, name="y.star.example")
    check_eq((other.is_resumed, other.cert), (False, c["star"].fingerprint))
