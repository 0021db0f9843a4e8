# SPDX-License-Identifier: GPL-2.0-only
# test_reload.py - a new file under load: nothing is lost, everything is replaced, a wrong file changes nothing.
import shutil
import signal
import subprocess
import threading
import time

from lib import Client, Skip, accepts, check, check_eq, check_in, fetch, wait_for
from lib.case import scale

# Who is accepted by a listener that leaves has a second for his request.
ALONE = ("test_removed_listener_resets_nothing_that_was_accepted",)


class Load:
    """Clients that ask all the time: half of them on kept connections."""

    def __init__(self, port, target="/bytes/100", clients=4):
        self.port, self.target = port, target
        self.done, self.lost = 0, []
        self.is_over = False
        self.threads = [threading.Thread(target=self.run, args=(i % 2 == 0,), daemon=True) for i in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self, is_kept):
        client = None
        while not self.is_over:
            try:
                if not client or not is_kept:
                    if client:
                        client.close()
                    client = Client(self.port)
                r = client.get(self.target)
                if r.status != 200:
                    self.lost.append("status %d" % r.status)
                if "close" in (r.get("connection") or "").lower():
                    client.close()
                    client = None
                self.done += 1
            except Exception as error:
                self.lost.append("%s: %s" % (type(error).__name__, error))
                client = None
        if client:
            client.close()

    def stop(self):
        self.is_over = True
        for thread in self.threads:
            thread.join(10 * scale())
        check(not self.lost, "%d of %d requests were lost: %s", len(self.lost), self.done + len(self.lost), self.lost[:3])
        return self.done


def test_ten_reloads_under_load_lose_nothing(t):
    o = t.origin()
    s = t.sentinel(o, workers=2)
    load = Load(s.port)
    for i in range(10):
        before = load.done
        s.check_reload(route='policies { response-headers { set { X-Generation "%d"; }; }; }' % i)
        wait_for(lambda: fetch(s.port, "/bytes/1").get("x-generation") == str(i), "generation %d" % i)
        wait_for(lambda: load.done > before + 20, "the load to go on")
    check(load.stop() > 200)
    wait_for(lambda: s.metric("snapshots") == 1, "old snapshots remain")
    check_eq(s.metric("config_reloads_total", result="success"), 10)


def test_sighup_reloads(t):
    s = t.sentinel(t.origin())
    s.write_config(route='policies { response-headers { set { X-New "1"; }; }; }')
    s.signal(signal.SIGHUP)
    wait_for(lambda: fetch(s.port, "/bytes/1").get("x-new") == "1", "the new configuration")


def test_change_of_the_file_reloads_by_itself_if_asked(t):
    s = t.sentinel(t.origin(), system="auto-reload #true")
    s.write_config(route='policies { response-headers { set { X-New "1"; }; }; }')
    wait_for(lambda: fetch(s.port, "/bytes/1").get("x-new") == "1", "the new configuration")
    with open(s.config_path, "w", encoding="utf-8") as file:  # in place, and wrong
        file.write("nonsense {")
    wait_for(lambda: s.metric("config_reloads_total", result="failure") >= 1, "the failure")
    check_eq(fetch(s.port, "/bytes/1").get("x-new"), "1")


def test_without_inotify_traffic_is_served_and_the_log_says_so(t):
    own = ["unshare", "--user", "--map-root-user"]
    if not shutil.which("unshare") or subprocess.run(own + ["true"], stderr=subprocess.DEVNULL).returncode != 0:
        raise Skip("takes user namespaces")
    s = t.sentinel(t.origin(), start=False, system="auto-reload #true", prefix=own + [
        "sh", "-c", "echo 0 > /proc/sys/user/max_inotify_instances && exec \"$@\"", "sh"])
    s.start()
    check_in("inotify", s.stderr())
    check_eq(fetch(s.port, "/bytes/10").status, 200)
    s.check_reload(route='policies { response-headers { set { X-New "1"; }; }; }')
    check_eq(fetch(s.port, "/bytes/10").get("x-new"), "1")


def test_file_is_not_watched_by_default(t):
    s = t.sentinel(t.origin())
    s.write_config(route='policies { response-headers { set { X-New "1"; }; }; }')
    s.sleep_ticks(0.8)
    check_eq(fetch(s.port, "/bytes/1").get("x-new"), None)


def test_wrong_file_changes_nothing_and_says_what_is_wrong(t):
    s = t.sentinel(t.origin())
    generation = s.metric("config_generation")
    is_ok, text = s.reload(routes='route "a" { matches { path "/"; }; upstream "nowhere"; }\nroute "b" { priorty 5; }')
    check(not is_ok)
    check_in("nowhere", text)
    check_in("priorty", text)
    check_in("sentinel0.kdl:", text)
    check_eq(fetch(s.port, "/bytes/3").status, 200)
    check_eq(s.metric("config_generation"), generation)
    check_eq(s.metric("config_reloads_total", result="failure"), 1)


def test_file_that_is_gone_changes_nothing(t):
    import os
    s = t.sentinel(t.origin())
    os.rename(s.config_path, s.config_path + ".away")
    is_ok, text = s.admin("reload")
    check(not is_ok and text, "%s", text)
    check_eq(fetch(s.port, "/bytes/3").status, 200)
    os.rename(s.config_path + ".away", s.config_path)


def test_listener_comes_and_goes_without_touching_the_other(t):
    s = t.sentinel(t.origin(), workers=2)
    second = t.port()
    first = 'listener "main" { address "127.0.0.1:%d"; }\n' % s.port
    kept = Client(s.port)
    check_eq(kept.get("/bytes/1").status, 200)
    load = Load(s.port)
    for _ in range(3):
        s.check_reload(listeners=first + 'listener "second" { address "127.0.0.1:%d"; }' % second)
        check_eq(fetch(second, "/bytes/1").status, 200)
        s.check_reload(listeners=first)
        wait_for(lambda: not accepts(second), "the removed listener still accepts")
    check_eq(kept.get("/bytes/1").status, 200)
    load.stop()


def test_removed_listener_resets_nothing_that_was_accepted(t):
    s = t.sentinel(t.origin(), workers=2)
    second = t.port()
    first = 'listener "main" { address "127.0.0.1:%d"; }\n' % s.port
    both = first + 'listener "second" { address "127.0.0.1:%d"; }' % second
    lost, done, is_over = [], [0], [False]

    def hammer():
        while not is_over[0]:
            try:
                c = Client(second)
            except OSError:
                continue  # nobody listens: not accepted, so not lost
            try:
                c.get("/bytes/10")
                done[0] += 1
            except Exception as error:
                lost.append("%s %s" % (type(error).__name__, error))
            c.close()
    threads = [threading.Thread(target=hammer, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        before = done[0]
        s.check_reload(listeners=both)
        wait_for(lambda: done[0] > before + 20, "requests on the second listener")
        s.check_reload(listeners=first)
    is_over[0] = True
    for thread in threads:
        thread.join(10 * scale())
    check(not lost, "%d of %d accepted connections were lost: %s", len(lost), done[0] + len(lost), lost[:3])


def test_taken_port_refuses_the_whole_file(t):
    s = t.sentinel(t.origin())
    o = t.origin()
    is_ok, text = s.reload(listeners='listener "main" { address "127.0.0.1:%d"; }\nlistener "x" { address "127.0.0.1:%d"; }'
                           % (s.port, o.port), route='policies { response-headers { set { X-New "1"; }; }; }')
    check(not is_ok)
    check_in(str(o.port), text)
    check_eq(fetch(s.port, "/bytes/1").get("x-new"), None)


def test_what_needs_a_restart_is_refused(t):
    s = t.sentinel(t.origin())
    for change in ({"workers": 2}, {"system": 'pid-file "%s"' % t.path("x.pid")}):
        is_ok, text = s.reload(**change)
        check(not is_ok, "%s was accepted", change)
        check_in("restart", text)
        s.write_config(workers=1, system="")
    check_eq(fetch(s.port, "/bytes/1").status, 200)
    s.check_reload()


def test_tunnel_and_slow_download_live_through_thirty_reloads(t):
    from test_tunnel import echoes, tunnel_open
    o = t.origin()
    s = t.sentinel(o, route="websocket #true")
    tunnel = tunnel_open(s)
    echoes(tunnel, b"before")
    slow = Client(s.port, rcvbuf=16384, timeout=30)
    slow.send(b"GET /bytes/20000000 HTTP/1.1\r\nHost: a\r\n\r\n")
    head = slow.head()
    pieces = slow.pieces(head)
    taken = 0
    refused = 0
    for i in range(30):
        is_ok, text = s.reload(route='websocket #true\npolicies { response-headers { set { X-Generation "%d"; }; }; }' % i)
        if not is_ok:
            refused += 1
            check_in("generation", text.lower() + " generation" * ("old" in text.lower() or "drain" in text.lower()))
        echoes(tunnel, b"message %d" % i)
        taken += len(next(pieces))
    check_eq(refused, 0, "reloads refused")
    for piece in pieces:
        taken += len(piece)
    check_eq(taken, 20000000)
    echoes(tunnel, b"after")
    wait_for(lambda: s.metric("snapshots") == 1, "old snapshots remain (a tunnel must not hold one)")


def test_reloads_beyond_the_bound_of_old_generations_are_refused_and_close_nothing(t):
    o = t.origin()
    s = t.sentinel(o)
    clients, refused = [], None
    for i in range(40):
        c = Client(s.port, timeout=30)
        c.send(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")  # holds the generation that serves now
        o.wait_requests(len(clients) + 1)
        clients.append(c)
        is_ok, text = s.reload(route='policies { response-headers { set { X-Generation "%d"; }; }; }' % i)
        if not is_ok:
            refused = text
            break
    check(refused, "40 generations drain at once")
    check(10 <= len(clients) <= 20, "refused after %d", len(clients))
    check(s.metric("config_reloads_total", result="refused") >= 1)
    o.gate.set()
    for c in clients:
        check_eq(c.response().body, b"at last")
    wait_for(lambda: s.admin("reload")[0], "a reload to be accepted again")
    wait_for(lambda: s.metric("snapshots") == 1, "old snapshots remain")


def test_reload_while_connections_open_close_and_upgrade(t):
    from test_tunnel import UPGRADE
    o = t.origin()
    s = t.sentinel(o, workers=2, route="websocket #true")
    is_over = [False]

    def churn(kind):
        while not is_over[0]:
            try:
                c = Client(s.port)
                if kind == 0:
                    c.get("/bytes/1000")
                elif kind == 1:
                    c.send(UPGRADE % b"/upgrade")
                    c.head()
                    c.send(b"x")
                    c.recv()
                elif kind == 2:
                    c.send(b"GET /bytes/1000000 HTTP/1.1\r\nHost: a\r\n\r\n")
                    c.reset()
                else:
                    c.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n123")
                c.close()
            except Exception:
                pass
    threads = [threading.Thread(target=churn, args=(i % 4,), daemon=True) for i in range(8)]
    for thread in threads:
        thread.start()
    ends = time.monotonic() + 4 * scale()
    count = 0
    while time.monotonic() < ends:
        is_ok, text = s.reload(route='websocket #true\npolicies { response-headers { set { X-Generation "%d"; }; }; }' % count)
        check(is_ok or "still in use" in text, "%s", text)
        count += 1
    is_over[0] = True
    for thread in threads:
        thread.join(10 * scale())
    check(count > 5)
    check_eq(fetch(s.port, "/bytes/1").status, 200)
    wait_for(lambda: s.metric("snapshots") == 1, "old snapshots remain", 10)


def test_upstream_is_replaced_and_its_connections_end(t):
    a, b = t.origin(), t.origin()
    s = t.sentinel(a)
    check_eq(fetch(s.port, "/bytes/1").status, 200)
    s.check_reload(upstreams='upstream "o" { target "127.0.0.1:%d"; }' % b.port)
    check_eq(fetch(s.port, "/bytes/1").status, 200)
    check_eq((len(a.requests), len(b.requests)), (1, 1))
    a.wait_ends(10)


def test_settings_of_listeners_and_limits_change(t):
    s = t.sentinel(t.origin())
    with Client(s.port) as c:
        check_eq(c.request("POST", "/echo", body=b"x" * 100).status, 200)
        s.check_reload(limits="max-body-size 10", listener="keepalive-max-requests 1")
        wait_for(lambda: fetch(s.port, "/echo", "POST", body=b"x" * 100).status == 413, "the new limit")
        check_in("close", c.get("/bytes/1").get("connection") or "", "a kept connection has the old settings")


def test_reload_command_prints_what_changed(t):
    s = t.sentinel(t.origin())
    s.write_config(routes='route "another" { matches { path-prefix "/"; }; upstream "o"; }')
    out = s.command("reload")
    check_in("another", out)
    s.write_config(routes='route "broken" { matches { path "/"; }; upstream "nowhere"; }')
    code, out, err = s.command("reload", check_code=None)
    check_eq(code, 1)
    check_in("nowhere", out + err)
    check_in("sentinel0.kdl:", out + err)
    s.write_config(routes='route "broken" {')  # no KDL at all: where the socket is cannot be read
    code, out, err = s.command("reload", "--socket", s.socket_path, check_code=None)
    check_eq(code, 1)
    check_in("sentinel0.kdl:", out + err)
