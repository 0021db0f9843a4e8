# SPDX-License-Identifier: GPL-2.0-only
# test_mtls.py - certificates of clients: asked for, judged, told to origins; whoever is refused is told and written down.
import json
import os

from lib import check, check_eq, check_in, fetch, wait_for
from lib.tls import Authority, TlsClient, context, curl, refusal, s_client, tls_block, tls_fetch

FIELDS = ("X-Client-Cert-Verified", "X-Client-Cert-Subject", "X-Client-Cert-Fingerprint", "X-Client-Cert-SAN")


def setup(t, more="", mode="required", ca=None, start=True, **keys):
    """(proxy, server's authority, clients' authority)"""
    web, people = Authority(t, "Web CA"), ca or Authority(t, "People CA")
    pair = web.issue("a.example", ["a.example"])
    block = tls_block(pair, more='client-auth "%s"\nca-file "%s"\n%s' % (mode, people.cert, more))
    s = t.sentinel(t.origin(), listener=block, start=start, **keys)
    s.pair = pair
    return s, web, people


def block(s, people, more="", mode="required"):
    return tls_block(s.pair, more='client-auth "%s"\nca-file "%s"\n%s' % (mode, people.cert, more))


def person(people, name="alice", names=("alice.example", "URI:spiffe://org/alice", "IP:192.0.2.1"), **keys):
    return people.issue(name, names, usage="clientAuth", organization="Org", **keys)


def told(s, tls, fields=(), port=None):
    """What the origin is told: {field: value} of the four, in lower case."""
    r = tls_fetch(port or s.port, "/headers", tls, fields=fields)
    check_eq(r.status, 200)
    got = [(n.lower(), v) for n, v in json.loads(r.body)["fields"]]
    for name in FIELDS:
        check(sum(1 for n, _ in got if n == name.lower()) <= 1, "%s twice: %r", name, got)
    return {n: v for n, v in got if "cert" in n}


def test_required_certificates_are_told_to_the_origin(t):
    s, web, people = setup(t)
    alice = person(people)
    for version in ("1.2", "1.3"):
        got = told(s, context(web, cert=alice, version=version), [(f, "forged") for f in FIELDS])
        check_eq(got["x-client-cert-verified"], "SUCCESS")
        check_eq(got["x-client-cert-subject"], "CN=alice,O=Org")
        check_eq(got["x-client-cert-fingerprint"], alice.fingerprint)
        for name in ("DNS:alice.example", "URI:spiffe://org/alice", "IP:192.0.2.1"):
            check_in(name, got["x-client-cert-san"])


def test_clients_can_neither_remove_nor_imitate_the_fields(t):
    s, web, people = setup(t)
    alice = person(people)
    got = told(s, context(web, cert=alice), [("Connection", "close, " + ", ".join(FIELDS))])
    check_eq(got["x-client-cert-verified"], "SUCCESS")
    check_eq(got["x-client-cert-subject"], "CN=alice,O=Org")
    alike = ["x_client_cert_subject", "X-CLIENT_cert-subject", "X.Client.Cert.SAN", "x_client_cert_verified"]
    got = told(s, context(web, cert=alice), [(f, "forged") for f in alike])
    check_eq([v for v in got.values() if v == "forged"], [])
    check_eq(got["x-client-cert-subject"], "CN=alice,O=Org")


NO_CERT = {"1.2": "sslv3 alert handshake failure", "1.3": "tlsv13 alert certificate required"}


def audit(s, reason, count=1):
    """The lines about refused certificates with this reason."""
    path = os.path.join(s.case.dir, "audit.log")

    def lines():
        with open(path, encoding="utf-8") as file:
            found = [json.loads(line) for line in file]
        found = [x for x in found if x.get("reason") == reason]
        return found if len(found) >= count else None
    return wait_for(lines, "%d lines of the audit log: %s" % (count, reason))


def audit_keys(t):
    return {"top": "", "access": '}\naudit-log {\nfile "%s"\n' % t.path("audit.log")}


def test_refusals_have_the_right_alert_and_a_line(t):
    people = Authority(t, "People CA")
    s, web, _ = setup(t, ca=people, **audit_keys(t))
    expired = person(people, "old", ends_secs=-60)
    future = person(people, "young", begins_secs=86400)
    stranger = person(Authority(t, "Other CA"), "mallory")
    alone = Authority(t, "Alone")
    wrong_use = people.issue("server", ["server"], usage="serverAuth")
    reasons = []
    for version in ("1.2", "1.3"):
        for pair, alert, reason in ((None, NO_CERT[version], "no_certificate"),
                                    (expired, "sslv3 alert certificate expired", "expired"),
                                    (future, "sslv3 alert bad certificate", "not_yet_valid"),
                                    (stranger, "tlsv1 alert unknown ca", "unknown_ca"),
                                    (alone, "tlsv1 alert unknown ca", "self_signed"),
                                    (wrong_use, "sslv3 alert unsupported certificate", "bad_certificate")):
            got = refusal(s.port, context(web, cert=pair, version=version))
            check_eq(got, alert, "%s %s" % (reason, version))
            reasons.append(reason)
    for reason in set(reasons):
        wait_for(lambda: s.metric("handshake_failures_total", reason=reason) == 2, "the count of " + reason)
        check_eq([x["client_ip"] for x in audit(s, reason, 2)], ["127.0.0.1", "127.0.0.1"], reason)
    check_eq(s.origins[0].requests, [])
    check_eq(told(s, context(web, cert=person(people)))["x-client-cert-verified"], "SUCCESS")


def test_optional_certificates(t):
    people = Authority(t, "People CA")
    s, web, _ = setup(t, mode="optional", ca=people)
    got = told(s, context(web), [(f, "forged") for f in FIELDS])
    check_eq(got.pop("x-client-cert-verified"), "NONE")
    check_eq(got, {})
    check_eq(told(s, context(web, cert=person(people)))["x-client-cert-verified"], "SUCCESS")
    check_eq(refusal(s.port, context(web, cert=person(Authority(t, "Other"), "mallory"))), "tlsv1 alert unknown ca")


def test_copies_of_the_fields_are_removed_on_every_listener(t):
    people = Authority(t, "People CA")
    s, web, _ = setup(t, ca=people, start=False)
    plain, tls = t.port(), t.port()
    own = 'client-cert-headers {\nsubject "X-Who"\nverified "X-Ok"\n}'
    s.write_config(listeners="\n".join('listener "%s" {\naddress "127.0.0.1:%d"\n%s\n}' % x for x in (
        ("mtls", s.port, block(s, people, own)), ("tls", tls, tls_block(s.pair)), ("plain", plain, ""))))
    s.start()
    forged = [("X-Who", "CN=root"), ("x-ok", "SUCCESS"), ("X-CLIENT-CERT-FINGERPRINT", "00"), ("X-Client-Cert-SAN", "DNS:a")]
    got = json.loads(tls_fetch(s.port, "/headers", context(web, cert=person(people)), fields=forged).body)["fields"]
    got = [(n.lower(), v) for n, v in got]
    check_eq([v for n, v in got if n == "x-who"], ["CN=alice,O=Org"])
    check_eq([v for n, v in got if n == "x-ok"], ["SUCCESS"])
    for fields in (json.loads(tls_fetch(tls, "/headers", fields=forged).body)["fields"],
                   json.loads(fetch(plain, "/headers", fields=forged).body)["fields"]):
        names = {n.lower() for n, _ in fields}
        check(not names & {"x-who", "x-ok", "x-client-cert-fingerprint", "x-client-cert-san"}, "%r", fields)


def test_hostile_names_in_a_certificate_stay_one_field(t):
    s, web, people = setup(t)
    evil = people.issue("evil,O=Admin", ["e.example", "URI:http://x/%0d%0aX-Evil:1"], usage="clientAuth")
    got = told(s, context(web, cert=evil))
    check_eq(got["x-client-cert-subject"], "CN=evil\\,O=Admin")
    check_in("DNS:e.example", got["x-client-cert-san"])
    check(not any("evil" in n for n in got), "%r", got)


def test_revoked_certificates(t):
    people = Authority(t, "People CA")
    alice, bob = person(people, "alice"), person(people, "bob")
    people.revoke(bob)
    s, web, _ = setup(t, 'crl-file "%s"' % people.crl(), ca=people, **audit_keys(t))
    check_eq(told(s, context(web, cert=alice))["x-client-cert-verified"], "SUCCESS")
    check_eq(refusal(s.port, context(web, cert=bob)), "sslv3 alert certificate revoked")
    check_eq(audit(s, "revoked")[-1]["client_ip"], "127.0.0.1")
    people.revoke(alice)
    people.crl()
    check(s.admin("reload")[0], "reload")
    check_eq(refusal(s.port, context(web, cert=alice)), "sslv3 alert certificate revoked")


def test_a_list_that_has_ended_lets_nobody_in(t):
    people = Authority(t, "People CA")
    s, web, _ = setup(t, 'crl-file "%s"' % people.crl(days=-1), ca=people)
    check(refusal(s.port, context(web, cert=person(people))) is not None, "a client was let in with an old list")
    wait_for(lambda: s.metric("handshake_failures_total", reason="crl") == 1, "the count")


def test_a_revoked_client_cannot_resume(t):
    people = Authority(t, "People CA")
    alice = person(people)
    s, web, _ = setup(t, 'crl-file "%s"' % people.crl(), ca=people)
    tls = context(web, cert=alice, version="1.3")
    with TlsClient(s.port, tls) as c:
        check_eq(c.get("/bytes/1").status, 200)
        session = c.socket.session
    with TlsClient(s.port, tls, session=session) as c:
        check_eq((c.get("/headers").status, c.is_resumed), (200, True))
        check_in(alice.fingerprint, c.get("/headers").body.decode())  # as in the full handshake
    people.revoke(alice)
    people.crl()
    check(s.admin("reload")[0], "reload")
    check_eq(refusal(s.port, tls, session=session), "sslv3 alert certificate revoked")


def test_depth_of_chains(t):
    root = Authority(t, "Root")
    one = Authority(t, "One", parent=root)
    two = Authority(t, "Two", parent=one)
    s, web, _ = setup(t, "verify-depth 1", ca=root)
    for issuer, wanted in ((root, None), (one, None), (two, "tlsv1 alert unknown ca")):
        check_eq(refusal(s.port, context(web, cert=person(issuer))), wanted, issuer.name)
    wait_for(lambda: s.metric("handshake_failures_total", reason="chain_too_long") == 1, "the count")
    s.check_reload(listener=block(s, root, "verify-depth 0"))
    for issuer, is_served in ((root, True), (one, False)):
        check_eq(refusal(s.port, context(web, cert=person(issuer))) is None, is_served, issuer.name)


def test_authorities_are_named_to_clients(t):
    s, _, _ = setup(t)
    check_in("Acceptable client certificate CA names", s_client(s.port).text)
    check_in("People CA", s_client(s.port).text.split("Acceptable client certificate CA names")[1])


def test_wrong_settings_are_told(t):
    s, _, people = setup(t, start=False)
    empty = t.write("empty.pem", "no certificate\n")
    for more, text in (('client-auth "required"', "`client-auth` needs a `ca-file`"),
                       ('ca-file "%s"' % people.cert, "`ca-file` has no effect without `client-auth`"),
                       ('client-auth "required"\nca-file "%s"' % empty, empty),
                       ('client-auth "required"\nca-file "/nowhere"', "/nowhere"),
                       ('client-auth "required"\nca-file "%s"\nearly-data #true' % people.cert, "early-data")):
        s.write_config(listener=tls_block(s.pair, more=more))
        code, _, err = s.command("check", check_code=None)
        check_eq(code, 1, more)
        check_in(text, err)


def test_certificates_over_http2(t):
    s, web, people = setup(t)
    alice = person(people)
    words = ["--http2", "--cacert", web.cert, "--resolve", "a.example:%d:127.0.0.1" % s.port, "-H", "X-Client-Cert-Subject: forged",
             "https://a.example:%d/headers" % s.port]
    got = [(n.lower(), v) for n, v in json.loads(curl("--cert", alice.cert, "--key", alice.key, *words))["fields"]]
    check_eq([v for n, v in got if n == "x-client-cert-subject"], ["CN=alice,O=Org"])
    check_eq([v for n, v in got if n == "x-client-cert-fingerprint"], [alice.fingerprint])
    check_eq(curl(*words, check_code=None), "")
    check_eq(len(s.origins[0].requests), 1)


def test_s_client_with_a_certificate(t):
    s, web, people = setup(t)
    alice = person(people)
    for version in ("-tls1_2", "-tls1_3"):
        check_eq(s_client(s.port, version, "-cert", alice.cert, "-key", alice.key).status, 200)
        check_eq(s_client(s.port, version).status, None)
