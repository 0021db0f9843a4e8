# SPDX-License-Identifier: GPL-2.0-only
# test_shared_limits.py - limits that several proxies share: real Redis and memcached, and ones that misbehave.
import os
import shutil
import signal
import socket
import subprocess
import threading
import time

from lib import Client, Skip, check, check_eq, check_in, fetch, wait_for
from lib.tls import Authority

IS_ALONE = True  # rates are measured
LIMIT_S = 120
SLOW = "max-rps \"1/m\"; burst %d; "  # nothing comes back while a test runs


class Store:
    """A server of ours on a port (or a socket) that may be stopped, killed and started again."""

    def __init__(self, t, kind, *words, path=None):
        if not shutil.which({"redis": "redis-server"}.get(kind, kind)):
            raise Skip("no %s here" % kind)
        self.t, self.kind, self.words, self.path = t, kind, words, path
        self.port = t.port()
        self.process = None
        self.start()

    @property
    def url(self):
        return "%s://127.0.0.1:%d" % ({"memcached": "memcache"}.get(self.kind, self.kind), self.port)

    def command(self):
        if self.kind == "redis":
            return ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                    "--dir", self.t.dir, "--daemonize", "no", *self.words]
        return ["memcached", "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-u", "nobody", *self.words]

    def start(self):
        with open(self.t.path("store%d.log" % self.port), "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)

        def answers():
            check(self.process.poll() is None, "%s ended", self.kind)
            if self.path:
                return os.path.exists(self.path)
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", self.port)) == 0
        wait_for(answers, "%s does not listen" % self.kind)

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def cli(self, *words):
        return subprocess.run(["redis-cli", "-p", str(self.port), *words], capture_output=True, check=True,
                              timeout=10).stdout.decode().strip()


def limit(url, rate="", more="", timeout=50):
    kind = "memcached" if url.startswith("memcache") else "redis"
    return 'filter "l" { type "rate-limit"; %s backend "%s"; %s-url "%s"; %s-timeout-ms %d; %s }' % (
        rate or SLOW % 5, kind, kind, url, kind, timeout, more)


def proxy(t, url, o=None, **keys):
    rate, more, timeout = keys.pop("rate", ""), keys.pop("more", ""), keys.pop("timeout", 50)
    return t.sentinel(o or t.origin(), filters=limit(url, rate, more, timeout), route='filters "l"', **keys)


def statuses(s, count, **keys):
    return [fetch(s.port, "/", **keys).status for _ in range(count)]


def checks(s, result=None):
    labels = {"result": result} if result else {}
    return s.metrics().sum("rate_limit_store_checks_total", **labels)


def text(s):
    return s.admin("status")[1]


def store_state(s):
    return s.status()["stores"][0]


class Load:
    """Clients that ask all proxies all the time; remembers statuses and the longest wait."""

    def __init__(self, *proxies, clients=2, pause=0.002):
        self.statuses, self.waits, self.errors = {}, [], []
        self.first, self.last = float("inf"), 0
        self.stopped = threading.Event()
        self.lock = threading.Lock()
        self.pause = pause
        self.threads = [threading.Thread(target=self.run, args=(p.port,)) for p in proxies for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self, port):
        try:
            with Client(port) as c:
                while not self.stopped.is_set():
                    begin = time.monotonic()
                    status = c.get("/").status
                    end = time.monotonic()
                    with self.lock:
                        self.statuses[status] = self.statuses.get(status, 0) + 1
                        self.waits.append(end - begin)
                        self.first, self.last = min(self.first, begin), max(self.last, end)
                    time.sleep(self.pause)
        except Exception as e:  # a client that fails is what the test asks about
            self.errors.append(repr(e))

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        check_eq(self.errors, [])

    def reset(self):
        with self.lock:
            self.statuses, self.waits = {}, []


# ---- two proxies, one bucket


def shared_bucket(t, store):
    o = t.origin()
    a, b = proxy(t, store.url, o), proxy(t, store.url, o)
    check_eq([fetch(s.port, "/").status for s in (a, b, a, b, a, b, a)], [200] * 5 + [429] * 2)
    check_eq(len(o.requests), 5)
    r = fetch(b.port, "/")
    check_eq((r.status, r.get("ratelimit-limit"), r.get("ratelimit-remaining")), (429, "5", "0"))
    check(50 <= int(r.get("retry-after")) <= 61, r.get("retry-after"))
    check(280 <= int(r.get("ratelimit-reset")) <= 301, r.get("ratelimit-reset"))
    check_eq((checks(a, "answered"), checks(b, "answered"), checks(a), checks(b)), (4, 4, 4, 4))
    check_eq(store_state(a)["state"], "up")
    check_in(store.url, text(a))


def test_two_proxies_share_a_bucket_in_redis(t):
    with Store(t, "redis") as store:
        shared_bucket(t, store)
        keys = store.cli("keys", "*").split()
        check_eq([k[:19] for k in keys], ["sentinel:ratelimit:"])
        check(0 < int(store.cli("pttl", keys[0])) <= 301000, store.cli("pttl", keys[0]))


def test_two_proxies_share_a_bucket_in_memcached(t):
    with Store(t, "memcached") as store:
        shared_bucket(t, store)


def shared_rate(t, store):
    o = t.origin()
    rate = "max-rps 100; burst 50; "
    a, b = (proxy(t, store.url, o, rate=rate, timeout=1000) for _ in range(2))
    fetch(a.port, "/")  # connections are there
    fetch(b.port, "/")
    time.sleep(0.5)  # full again
    before = len(o.requests)
    load = Load(a, b, clients=3, pause=0.004)
    time.sleep(6)
    load.stop()
    spent, seen = load.last - load.first, len(o.requests) - before
    wanted = 50 + 100 * spent
    check(abs(seen - wanted) <= 0.01 * wanted + 1, "%d of %.1f in %.3f s, %r", seen, wanted, spent, load.statuses)
    check_eq(set(load.statuses), {200, 429})
    check(load.statuses[429] > 100, "there was no flood: %r", load.statuses)
    check_eq((checks(a), checks(b)), (checks(a, "answered"), checks(b, "answered")))


def test_two_proxies_share_a_rate_in_redis(t):
    with Store(t, "redis") as store:
        shared_rate(t, store)


def test_two_proxies_share_a_rate_in_memcached(t):
    with Store(t, "memcached") as store:
        shared_rate(t, store)


def idle_is_full(t, store):
    """A bucket that was full again is used as a new one, no token more."""
    o = t.origin()
    s = proxy(t, store.url, o, rate="max-rps 10; burst 3; ")
    for _ in range(2):
        check_eq(statuses(s, 4), [200, 200, 200, 429])
        time.sleep(0.6)


def test_idle_bucket_is_full_again_in_redis(t):
    with Store(t, "redis") as store:
        idle_is_full(t, store)


def test_idle_bucket_is_full_again_in_memcached(t):
    with Store(t, "memcached") as store:
        idle_is_full(t, store)


def test_keys_and_limits_have_buckets_of_their_own(t):
    with Store(t, "redis") as store:
        s = proxy(t, store.url, rate=SLOW % 1, more='key "header:X-Key"; redis-prefix "p:"; ')
        check_eq([fetch(s.port, "/", fields=[("X-Key", k)]).status for k in ("a", "b", "a", "b")], [200, 200, 429, 429])
        check_eq(fetch(s.port, "/").status, 200)
        check_eq(len(store.cli("keys", "p:*").split()), 3)
        s.check_reload(filters=limit(store.url, SLOW % 2, 'key "header:X-Key"; redis-prefix "p:"; '))
        check_eq(fetch(s.port, "/", fields=[("X-Key", "a")]).status, 200)


def test_refused_request_gives_its_other_tokens_back(t):
    with Store(t, "redis") as store:
        filters = limit(store.url, SLOW % 4) + '\nfilter "m" { type "rate-limit"; %s }' % (SLOW % 2)
        s = t.sentinel(t.origin(), filters=filters, route='filters "l" "m"')
        check_eq(statuses(s, 4), [200, 200, 429, 429])
        s.check_reload(route='filters "l"')
        check_eq(statuses(s, 3), [200, 200, 429])


def test_delay_waits_for_its_turn(t):
    with Store(t, "redis") as store:
        s = proxy(t, store.url, rate="max-rps 10; burst 1; ", more='on-limit "delay"; max-delay-ms 2000; ')
        begin = time.monotonic()
        check_eq(statuses(s, 4), [200] * 4)
        check(0.29 <= time.monotonic() - begin <= 1.5, "%.3f s", time.monotonic() - begin)


def test_scripts_that_were_forgotten_are_loaded_again(t):
    with Store(t, "redis") as store:
        s = proxy(t, store.url)
        check_eq(statuses(s, 2), [200, 200])
        store.cli("script", "flush")
        check_eq(statuses(s, 4), [200, 200, 200, 429])
        check_eq(checks(s), checks(s, "answered"))


# ---- ways to it


def test_redis_with_passwords(t):
    with Store(t, "redis", "--requirepass", "s3cret:/@x") as store:
        url = "redis://:s3cret%%3A%%2F%%40x@127.0.0.1:%d/3" % store.port
        s = proxy(t, url)
        check_eq(statuses(s, 6), [200] * 5 + [429])
        check_eq(checks(s), checks(s, "answered"))
        subprocess.run(["redis-cli", "-p", str(store.port), "-a", "s3cret:/@x", "--no-auth-warning", "acl", "setuser",
                        "bob", "on", ">hunter2", "~*", "+@all"], check=True, capture_output=True)
        s = proxy(t, "redis://bob:hunter2@127.0.0.1:%d/3" % store.port)
        check_eq(statuses(s, 2), [429, 429])
        for said in (text(s), s.stderr(), fetch(s.admin_port, "/config").body.decode()):
            check("hunter2" not in said, said)
        s = proxy(t, "redis://bob:wrong@127.0.0.1:%d/3" % store.port)
        statuses(s, 6)
        wait_for(lambda: store_state(s)["state"] == "down", "a wrong password is no failure")
        check_in("WRONGPASS", store_state(s)["last_failure"])
        check_in("WRONGPASS", s.stderr())


def test_redis_on_a_unix_socket(t):
    path = t.path("redis.sock")
    with Store(t, "redis", "--unixsocket", path, path=path) as store:
        s = proxy(t, "unix://%s?db=2" % path)
        check_eq(statuses(s, 6), [200] * 5 + [429])
        check_eq(checks(s), checks(s, "answered"))
        check_eq(store.cli("-n", "2", "dbsize"), "1")


def test_redis_over_tls(t):
    ca = Authority(t)
    pair = ca.issue("redis", ["IP:127.0.0.1"])
    other = Authority(t, name="Other CA")
    port = t.port()
    with Store(t, "redis", "--tls-port", str(port), "--tls-cert-file", pair.cert, "--tls-key-file", pair.key,
               "--tls-ca-cert-file", ca.cert, "--tls-auth-clients", "no"):
        url = "rediss://127.0.0.1:%d" % port
        s = proxy(t, url, more='redis-ca-file "%s"; ' % ca.cert, timeout=1000)
        check_eq(statuses(s, 6), [200] * 5 + [429])
        check_eq(checks(s), checks(s, "answered"))
        s = proxy(t, url, more='redis-ca-file "%s"; ' % other.cert, timeout=1000)
        check_eq(statuses(s, 6), [200] * 5 + [429])
        check_eq(checks(s, "answered"), 0)
        check(checks(s, "tls") > 0, text(s))


# ---- stores that fail


def is_down(s):
    return store_state(s)["state"] == "down"


def survives(t, store, fail, mend):
    """No request waits beyond its deadline, no client sees an error, and the store is used again by itself."""
    o = t.origin()
    rate = "max-rps 1000; burst 1000; "
    a, b = (proxy(t, store.url, o, rate=rate) for _ in range(2))
    load = Load(a, b)
    try:
        time.sleep(0.5)
        check(checks(a, "answered") > 10 and checks(b, "answered") > 10, "nobody asks")
        fail()
        wait_for(lambda: is_down(a) and is_down(b), "it is still asked: %s" % text(a))
        load.reset()
        time.sleep(1)
        check_eq(set(load.statuses), {200})
        waits = sorted(load.waits)
        # of a store that is not asked nobody waits for; machines that share their processors pause now and then
        check(waits[len(waits) * 9 // 10] < 0.045, "%r", waits[-10:])
        mend()
        wait_for(lambda: not is_down(a) and not is_down(b), "it is not asked again: %s" % text(a), 15)
        answered = checks(a, "answered")
        wait_for(lambda: checks(a, "answered") > answered, "nobody asks it")
    finally:
        load.stop()
    check_eq(set(load.statuses), {200})
    for s in (a, b):
        check_eq((s.stderr().count("is not asked any more"), s.stderr().count("is asked again")), (1, 1), s.stderr())


def killed(t, store):
    survives(t, store, store.kill, store.start)


def test_redis_is_killed(t):
    with Store(t, "redis") as store:
        killed(t, store)


def test_memcached_is_killed(t):
    with Store(t, "memcached") as store:
        killed(t, store)


def stopped(t, store):
    survives(t, store, lambda: store.signal(signal.SIGSTOP), lambda: store.signal(signal.SIGCONT))


def test_redis_stands_still(t):
    with Store(t, "redis") as store:
        stopped(t, store)


def test_memcached_stands_still(t):
    with Store(t, "memcached") as store:
        stopped(t, store)
