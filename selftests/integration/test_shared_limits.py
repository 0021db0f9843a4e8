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
from lib.case import scale
from lib.tls import Authority
from test_rate_limit import until_refused

# Rates and waits are measured.
ALONE = ("test_two_proxies_share_a_rate_in_redis", "test_two_proxies_share_a_rate_in_memcached",
         "test_idle_bucket_is_full_again_in_redis", "test_idle_bucket_is_full_again_in_memcached",
         "test_redis_is_killed", "test_memcached_is_killed", "test_redis_stands_still", "test_memcached_stands_still",
         "test_slow_store", "test_garbage_and_half_replies", "test_delay_waits_for_its_turn")
PAUSE_S = 0.3
SLOW = "max-rps \"1/m\"; burst %d; "  # nothing comes back while a test runs


class Store:
    """A server of ours on a port (or a socket) that may be stopped, killed and started again."""

    def __init__(self, t, kind, *words):
        if not shutil.which({"redis": "redis-server"}.get(kind, kind)):
            raise Skip("no %s here" % kind)
        self.t, self.kind, self.words = t, kind, words
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
            """Its loop runs, so it listens everywhere."""
            check(self.process.poll() is None, "%s ended", self.kind)
            try:
                with socket.create_connection(("127.0.0.1", self.port), 10 * scale()) as s:
                    s.sendall(b"version\r\n" if self.kind == "memcached" else b"PING\r\n")
                    return s.recv(100)
            except ConnectionError:
                return False
        wait_for(answers, "%s does not answer" % self.kind)

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
                              timeout=10 * scale()).stdout.decode().strip()


PATIENCE_MS = int(3000 * scale())  # a question to a store that is well has an answer by then


def limit(url, rate="", more="", timeout=PATIENCE_MS):
    kind = "memcached" if url.startswith("memcache") else "redis"
    return 'filter "l" { type "rate-limit"; %s backend "%s"; %s-url "%s"; %s-timeout-ms %d; %s }' % (
        rate or SLOW % 5, kind, kind, url, kind, timeout, more)


def proxy(t, url, o=None, **keys):
    rate, more, timeout = keys.pop("rate", ""), keys.pop("more", ""), keys.pop("timeout", PATIENCE_MS)
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
        self.seen = []  # begin, end, status
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
                        self.seen.append((begin, end, status))
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
    a, b = (proxy(t, store.url, o, rate=rate) for _ in range(2))
    fetch(a.port, "/")  # connections are there
    fetch(b.port, "/")
    time.sleep(0.5)  # full again
    before = len(o.requests)
    load = Load(a, b, clients=3, pause=0.004)
    time.sleep(6)
    load.stop()
    check_eq(len(o.requests) - before, load.statuses[200])
    check_eq(set(load.statuses), {200, 429})
    check_eq((checks(a), checks(b)), (checks(a, "answered"), checks(b, "answered")))
    # The bucket was full at the first question, and empty at each refusal, each of them between a begin and an end.
    refused = sorted(seen for seen in load.seen if seen[2] == 429)
    first, (begin, end, _) = refused[0], refused[-1]
    least = sum(status == 200 and was_end <= end for _, was_end, status in load.seen)
    most = sum(status == 200 and was_begin <= end and was_end >= first[0] for was_begin, was_end, status in load.seen)
    wanted_most, wanted_least = 50 + 100 * (end - min(load.seen)[0]), 100 * (begin - first[1])
    # An empty bucket is full half a second later: what comes back then, while nobody asks, is lost.
    wanted_least -= sum(max(0, 100 * (later[1] - sooner[0]) - 50) for sooner, later in zip(refused, refused[1:]))
    check(least <= 1.01 * wanted_most + 1, "%d of %.1f, %r", least, wanted_most, load.statuses)
    check(most >= 0.99 * wanted_least - 1, "%d of %.1f, %r", most, wanted_least, load.statuses)
    check(load.statuses[429] > 100, "there was no flood: %r", load.statuses)


def test_two_proxies_share_a_rate_in_redis(t):
    with Store(t, "redis") as store:
        shared_rate(t, store)


def test_two_proxies_share_a_rate_in_memcached(t):
    with Store(t, "memcached") as store:
        shared_rate(t, store)


def idle_is_full(t, store):
    """A bucket that was full again is used as a new one, no token more."""
    o = t.origin()
    s = proxy(t, store.url, o, rate="max-rps 1; burst 2; ")
    for pause in (0, 2.2):
        time.sleep(pause)
        passed, spent = until_refused(lambda: fetch(s.port, "/"))
        check(2 <= passed <= 2 + spent, "%d passed in %.2f s", passed, spent)


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
        check(0.29 <= time.monotonic() - begin <= 1.5 * scale(), "%.3f s", time.monotonic() - begin)


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
        wait_for(lambda: "WRONGPASS" in s.stderr(), "the log says nothing of it")


def test_redis_on_a_unix_socket(t):
    path = t.path("redis.sock")
    with Store(t, "redis", "--unixsocket", path) as store:
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
        s = proxy(t, url, more='redis-ca-file "%s"; ' % ca.cert)
        check_eq(statuses(s, 6), [200] * 5 + [429])
        check_eq(checks(s), checks(s, "answered"))
        s = proxy(t, url, more='redis-ca-file "%s"; ' % other.cert)
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
    a, b = (proxy(t, store.url, o, rate=rate, timeout=200) for _ in range(2))
    load = Load(a, b)
    try:
        wait_for(lambda: checks(a, "answered") > 10 and checks(b, "answered") > 10, "nobody asks")
        fail()
        wait_for(lambda: is_down(a) and is_down(b), "it is still asked: %s" % text(a))
        # machines that share their processors pause now and then
        check(max(load.waits) < 0.2 + PAUSE_S * scale(), "a request took %.3f s", max(load.waits))
        load.reset()
        time.sleep(1)
        waits = sorted(load.waits)
        check(waits[len(waits) * 9 // 10] < 0.15, "requests pay for a store that is down: %r", waits[-10:])
        mend()
        wait_for(lambda: not is_down(a) and not is_down(b), "it is not asked again: %s" % text(a), 15)
        answered = checks(a, "answered")
        wait_for(lambda: checks(a, "answered") > answered, "nobody asks it")
        check(max(load.waits) < 0.2 + PAUSE_S * scale(), "a request took %.3f s", max(load.waits))
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


class Between:
    """Stands between proxies and a store: passes bytes on late, or answers with what it was told."""

    def __init__(self, store):
        self.store, self.delay, self.answer, self.heard = store, 0, None, b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.sockets = [self.listener]
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def url(self):
        return self.store.url.replace(str(self.store.port), str(self.port))

    def accept(self):
        try:
            while True:
                client, _ = self.listener.accept()
                peer = socket.create_connection(("127.0.0.1", self.store.port))
                self.sockets += [client, peer]
                for pair in ((client, peer, False), (peer, client, True)):
                    threading.Thread(target=self.relay, args=pair, daemon=True).start()
        except OSError:
            pass

    def relay(self, source, target, is_answer):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                if is_answer:
                    time.sleep(self.delay)
                    data = data if self.answer is None else self.answer
                if data:
                    target.sendall(data)
                if is_answer and self.answer is not None:
                    break
        except OSError:
            pass
        for s in (source, target):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in self.sockets:
            s.close()


def test_slow_store(t):
    with Store(t, "redis") as store, Between(store) as slow:
        survives(t, slow, lambda: setattr(slow, "delay", 1), lambda: setattr(slow, "delay", 0))


def test_garbage_and_half_replies(t):
    answers = [b"", b"*4\r\n:1\r\n:", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"*2147483647\r\n",
               b"$536870912\r\n" + b"x" * 20000,
               b"\0" * 5000, b":1\r\n" * 3000, b"*4\r\n:1\r\n:-1\r\n:-1\r\n:-1\r\n"]
    with Store(t, "redis") as store, Between(store) as bad:
        s = proxy(t, bad.url, rate="max-rps 1000; burst 1000; ", timeout=50)
        for answer in answers:
            bad.answer = answer
            check_eq(set(statuses(s, 10)), {200}, repr(answer[:20]))
            wait_for(lambda: is_down(s), "garbage is no failure: %r" % answer[:20])
            bad.answer = None
            wait_for(lambda: not is_down(s), "it is not asked again after %r" % answer[:20], 15)
            answered = checks(s, "answered")
            wait_for(lambda: statuses(s, 1) == [200] and checks(s, "answered") >= answered + 3, "nobody asks it", 15)


# ---- what decides without a store


def fallback(t, form, wanted):
    with Store(t, "redis") as store:
        s = proxy(t, store.url, rate=SLOW % 6, more="redis-fallback %s; " % form)
        check_eq([fetch(s.port, "/").status for _ in range(3)], [200] * 3)
        store.kill()
        check_eq(statuses(s, 6), wanted)
        check_eq(s.metrics().sum("rate_limit_store_down"), 1)
        return s


def test_fallback_local_begins_at_the_level_last_reported(t):
    s = fallback(t, '"local"', [200] * 3 + [429] * 3)
    check_eq(s.metrics().sum("rate_limit_store_checks_total") - checks(s, "answered"), 6)
    fallback(t, "#true", [200] * 3 + [429] * 3)


def test_fallback_open(t):
    fallback(t, '"open"', [200] * 6)
    fallback(t, "#false", [200] * 6)


def test_fallback_closed(t):
    s = fallback(t, '"closed"', [503] * 6)
    check_eq(s.metrics().sum("rate_limit_requests_total", verdict="refused"), 6)


# ---- what is left behind


def test_clients_that_leave_while_they_wait(t):
    with Store(t, "redis") as store:
        # gauges are published twice before the questions are late
        s = proxy(t, store.url, timeout=10000, rate="max-rps 1000; burst 1000; ")
        check_eq(statuses(s, 1), [200])
        baseline = s.baseline()
        store.signal(signal.SIGSTOP)
        clients = [Client(s.port) for _ in range(30)]  # few enough for one connection
        for c in clients:
            c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_for(lambda: s.metric("exchanges") == 30, "nobody waits")
        for c in clients:
            c.reset()
        wait_for(lambda: s.metric("exchanges") == 0, "exchanges stay")
        store.signal(signal.SIGCONT)
        check_eq(statuses(s, 3), [200] * 3)
        check_eq(checks(s), checks(s, "answered"))  # what was given up is not counted
        s.wait_gauges(baseline)


def test_reload_keeps_the_store_and_lets_go_of_another(t):
    with Store(t, "redis") as store, Store(t, "redis") as other:
        s = proxy(t, store.url)
        check_eq(statuses(s, 2), [200] * 2)
        clients = int(store.cli("info", "stats").split("total_connections_received:")[1].split()[0])
        s.check_reload(route='filters "l"\npriority 5')
        check_eq(statuses(s, 4), [200] * 3 + [429])
        now = int(store.cli("info", "stats").split("total_connections_received:")[1].split()[0])
        check_eq(now - clients, 1, "connections of the second redis-cli only")
        s.check_reload(filters=limit(other.url))
        check_eq(statuses(s, 6), [200] * 5 + [429])
        wait_for(lambda: "connected_clients:1\r" in store.cli("info", "clients") + "\r",
                 "the old store keeps its connection", 20)
        wait_for(lambda: [x["address"] for x in s.status()["stores"]] == [other.url], text(s), 20)


def test_stop_while_requests_wait(t):
    with Store(t, "redis") as store:
        s = proxy(t, store.url)
        check_eq(statuses(s, 1), [200])
        store.signal(signal.SIGSTOP)
        with Client(s.port) as c:
            c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_for(lambda: s.metric("exchanges") == 1, "nobody waits")
            s.signal(signal.SIGTERM)
            check_eq(c.response().status, 200)
        check_eq(s.wait_exit(), 0)
        s.check_clean()


# ---- files that are wrong


def test_mistakes_are_told(t):
    for more, said in (('redis-url "http://a"; ', "not the address of a store"),
                       ('redis-url "redis://pass@a"; ', "USER:PASSWORD"),
                       ('redis-url "rediss://a"; redis-ca-file "/nonexistent"; ', "/nonexistent"),
                       ('memcached-prefix "a b"; backend "memcached"; ', "neither spaces"),
                       ('backend "postgres"; ', "postgres")):
        form = 'filter "l" { type "rate-limit"; %s%s}' % ("" if "backend" in more else 'backend "redis"; ', more)
        s = t.sentinel(t.origin())
        is_ok, answer = s.reload(filters=form, route='filters "l"')
        check(not is_ok, more)
        check_in(said, answer)
        check("pass@" not in answer, answer)
