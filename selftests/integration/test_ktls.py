# SPDX-License-Identifier: GPL-2.0-only
# test_ktls.py - `ktls "auto"`: the kernel makes the records where it can, and nobody sees a difference where it cannot.
import os

from lib import check, check_eq
from lib import tls
from lib.origin import pattern

STATISTICS = "/proc/net/tls_stat"  # is there when the module is


def taken():
    """Connections that this kernel ever sent for; None: it has no TLS."""
    if not os.path.exists(STATISTICS):
        return None
    with open(STATISTICS, encoding="ascii") as file:
        return int(dict(line.split() for line in file)["TlsTxSw"])


def test_bodies_by_every_version_suite_and_protocol(t):
    ca = tls.Authority(t)
    pair = ca.issue("a.example", ["a.example"])
    s = t.sentinel(t.origin(), listener=tls.tls_block(pair, more='ktls "auto"'))
    url = "https://a.example:%d/bytes/3000000" % s.port
    words = ["--cacert", ca.cert, "--resolve", "a.example:%d:127.0.0.1" % s.port, "-o", t.path("got"), "-w",
             "%{http_version} %{http_code} %{num_connects}", url]
    rows = (["--tls13-ciphers", "TLS_AES_128_GCM_SHA256"], ["--tls13-ciphers", "TLS_AES_256_GCM_SHA384"],
            ["--tls13-ciphers", "TLS_CHACHA20_POLY1305_SHA256"],
            ["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256"],
            ["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-CHACHA20-POLY1305"])
    for row in rows:
        for version, flag in (("1.1", "--http1.1"), ("2", "--http2")):
            before, spliced = taken(), s.metric("body_bytes_total", engine="splice", direction="s2c")
            check_eq(tls.curl(flag, *row, *words), version + " 200 1", str(row))
            with open(t.path("got"), "rb") as file:
                check(file.read() == pattern(3000000), "%s: other bytes", row)
            if before is not None:
                check_eq(taken() - before, 1, "%s: the kernel did not take it" % row)
                # All but what came with the origin's head goes by splice(2); frames of HTTP/2 are made here.
                spliced = s.metric("body_bytes_total", engine="splice", direction="s2c") - spliced
                check((spliced > 2500000) == (version == "1.1"), "%s, HTTP/%s: %d bytes spliced", row, version, spliced)
