# SPDX-License-Identifier: GPL-2.0-only
# test_steering.py - new connections go to the worker that has the fewest, where the kernel lets us (root).
import os

from lib import Client, Skip, check, check_eq, check_in, fetch, wait_for
from test_reload import Load
from test_unprivileged import as_nobody
from test_upgrade import ended, upgrade


def start(t, workers=2, **keys):
    if os.geteuid() != 0:
        raise Skip("the program takes CAP_BPF")
    s = t.sentinel(t.origin(), workers=workers, **keys)
    check_eq(s.status()["steering"]["on"], True)
    check_eq(s.status()["steering"]["reason"], None)
    return s


def kept(port, count):
    clients = [Client(port) for _ in range(count)]
    for c in clients:
        check_eq(c.get("/bytes/1").status, 200)
    return clients


def counts(s):
    """Connections of each worker, once they are what they were a moment ago."""
    last = []

    def is_quiet():
        now = s.status()["steering"]["connections"]
        was = last[:]
        last[:] = now
        return now == was
    wait_for(is_quiet, "the connections stay the same", pause=0.15)
    return last


def now(s, total):
    """The counts, once there are so many connections."""
    return wait_for(lambda: (lambda c: c if sum(c) == total else None)(s.status()["steering"]["connections"]),
                    lambda: "%d connections: %s" % (total, counts(s)))


def one_by_one(s, port, count):
    """Counts after so many more connections, each of which came when that of the one before was known."""
    have = sum(counts(s))
    for i in range(count):
        kept(port, 1)
        now(s, have + i + 1)
    return counts(s)


def test_connections_spread_evenly(t):
    s = start(t, workers=3)
    clients = kept(s.port, 60)
    check_eq(sum(counts(s)), 60)
    check(max(counts(s)) - min(counts(s)) <= 2, "uneven: %s", counts(s))
    check_in("by load; now they have 20 20 20" if counts(s) == [20] * 3 else "by load", s.command("status"))
    for c in clients:
        c.close()


def test_worker_with_many_connections_gets_no_new_ones(t):
    s = start(t)
    stay, go, before = [], [], now(s, 0)
    for i in range(40):
        c = kept(s.port, 1)[0]
        after = now(s, i + 1)
        (stay if after[0] > before[0] else go).append(c)
        before = after
    check(len(stay) > 15 and len(go) > 15, "%d and %d", len(stay), len(go))
    for c in go:
        c.close()
    check_eq(now(s, len(stay)), [len(stay), 0])
    more = kept(s.port, len(stay) - 1)
    check_eq(now(s, len(stay) + len(more)), [len(stay), len(more)])
    kept(s.port, 11)
    check(max(counts(s)) - min(counts(s)) <= 2, "uneven: %s", counts(s))


def test_idle_flood_does_not_count_for_ever(t):
    s = start(t)
    for _ in range(200):
        Client(s.port).close()  # comes and goes without a byte
    wait_for(lambda: s.metric("accepted_connections_total", listener="main") == 200, "the flood")
    check_eq(now(s, 0), [0, 0])
    clients = kept(s.port, 20)
    check(max(counts(s)) - min(counts(s)) <= 2, "uneven: %s", counts(s))
    for c in clients:
        c.close()


def test_steering_goes_on_after_reload_and_upgrade(t):
    s = start(t)
    load = Load(s.port)
    second = t.port()
    first = 'listener "main" { address "127.0.0.1:%d"; }\n' % s.port
    s.check_reload(listeners=first + 'listener "second" { address "127.0.0.1:%d"; }' % second)
    clients = kept(second, 20)
    s.check_reload(listeners=first)
    for c in clients:
        c.close()
    s.check_reload(listeners=first + 'listener "second" { address "127.0.0.1:%d"; }' % second)
    for workers in (3, 2):
        s.write_config(workers=workers)
        old = upgrade(t, s)
        check_eq(s.status()["steering"]["reason"], None)
        ended(old)
    load.stop()
    wait_for(lambda: sum(counts(s)) == 0, "the load is over")
    check_eq(one_by_one(s, second, 20), [10, 10])


def test_steering_comes_back_after_a_failed_upgrade(t):
    from test_upgrade import DIES, MESSAGE_BYTES, own_binary, replace
    path = own_binary(t)
    s = start(t)
    replace(path, DIES % {"size": MESSAGE_BYTES, "magic": int.from_bytes(b"SnUp", "little")})
    is_ok, text = s.admin("upgrade")
    check(not is_ok)
    check_in("and now it dies", text)
    check_eq(s.status()["steering"]["reason"], None)
    check_eq(one_by_one(s, s.port, 20), [10, 10])


def test_without_rights_the_hash_spreads(t):
    s = as_nobody(t, workers=2)
    s.start()
    check_eq(s.status()["steering"]["on"], False)
    check_in("by the kernel's hash: not permitted", s.admin("status")[1])
    check_eq(s.stderr().count("by the kernel's hash"), 1)
    check_eq(fetch(s.port, "/bytes/1").status, 200)


def test_one_worker_needs_no_steering(t):
    s = t.sentinel(t.origin())
    check_eq(s.status()["steering"], {"on": False, "reason": "there is one worker", "connections": []})
    check("hash" not in s.stderr())
