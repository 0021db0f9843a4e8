# SPDX-License-Identifier: GPL-2.0-only
# test_flows.py - tunnels in the kernel: whether it can have them and why not, and the list of those that are open.
import json
import os
import socket
import subprocess
import time

from lib import Skip, check, check_eq, check_in, wait_for
from lib.case import scale
from test_tunnel import echoes, tunnel_open
from test_unprivileged import as_nobody

WEBSOCKET = "websocket #true"


def kernel(s):
    return s.status()["kernel_tunnels"]


def flows(s, *words):
    return json.loads(s.command("flows", "--json", *words))


def needs_root():
    if os.geteuid() != 0:
        raise Skip("takes root")


def ids(kind, pid):
    """Of the BPF maps or programs that the process holds."""
    found = set()
    for name in os.listdir("/proc/%d/fdinfo" % pid):
        try:
            with open("/proc/%d/fdinfo/%s" % (pid, name), encoding="ascii", errors="replace") as file:
                found.update(int(line.split()[1]) for line in file if line.startswith(kind + "_id:"))
        except FileNotFoundError:  # closed meanwhile: none of those that stay
            pass
    return found


def shown(kind, pid=None, wanted=()):
    """Names by id, as bpftool shows them, of a process or of those that are wanted."""
    done = subprocess.run(["bpftool", "-j", kind, "show"], stdout=subprocess.PIPE, check=True)
    wanted = ids(kind, pid) if pid else wanted
    return {x["id"]: x.get("name") for x in json.loads(done.stdout) if x["id"] in wanted}


# ---- whether it can ----

def test_with_rights_the_selftest_passes_and_all_say_so(t):
    needs_root()
    s = t.sentinel(t.origin(), workers=2)
    k = kernel(s)
    check_eq((k["available"], k["state"], k["reason"]), (True, "on", None))
    check_eq((k["selftest"]["cases"], k["selftest"]["failed_case"]), (7, None))
    check(0 < k["selftest"]["microseconds"] < 20e6, "%s", k)
    check_in("kernel tunnels on (self-test 7 cases, ", s.command("status"))
    m = s.metrics()
    check_eq(m.sum("sockmap_available", reason="on", case="none"), 1)
    check_eq(m.sum("sockmap_selftest_seconds"), k["selftest"]["microseconds"] / 1e6)
    check_eq([m.sum("sockmap_%s_total" % n) for n in ("joins", "refused", "left", "failed")], [0, 0, 0, 0])
    # What it tried the kernel with is gone again.
    check_eq(sorted(n for n in shown("map", s.pid).values() if "rodata" not in n and not n.startswith("steer_")),
             ["flow_ctl", "flow_slots", "flow_socks", "flow_stat", "splice_ring", "splice_ring", "splice_rings"])
    check_eq(sorted(n for n in shown("prog", s.pid).values() if n != "sn_steer"), ["sn_splice", "sn_splice_leave"])


def test_a_killed_daemon_leaves_nothing_in_the_kernel(t):
    needs_root()
    s = t.sentinel(t.origin())
    held = {kind: ids(kind, s.pid) for kind in ("map", "prog")}
    check(all(held.values()), "%s", held)
    s.kill()
    wait_for(lambda: not any(shown(kind, wanted=held[kind]) for kind in held), "maps and programs of the killed daemon", 10)


def test_without_rights_it_says_why_and_serves(t):
    s = as_nobody(t, route=WEBSOCKET)
    s.start()
    k = kernel(s)
    check_eq((k["available"], k["state"], k["selftest"]["cases"]), (False, "not_loaded", 0))
    check_in("CAP_BPF", k["reason"])
    check_in("kernel tunnels off: not permitted: it takes CAP_BPF", s.admin("status")[1])
    check_eq(len([line for line in s.stderr().splitlines() if "tunnels in the kernel are off" in line]), 1)
    check_eq(s.metrics().sum("sockmap_available", reason="not_loaded", case="none"), 0)
    check(s.metrics().has("sockmap_available"), "no sample")
    echoes(tunnel_open(s), b"served all the same")


def test_a_file_that_excludes_it_loads_nothing_until_the_next_start(t):
    needs_root()
    o = t.origin()
    s = t.sentinel(o, top='kernel { splice "splice"; }')
    check_eq((kernel(s)["state"], kernel(s)["available"]), ("excluded", False))
    check_eq(shown("map", s.pid), {})
    s.check_reload(top='kernel { splice "auto"; }')
    check_in("takes effect at the next start", s.stderr())
    check_eq(kernel(s)["state"], "excluded")
    check_in("from the next start on", s.command("status"))
    s.stop()
    s.start()
    check_eq(kernel(s)["state"], "on")


# ---- the list ----

def test_a_websocket_is_listed_with_its_bytes(t):
    o = t.origin()
    s = t.sentinel(o, route=WEBSOCKET)
    check_eq(s.command("flows"), "no tunnel is open\n")
    check_eq(flows(s), {"tunnels": 0, "shown": 0, "flows": []})
    c = tunnel_open(s)
    echoes(c, b"x" * 3000)
    time.sleep(1.1)  # age and idle time are what is measured
    echoes(c, b"y" * 1234)
    found = flows(s)
    check_eq((found["tunnels"], found["shown"]), (1, 1))
    f = found["flows"][0]
    check_eq(f["client"], "%s:%d" % c.socket.getsockname()[:2])
    check_eq(f["origin"], "127.0.0.1:%d" % o.port)
    check_eq([f[k] for k in ("listener", "route", "upstream", "kind")], ["main", "all", "o", "websocket"])
    check_eq(f["bytes"], {"to_origin": 4234, "to_client": 4234})
    check(f["age_ms"] >= 1100 and f["age_ms"] - f["idle_ms"] >= 600, "%s", f)  # asking may take long
    for word in f["engine"].values():
        check(word in ("copy", "splice", "sockmap"), "%s", f)
    text = s.command("flows").splitlines()
    check_eq(len(text), 2)
    check_eq(text[0].split()[:4], ["CLIENT", "ORIGIN", "ROUTE", "KIND"])
    check_eq(text[1].split()[:4], [f["client"], f["origin"], "all", "websocket"])
    c.half_close()
    check_eq(c.check_closed(), "fin")
    wait_for(lambda: flows(s)["tunnels"] == 0, "the tunnel has ended")


def test_a_tunnel_in_the_kernel_is_told_by_list_status_and_metrics(t):
    needs_root()
    s = t.sentinel(t.origin(), route=WEBSOCKET, top='kernel { splice "sockmap"; }', workers=2)
    c = tunnel_open(s)
    wait_for(lambda: kernel(s)["tunnels"] == 1, "the tunnel in the kernel")
    for _ in range(20):
        echoes(c, b"k" * 1000)
    f = flows(s)["flows"][0]
    check_eq(f["engine"], {"to_origin": "sockmap", "to_client": "sockmap"})
    check_eq(f["bytes"], {"to_origin": 20000, "to_client": 20000})
    for side in ("to_origin", "to_client"):
        check(0 < f["kernel_bytes"][side] <= 20000, "%s", f)
    check_eq(f["joins"], 1)
    row = s.command("flows").splitlines()[1].split()
    check_eq(row[4], "sockmap")
    check_eq(row[7], "%d%%" % (sum(f["kernel_bytes"].values()) * 100 // 40000))
    check_in(", 1 tunnel in the kernel\n              joined 1, refused 0; left 0 asked", s.command("status"))
    c.half_close()
    check_eq(c.check_closed(), "fin")
    wait_for(lambda: kernel(s)["tunnels"] == 0, "it has left")
    k, m = kernel(s), s.metrics()
    check_eq((k["joins"], k["left"], k["failed"]), (1, {"asked": 0, "ended": 1, "refused": 0, "moved": 0}, 0))
    check_eq([m.sum("sockmap_joins_total"), m.sum("sockmap_left_total", reason="ended"), m.sum("sockmap_tunnels")], [1, 1, 0])
    check(m.sum("sockmap_switches_total", event="arm") >= 2, "%s", [x for x in m.samples if "sockmap" in x[0]])
    check_eq(s.command("flows"), "no tunnel is open\n")


def test_the_largest_of_all_workers_come_first(t):
    s = t.sentinel(t.origin(), route=WEBSOCKET, workers=2)
    clients = []
    for i in range(12):
        clients.append(tunnel_open(s))
        echoes(clients[-1], b"z" * (100 * (i * 5 % 12 + 1)))
    found = flows(s, "--limit", "5")
    check_eq((found["tunnels"], found["shown"]), (12, 5))
    check_eq([f["bytes"]["to_client"] for f in found["flows"]], [1200, 1100, 1000, 900, 800])
    check_in("5 of 12 tunnels", s.command("flows", "--limit", "5"))
    check(" of " not in s.command("flows"), "nothing was cut")
    check_eq(s.command("flows", "--limit", "0", check_code=None)[0], 1)
    check_eq(s.command("flows", "--limit", "all", check_code=None)[0], 2)
    for c in clients:
        c.close()


def ask(s):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(s.socket_path)
    sock.settimeout(10 * scale())
    sock.sendall(b"json flows\n")
    return sock


def answer(sock):
    data = b""
    while True:
        piece = sock.recv(65536)
        if not piece:
            return data
        data += piece


def test_who_asks_and_goes_leaves_nothing(t):
    s = t.sentinel(t.origin(), route=WEBSOCKET, workers=2)
    c = tunnel_open(s)
    echoes(c, b"hello")
    s.sleep_ticks(1.1)  # both workers publish their gauges
    before = s.baseline()
    for _ in range(300):
        try:
            ask(s).close()
        except BrokenPipeError:  # more than are let in at once
            pass
    wait_for(lambda: all(s.answers() for _ in range(5)), "the admin socket answers again")
    s.wait_gauges(before)
    for _ in range(20):  # half a close is a question like others
        with ask(s) as sock:
            sock.shutdown(socket.SHUT_WR)
            data = answer(sock)
        check(data.startswith(b"ok\n{\"tunnels\":1,") or data.startswith(b"error\ntoo many"), "%r", data[:100])
    check_eq(flows(s)["tunnels"], 1)
    s.wait_gauges(before)
    c.close()


def test_it_may_be_asked_while_the_daemon_stops(t):
    for _ in range(5):
        s = t.sentinel(t.origin(), route=WEBSOCKET, workers=2)
        c = tunnel_open(s)
        echoes(c, b"hello")
        asked = [ask(s) for _ in range(4)]
        s.admin("stop now")
        for sock in asked:
            try:
                data = answer(sock)
            except OSError:
                data = b""
            check(data == b"" or data.startswith(b"ok\n") or data.startswith(b"error\n"), "%r", data[:100])
            sock.close()
        check_eq(s.wait_exit(), 0)
        s.check_clean()
        c.close()


def test_a_stop_ends_tunnels_in_the_kernel(t):
    needs_root()
    for how in ("TERM", "now"):
        s = t.sentinel(t.origin(), route=WEBSOCKET, top='kernel { splice "sockmap"; }', workers=2,
                       system='graceful-shutdown-timeout-secs "600ms"')
        clients = [tunnel_open(s) for _ in range(8)]
        wait_for(lambda: kernel(s)["tunnels"] == 8, "the tunnels in the kernel")
        for c in clients:
            echoes(c, b"x" * 5000)
        held = {kind: ids(kind, s.pid) for kind in ("map", "prog")}
        if how == "TERM":
            s.stop()
        else:
            s.admin("stop now")
            check_eq(s.wait_exit(), 0)
            s.check_clean()
        for c in clients:
            check_in(c.check_closed(), ("fin", "rst"))
        wait_for(lambda: not any(shown(kind, wanted=held[kind]) for kind in held), "maps and programs", 5)


def test_more_workers_than_the_kernel_serves(t):
    needs_root()
    s = t.sentinel(t.origin(), route=WEBSOCKET, workers=70, top='kernel { splice "sockmap"; }',
                   upstream="connection-pool { max-connections 7000; }")
    check_eq(kernel(s)["state"], "on")
    check_in("only 64 of 70 workers use it", s.stderr())
    clients = [tunnel_open(s) for _ in range(100)]
    for c in clients:
        echoes(c, b"hello")
    check_eq(flows(s)["tunnels"], 100)
    for c in clients:
        c.close()
