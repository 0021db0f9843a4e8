# SPDX-License-Identifier: GPL-2.0-only
# test_geo.py - countries: the filter behind a trusted proxy, databases that change, and the kernel (root).
import json
import os
import threading
import time

import test_guard_kernel as guard
from lib import Client, PeerClosed, PeerReset, check, check_eq, check_in, fetch, wait_for
from lib.case import scale
from lib.geo import LOOP, ip2location, mmdb, write

PLACES = {"198.51.100.0/24": "DE", "198.51.100.128/25": "FR", "203.0.113.0/24": ("US", 64500), "2001:db8::/32": "JP"}
DE, FR, US, JP, NOWHERE = "198.51.100.1", "198.51.100.200", "203.0.113.7", "2001:db8::1", "192.0.2.1"


def database(t, places=None, name="geo.mmdb"):
    return write(t.path(name), mmdb(PLACES if places is None else places))


def proxy(t, *filters, **keys):
    """Geo filters (each the text of a block) in front of an origin; everybody on loopback is a trusted proxy."""
    text = "\n".join('filter "g%d" {\ntype "geo"\n%s\n}' % f for f in enumerate(filters))
    names = " ".join('"g%d"' % i for i in range(len(filters)))
    return t.sentinel(keys.pop("origin", None) or t.origin(), filters=text, route="filters %s" % names,
                      listener='trusted-proxies "127.0.0.0/8"', **keys)


def get(s, address, path="/headers", **keys):
    return fetch(s.port, path, fields=[("X-Forwarded-For", address)] + keys.pop("fields", []), **keys)


def status(s, address):
    return get(s, address).status


def origin_saw(r, name):
    return [value for field, value in json.loads(r.body)["fields"] if field.lower() == name]


# ---- the filter


def test_block_refuses_listed_countries(t):
    path = database(t)
    s = proxy(t, 'database-path "%s"; countries "de, JP" "XX"' % path)
    check_eq([status(s, a) for a in (DE, FR, US, JP, NOWHERE)], [403, 200, 200, 403, 200])
    r = get(s, DE, fields=[("Accept", "text/plain")])
    check_in(b"Access denied", r.body)
    check_eq(s.metric("geo_requests_total", filter="g0", verdict="refused"), 3)
    check_eq(s.metric("geo_requests_total", filter="g0", verdict="admitted"), 3)
    check_eq(s.metric("geo_refused_total", country="DE"), 2)
    check_eq(s.metric("blocked_requests_total", reason="geo_blocked"), 3)
    lines = [json.loads(line) for line in s.access_lines(6)]
    check_eq([line.get("geo_country") for line in lines], ["DE", "FR", "US", "JP", None, "DE"])
    check_eq([line.get("failure") for line in lines], ["geo_blocked", None, None, "geo_blocked", None, "geo_blocked"])


def test_allow_refuses_everybody_else(t):
    s = proxy(t, 'database-path "%s"; action "allow"; countries "DE"; status-code 451; block-message "not here"'
              % database(t))
    check_eq([status(s, a) for a in (DE, FR, NOWHERE)], [200, 451, 451])
    check_in(b"not here", get(s, FR, fields=[("Accept", "text/plain")]).body)


def test_log_only_and_an_empty_list_refuse_nobody(t):
    path = database(t)
    s = proxy(t, 'database-path "%s"; action "log-only"; countries "DE"' % path, 'database-path "%s"; action "allow"' % path)
    check_eq([status(s, a) for a in (DE, FR, NOWHERE)], [200, 200, 200])
    check_eq(s.metric("geo_requests_total", filter="g0", verdict="logged"), 1)


def test_networks_are_listed_like_countries(t):
    path = database(t)
    s = proxy(t, 'database-path "%s"; asn "AS64500"' % path)
    check_eq([status(s, a) for a in (DE, US)], [200, 403])
    code, _, err = s.command("check", check_code=None)
    check_eq(code, 0, err)
    database(t, {"10.0.0.0/8": "DE"}, "plain.mmdb")
    s.write_config(filters='filter "g0" {\ntype "geo"\ndatabase-path "%s"\nasn "64500"\n}' % t.path("plain.mmdb"))
    code, _, err = s.command("check", check_code=None)
    check_eq(code, 1)
    check_in("knows no autonomous systems", err)


def test_all_filters_apply_in_order(t):
    one = database(t, {"198.51.100.0/24": "DE"}, "one.mmdb")
    two = database(t, {"198.51.100.0/24": "AT", "203.0.113.0/24": "US"}, "two.mmdb")
    s = proxy(t, 'database-path "%s"; countries "US"; add-country-header #true' % one,
              'database-path "%s"; countries "US"; add-country-header #true; status-code 410' % two)
    r = get(s, DE)
    check_eq((r.status, origin_saw(r, "x-geoip-country")), (200, ["AT"]))
    check_eq(status(s, US), 410)
    check_eq(s.metric("geo_requests_total", filter="g0", verdict="admitted"), 2)


def test_country_header_goes_to_the_origin_only_when_asked(t):
    path = database(t)
    asked = proxy(t, 'database-path "%s"; add-country-header #true' % path)
    silent = proxy(t, 'database-path "%s"; countries "US"' % path)
    lies = [("X-GeoIP-Country", "XX"), ("X_GeoIP_Country", "YY"), ("Connection", "X-GeoIP-Country")]
    r = get(asked, DE, fields=lies)
    check_eq((origin_saw(r, "x-geoip-country"), origin_saw(r, "x_geoip_country")), (["DE"], []))
    check(not r.has("x-geoip-country"), "the client was told")
    check_eq(origin_saw(get(asked, NOWHERE, fields=lies), "x-geoip-country"), [])
    check_eq(origin_saw(get(silent, DE), "x-geoip-country"), [])


def test_only_trusted_proxies_name_the_client(t):
    path = database(t, dict(PLACES, **{"127.0.0.1/32": "FR"}))
    s = t.sentinel(t.origin(), filters='filter "g0" {\ntype "geo"\ndatabase-path "%s"\ncountries "DE"\n}' % path,
                   route='filters "g0"')
    check_eq(status(s, DE), 200)
    check_eq(json.loads(s.access_lines(1)[0])["geo_country"], "FR")


def test_failed_look_ups_are_open_or_closed(t):
    path = database(t, dict(PLACES, **{"192.0.2.0/24": LOOP}))
    for mode, wanted, verdict in (("open", 200, "failed"), ("closed", 403, "failed_closed")):
        s = proxy(t, 'database-path "%s"; countries "DE"; on-failure "%s"; add-country-header #true' % (path, mode))
        check_eq([status(s, a) for a in (NOWHERE, DE, FR)], [wanted, 403, 200])
        check_eq(s.metric("geo_requests_total", verdict=verdict), 1)
        check_in("nobody can tell: %s" % ("let through" if mode == "open" else "refused with 403"),
                 s.command("explain", "GET", "/", "-H", "X-Forwarded-For: " + NOWHERE))
    # A header without an address: the proxy itself is the client.
    check_eq(status(s, "unknown"), 200)


def test_ip2location(t):
    path = write(t.path("geo.bin"), ip2location([("0.0.0.0", "-"), ("198.51.100.0", "DE"), ("198.51.101.0", "-")]))
    s = proxy(t, 'database-path "%s"; countries "DE"' % path)
    check_eq([status(s, a) for a in (DE, "198.51.100.255", "198.51.101.0", NOWHERE)], [403, 403, 200, 200])
    check_in("geo.bin: DB1 2026-11-27", s.admin("status")[1])
    write(path, ip2location([("0.0.0.0", "DE"), ("198.51.100.0", "-")]))
    wait_for(lambda: status(s, NOWHERE) == 403, "the new database", 8)
    check_eq(status(s, DE), 200)


def test_wrong_files_are_refused_with_a_place(t):
    s = t.sentinel(t.origin(), start=False)
    for content, reason in ((b"", "is empty"), (mmdb(PLACES)[:-40], "is not a valid MaxMind database"),
                            (b"\xff" * 500 + mmdb(PLACES)[500:], "is damaged: node 0")):
        path = write(t.path("bad.mmdb"), content)
        s.write_config(filters='filter "g" {\ntype "geo"\ndatabase-path "%s"\ncountries "DE"\n}' % path, route='filters "g"')
        code, _, err = s.command("check", check_code=None)
        check_eq(code, 1)
        check_in(reason, err)
        check_in("sentinel0.kdl:", err)
    s.write_config(filters='filter "g" {\ntype "geo"\ndatabase-path "/nowhere.mmdb"\ncountries "DEU"\n}')
    code, _, err = s.command("check", check_code=None)
    check_in("/nowhere.mmdb cannot be opened", err)
    check_in('"DEU" is not a country', err)


# ---- databases that change


def test_database_replaced_under_load(t):
    path = database(t)
    s = proxy(t, 'database-path "%s"; countries "DE"' % path, workers=2)
    stop, seen, errors = threading.Event(), set(), []

    def load():
        try:
            with Client(s.port) as c:
                while not stop.is_set():
                    seen.add(c.get("/headers", ("X-Forwarded-For", DE)).status)
        except Exception as error:  # told by the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for number, country in enumerate(("AT", "DE", "FR")):
            database(t, {"198.51.100.0/24": country})
            wait_for(lambda: s.metric("geo_database_loads_total", result="success") == number + 1, "loaded again", 10)
            check_eq(status(s, DE), 403 if country == "DE" else 200)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    check(not errors, "%s", errors)
    check_eq(seen, {200, 403})
    check_eq(s.metric("snapshots"), 1)


def test_broken_database_keeps_the_old_one(t):
    path = database(t)
    s = proxy(t, 'database-path "%s"; countries "DE"' % path)
    check_eq(status(s, DE), 403)
    with open(path, "r+b") as file:  # in place, as nobody should
        file.truncate(100)
    wait_for(lambda: s.metric("geo_database_loads_total", result="failure") == 1, "the broken file was seen", 8)
    check_eq(status(s, DE), 403)
    check_in("the file on disk is not used: it is not a MaxMind database", s.admin("status")[1])
    check_in("the old database goes on", s.stderr())
    is_ok, text = s.reload(system="graceful-shutdown-timeout-secs 20")
    check(is_ok, "a reload with the broken file: %s", text)
    check_eq(status(s, DE), 403)
    time.sleep(4.5 * scale())  # the same file is not tried again and again
    check_eq(s.metric("geo_database_loads_total", result="failure"), 1)
    os.unlink(path)
    check_eq(status(s, DE), 403)
    database(t, {"203.0.113.0/24": "DE"})
    wait_for(lambda: status(s, US) == 403, "the right file", 8)
    check_eq(status(s, DE), 200)
    check("the file on disk is not used" not in s.admin("status")[1], "the problem stays")


def test_databases_end_with_their_last_user(t):
    path = database(t)
    s = proxy(t, 'database-path "%s"; countries "DE"' % path)
    before = s.baseline()
    check_eq(len(s.status()["geo"]["databases"]), 1)
    s.check_reload(filters="", route="")
    wait_for(lambda: not s.status()["geo"]["databases"], "the database is let go of")
    s.wait_gauges(before)


# ---- kernel { geo }, without a guard


def test_proxy_header_names_who_is_judged(t):
    path = database(t)
    s = t.sentinel(t.origin(), listener='proxy-protocol "require"; trusted-proxies "127.0.0.0/8"',
                   top='kernel { geo { database "%s"; deny "DE"; mode "enforce"; }; }' % path)
    request = "GET /headers HTTP/1.1\r\nHost: a\r\n\r\n"
    with Client(s.port) as c:
        check_eq(c.send("PROXY TCP4 %s 127.0.0.1 1000 80\r\n%s" % (FR, request)).response().status, 200)
    with Client(s.port) as c:
        try:
            c.send("PROXY TCP4 %s 127.0.0.1 1000 80\r\n%s" % (DE, request)).response()
            raise AssertionError("a client of that country was served")
        except (PeerClosed, PeerReset):
            pass
    check_eq(s.metric("geo_refused_connections_total", country="DE", mode="enforce"), 1)
    check_eq(s.metric("refused_connections_total", reason="geo"), 1)


def test_explain_shows_the_country(t):
    path = database(t)
    s = proxy(t, 'database-path "%s"; action "allow"; countries "FR"' % path,
              top='kernel { geo { database "%s"; deny "DE"; mode "enforce"; }; }' % path)
    out = s.command("explain", "GET", "/", "--from", DE)
    check_in("refused: the source is in a country that may not come in", out)
    check_in("country DE by %s" % path, out)
    check_in("country DE: refused with 403", out)
    out = json.loads(s.command("explain", "GET", "/", "--from", FR, "--json"))["kernel"]
    check_eq((out["refused"], out["reason"], out["country"]), (False, None, "FR"))
    check_in("country FR: let through", s.command("explain", "GET", "/", "--from", FR))


def test_kernel_block_is_checked(t):
    path = database(t)
    s = t.sentinel(t.origin(), start=False)
    for text, reason in (('deny "DE"', "database"), ('database "%s"; deny "DE"; allow "FR"' % path, "only one of them"),
                         ('database "/x.bin"; deny "DE"', "`.mmdb`"),
                         ('database "%s"; listener "nobody" { deny "DE"; }' % path, 'no listener "nobody"'),
                         ('database "%s"; deny %s' % (path, " ".join('"%s%s"' % (a, b) for a in "ABCDEFGHIJ" for b in
                                                                     "ABCDEFGHIJKLMNOPQRSTUVWXYZ")), "more than 254")):
        s.write_config(top="kernel {\ngeo {\n%s\n}\n}" % text)
        code, out, err = s.command("check", check_code=None)
        check_eq(code, 1, text[:60])
        check_in(reason, out + err)


# ---- in the kernel


def geo_block(path, text):
    return 'kernel {\ninterface "guard0"\ngeo {\ndatabase "%s"\n%s\n}\n}' % (path, text)


def in_force(s):
    return s.status()["geo"]["kernel"]["is_in_force"]


def peer_places(bad, good="FR"):
    """The peer's bad addresses in one country, the good ones in another; each family in blocks of one country."""
    places = {"10.78.0.0/16": good, "fd78::/32": good}
    return dict(places, **{guard.BAD + "/32": bad, guard.BAD6 + "/128": bad})


def whole_blocks(country):
    return {"10.78.0.0/16": country, "fd78::/32": country}


def start_kernel(t, places, text):
    peer = guard.Peer(t)
    path = database(t, places)
    s = t.sentinel(start=False)
    s.other = t.port()
    s.write_config(listeners='listener "main" { address "[::]:%d"; }\nlistener "other" { address "[::]:%d"; }'
                   % (s.port, s.other), top=geo_block(path, text))
    s.start()
    wait_for(lambda: in_force(s), "the kernel's tables", 15)
    return peer, s, path


def test_country_dies_in_the_kernel(t):
    peer, s, path = start_kernel(t, whole_blocks("DE"), 'deny "DE"\nmode "enforce"\nlistener "other" { mode "off"; }')
    for source in (guard.GOOD, guard.GOOD6):
        check_eq(peer.get(source, s.port), 0, source)
        check_eq(peer.get(source, s.other, 5), 200, source)
    check(s.metric("kernel_drops_total", reason="geo") >= 2, "drops are not counted")
    check(s.metric("kernel_geo_drops_total", country="DE", mode="enforce") >= 2, "nor by country")
    check_eq(s.metric("geo_refused_connections_total"), 0)
    dump = guard.shell("bpftool map dump pinned /sys/fs/bpf/sentinel/%s/v2/geo_policies" % s.instance)
    check_in('"refused"', dump)
    check_in('"listener"', dump)
    # Established connections are nobody's business: the database may change under them.
    write(path, mmdb(whole_blocks("FR")))
    wait_for(lambda: peer.get(guard.GOOD, s.port, 5) == 200, "the new database in the kernel", 15)
    s.check_reload(top=geo_block(path, 'allow "DE"\nmode "enforce"'))
    wait_for(lambda: peer.get(guard.GOOD, s.port) == 0, "the new rule")

    def other_country_is_dropped():
        check_eq(peer.get(guard.GOOD6, s.port), 0)
        return s.metric("kernel_geo_drops_total", country="--", mode="enforce") > 0
    wait_for(other_country_is_dropped, "in the kernel too", 15)
    s.check_reload(top='kernel {\ninterface "guard0"\n}')
    wait_for(lambda: peer.get(guard.GOOD, s.port, 5) == 200, "no rule any more")


def test_mixed_blocks_are_decided_after_accept(t):
    peer, s, _ = start_kernel(t, peer_places("DE"), 'deny "DE"\nmode "enforce"')
    for good, bad in ((guard.GOOD, guard.BAD), (guard.GOOD6, guard.BAD6)):
        check_eq(peer.get(good, s.port, 5), 200, good)
        began = time.monotonic()
        check_eq(peer.get(bad, s.port, 5), 0, bad)
        check(time.monotonic() - began < 4 * scale(), "dropped, not refused after accept")
    check_eq(s.metric("kernel_drops_total", reason="geo"), 0)
    check_eq(s.metric("geo_refused_connections_total", country="DE", mode="enforce"), 2)
    check_eq(s.metric("refused_connections_total", reason="geo"), 2)


def test_monitor_is_the_default_and_acl_allows(t):
    peer, s, path = start_kernel(t, whole_blocks("DE"), 'deny "DE"')
    check_eq(peer.get(guard.GOOD, s.port, 5), 200)
    check(s.metric("kernel_geo_drops_total", country="DE", mode="monitor") >= 1, "not counted in the kernel")
    check(s.metric("geo_refused_connections_total", country="DE", mode="monitor") >= 1, "not counted after accept")
    check_eq(s.metric("kernel_drops_total", reason="geo"), 0)
    s.check_reload(top='kernel {\ninterface "guard0"\nacl { allow "%s"; }\ngeo {\ndatabase "%s"\ndeny "DE"\nmode "enforce"\n}\n}'
                   % (guard.BAD, path))
    wait_for(lambda: peer.get(guard.GOOD, s.port) == 0, "enforced")
    check_eq(peer.get(guard.BAD, s.port, 5), 200)


def test_without_a_guard_accept_decides_alone(t):
    peer = guard.Peer(t)
    path = database(t, peer_places("DE"))
    s = t.sentinel(start=False)
    s.write_config(listeners='listener "main" { address "[::]:%d"; }' % s.port,
                   top='kernel { geo { database "%s"; deny "DE"; mode "enforce"; }; }' % path)
    s.start()
    check_eq([peer.get(a, s.port, 5) for a in (guard.GOOD, guard.BAD, guard.GOOD6, guard.BAD6)], [200, 0, 200, 0])
    check_eq(s.metric("refused_connections_total", reason="geo"), 2)
    check(not in_force(s), "nothing is in the kernel")
    check_eq(fetch(s.port, "/").status, 200)  # loopback is in no country and never asked


def test_killed_daemon_leaves_countries_in_the_kernel(t):
    peer, s, _ = start_kernel(t, whole_blocks("DE"), 'deny "DE"\nmode "enforce"')
    check_eq(peer.get(guard.GOOD, s.port), 0)
    s.kill()
    check_eq(peer.get(guard.GOOD, s.port), 0)
    s.start()
    wait_for(lambda: in_force(s), "the next daemon's tables", 15)
    check_eq(peer.get(guard.GOOD, s.port), 0)
