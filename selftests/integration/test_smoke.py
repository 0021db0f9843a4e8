# SPDX-License-Identifier: GPL-2.0-only
# test_smoke.py - one proxy of two workers and every protocol by curl: short enough for an emulated machine.
from lib import Client, check, check_eq
from lib import tls
from lib.h2 import H2C
from lib.origin import pattern
from test_tunnel import echoes, tunnel_open

SIZE = 300000


def test_every_protocol_bodies_reload_and_tunnel(t):
    ca = tls.Authority(t)
    pair = ca.issue("a.example", ["a.example"])
    s = t.sentinel(t.origin(), workers=2, route="websocket #true", start=False)
    ports = {"plain": s.port, "h2c": t.port(), "tls": t.port()}
    more = {"plain": "", "h2c": H2C, "tls": tls.tls_block(pair)}
    s.write_config(listeners="\n".join('listener "%s" {\naddress "127.0.0.1:%d"\n%s\n}' % (n, ports[n], more[n]) for n in ports))
    s.start()
    with open(t.path("body"), "wb") as file:
        file.write(pattern(SIZE))

    def fetch_all():
        rows = (("plain", "http", "1.1", []), ("h2c", "http", "2", ["--http2-prior-knowledge"]),
                ("tls", "https", "1.1", ["--http1.1"]), ("tls", "https", "2", ["--http2"]),
                ("tls", "https", "2", ["--http2", "--tls-max", "1.2"]))
        for name, scheme, version, words in rows:
            url = "%s://a.example:%d/" % (scheme, ports[name])
            words = words + ["--cacert", ca.cert, "--resolve", "a.example:%d:127.0.0.1" % ports[name], "-o", t.path("got"),
                             "-w", "%{http_version} %{http_code}"]
            for target in ("bytes/%d" % SIZE, "echo"):
                upload = ["--data-binary", "@" + t.path("body")] if target == "echo" else []
                check_eq(tls.curl(*words, *upload, url + target), version + " 200", "%s %s" % (name, target))
                with open(t.path("got"), "rb") as file:
                    check(file.read() == pattern(SIZE), "%s %s %s: other bytes", name, version, target)

    fetch_all()
    with Client(ports["plain"]) as kept:
        check_eq(kept.get("/headers").status, 200)
        s.check_reload(limits='max-body-size "2MB"')
        check_eq(kept.get("/headers").status, 200, "a kept connection after a reload")
        fetch_all()
    echoes(tunnel_open(s), pattern(SIZE))
