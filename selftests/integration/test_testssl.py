# SPDX-License-Identifier: GPL-2.0-only
# test_testssl.py - testssl.sh on a listener in default settings: protocols, suites, preferences, vulnerabilities.
import json
import os
import subprocess

from lib import check
from lib.case import scale
from lib.tls import Authority, tls_block, tool

LIMIT_S = 300
LONG = ("test_nothing_above_info",)

# Not ours to decide: policy of a site, its DNS, the certificate of this test, and what the local tool lacks.
IGNORED = ("HSTS", "security_headers", "DNS_CAArecord")


def is_fine(finding):
    if finding["severity"] == "WARN":
        # "... not supported by local OpenSSL", "No engine or GOST support via engine with your /usr/bin/openssl"; and
        # its s_client without input may leave before the ticket is there.
        return ("local OpenSSL" in finding["finding"] or tool("openssl") in finding["finding"]
                or finding["id"].startswith("sessionresumption_"))
    return finding["severity"] in ("OK", "INFO") or finding["id"].startswith("cert") or finding["id"] in IGNORED


def test_nothing_above_info(t):
    ca = Authority(t)
    pairs = [ca.issue("a.example", ["a.example", "localhost"], kind=kind) for kind in ("ecdsa", "rsa")]
    s = t.sentinel(t.origin(), listener=tls_block(*pairs))
    path = t.path("findings.json")
    done = subprocess.run([tool("testssl"), "--fast", "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--ip",
                           "127.0.0.1", "--openssl", tool("openssl"), "--add-ca", ca.cert, "--jsonfile", path,
                           "https://localhost:%d/" % s.port], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=290 * scale(), cwd=t.dir,
                          env=dict(os.environ, TMPDIR=t.dir, TERM="dumb"))
    text = done.stdout.decode("utf-8", "replace")
    check(os.path.exists(path), "testssl wrote nothing: %s", text[-2000:])
    with open(path, encoding="utf-8") as file:
        findings = json.load(file)
    bad = [f for f in findings if not is_fine(f)]
    check(not bad, "%s", json.dumps(bad, indent=1))
    tested = {f["id"] for f in findings}
    for part in ("TLS1", "TLS1_1", "TLS1_2", "TLS1_3", "ALPN", "PFS", "cipher_order", "heartbleed", "CCS", "ticketbleed", "ROBOT",
                 "secure_renego", "secure_client_renego", "CRIME_TLS", "POODLE_SSL", "SWEET32", "FREAK", "DROWN", "LOGJAM", "BEAST",
                 "LUCKY13", "RC4"):
        check(any(x == part or x.startswith(part + "_") for x in tested), "%s was not tested: %s", part, sorted(tested))
