# SPDX-License-Identifier: GPL-2.0-only
# test_guard_budgets.py - budgets of sources and bans that come by themselves, with the real daemon behind a veth pair (root).
import datetime
import fcntl
import json
import os
import pty
import socket
import struct
import subprocess
import termios
import time

from lib import Client, PeerReset, check, check_eq, check_in, wait_for
from lib.case import scale
from test_guard_kernel import BAD, GOOD, Peer, wait_port_free
from test_sockmap import UPGRADE, in_kernel

ALONE = ("test_flood_from_a_prefix_harms_no_client_outside_of_it", "test_known_client_inside_of_a_flooding_prefix_is_served",
         "test_flood_of_invented_sources_harms_no_known_client")
LIMITED = 'route "all" {\nmatches { path-prefix "/"; }\nbuiltin-handler "status"\nfilters "few"\n}'
FEW = 'filter "few" { type "rate-limit"; max-rps "1/h"; burst 3; }'

BURST = """
import select, socket, sys, time
source, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
left = [socket.socket() for _ in range(count)]
end, made = time.monotonic() + 0.8, 0
for s in left:
    s.setblocking(False)
    s.bind((source, 0))
    s.connect_ex(("10.78.0.1", port))
is_over = False
while left and not is_over:
    is_over = time.monotonic() >= end  # and one more look
    for s in select.select([], left, [], max(0, end - time.monotonic()))[1]:
        made += s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        left.remove(s)
        s.close()
print(made)
"""


def start(t, block, guard=True, **keys):
    s = t.sentinel(start=False, **keys)
    top = "kernel {\n%s\n%s\n}" % ('interface "guard0"' if guard else "", block)
    s.write_config(listeners='listener "main" { address "[::]:%d"; }' % s.port, top=top + "\n" + keys.get("more", ""))
    s.start()
    return s


def burst(peer, source, port, count):
    """How many of so many connections at once were made before the kernel would repeat a SYN, which it does after a second."""
    return int(run_in(peer, BURST, source, port, count).communicate()[0])


def test_client_over_its_budget_is_dropped_in_the_kernel(t):
    peer = Peer(t)
    s = start(t, 'budget { connections "2/h" burst=5 per="ip"; }')
    check_eq(peer.get(GOOD, s.port, 5), 200)
    got = burst(peer, BAD, s.port, 12)
    # The first of a source that nobody knew were counted in the sketch; what was used there its own bucket knows.
    check(5 <= got <= 7, "%d connections were made", got)
    check(s.metric("kernel_drops_total", reason="connection_budget") >= 12 - got, "the kernel did not drop them")
    for _ in range(3):
        check_eq(peer.get(GOOD, s.port, 5), 200)
    dump = subprocess.run("bpftool map dump pinned /sys/fs/bpf/sentinel/%s/v2/budgets" % s.instance, shell=True,
                          stdout=subprocess.PIPE, check=True).stdout.decode()
    check_in("connections_ip", dump)
    # A reload in the middle of a burst fills nobody's bucket.
    s.check_reload(top='kernel {\ninterface "guard0"\nbudget { connections "2/h" burst=5 per="ip"; }\nacl { deny "%s"; }\n}'
                   % "10.79.0.0/16")
    check_eq(burst(peer, BAD, s.port, 3), 0)


def test_network_has_one_budget_and_allowed_sources_none(t):
    peer = Peer(t)
    s = start(t, 'budget { connections "2/h" burst=4 per="/24"; }\nacl { allow "%s"; }' % GOOD)
    check_eq(burst(peer, BAD, s.port, 10), 4)
    check_eq(burst(peer, GOOD, s.port, 10), 10)


def test_packets_have_a_budget(t):
    peer = Peer(t)
    s = start(t, 'budget { packets "10/s" burst=40 per="ip"; }')
    burst(peer, BAD, s.port, 60)
    check(s.metric("kernel_drops_total", reason="packet_budget") > 0, "no packet was dropped")
    check_eq(peer.get(GOOD, s.port, 5), 200)


def test_without_a_guard_connections_are_counted_when_accepted(t):
    peer = Peer(t)
    s = start(t, 'budget { connections "2/h" burst=5 per="ip"; packets "1000/s" per="ip"; }', guard=False)
    codes = [peer.get(BAD, s.port, 5) for _ in range(9)]
    check_eq(codes, [200] * 5 + [0] * 4)
    check_eq(s.metric("refused_connections_total", reason="connection_budget"), 4)
    check_eq(peer.get(GOOD, s.port, 5), 200)
    check_in("not enforced", s.command("status"))
    check_eq(json.loads(s.command("status", "--json"))["kernel"]["budgets"],
             {"connections": "accepted connections", "packets": "not enforced", "saturated": False})
    check_in("not enforced", "".join(str(x) for x in s.command("check", check_code=None)))
    # Loopback has no budget.
    for _ in range(9):
        with socket.create_connection(("127.0.0.1", s.port)) as c:
            c.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            check_in(b"200", c.recv(100))


def seconds(when):
    return round(datetime.datetime.fromisoformat(when.replace("Z", "+00:00")).timestamp())


def ban_of(s, address):
    found = [b for b in json.loads(s.command("ban", "list", "--json")) if b["address"] == address]
    return found[0] if found else None


def start_limited(t, ban, guard=True):
    s = t.sentinel(start=False)
    top = "kernel {\n%s\n%s\n}" % ('interface "guard0"' if guard else "", ban)
    s.write_config(listeners='listener "main" { address "[::]:%d"; }' % s.port, routes=LIMITED, filters=FEW, top=top)
    s.start()
    return s


def test_client_that_keeps_being_refused_is_banned_and_comes_off(t):
    peer = Peer(t)
    lasts = int(6 * scale())  # what is looked at while it holds takes longer, too
    s = start_limited(t, 'ban { after 5; within "30s"; for "%ds"; max "60s"; }' % lasts)
    # Somebody else is well behaved, and stays so; an open connection of the bad one is there when the ban comes.
    check_eq(peer.get(GOOD, s.port, 5), 200)
    idle = subprocess.Popen(["nsenter", "-n", "-t", str(peer.process.pid), "python3", "-c",
                             "import socket\ns=socket.socket(); s.bind((\"%s\",0)); s.connect((\"10.78.0.1\",%d))\n"
                             "print(\"open\",flush=True)\n"
                             "try:\n print(s.recv(1), flush=True)\nexcept ConnectionResetError: print(\"reset\")"
                             % (BAD, s.port)], stdout=subprocess.PIPE)
    t.closers.append(idle.kill)
    check_eq(idle.stdout.readline(), b"open\n")
    codes = [peer.get(BAD, s.port, 5) for _ in range(8)]
    check_eq(codes, [200] * 3 + [429] * 5)
    wait_for(lambda: ban_of(s, BAD), "the ban")
    check_eq(peer.get(BAD, s.port), 0)
    ban = ban_of(s, BAD)
    check_eq((ban["why"], ban["strikes"], ban["enforced"]), ("rate-limit", 1, "kernel"))
    check(ban["hits"] >= 1 and ban["since"] < ban["until"], "%s", ban)
    check(s.metric("kernel_drops_total", reason="block") >= 1, "the ban is not the kernel's")
    check(idle.stdout.readline() in (b"reset\n", b""), "the open connection was not reset")
    check_eq(s.metric("automatic_bans_total"), 1)
    wait_for(lambda: ban_of(s, BAD) is None, "the end of the ban", 10)
    check_eq(peer.get(BAD, s.port, 5), 429)
    # Again: twice as long.
    for _ in range(8):
        if peer.get(BAD, s.port) == 0:
            break
    wait_for(lambda: ban_of(s, BAD), "the second ban")
    ban = ban_of(s, BAD)
    check_eq((ban["strikes"], seconds(ban["until"]) - seconds(ban["since"])), (2, 2 * lasts))
    check_eq(peer.get(GOOD, s.port, 5), 200)


def test_kill_keeps_the_end_of_a_ban(t):
    peer = Peer(t)
    s = start_limited(t, 'ban { after 2; within "30s"; for "300s"; max "1h"; }')
    for _ in range(6):
        peer.get(BAD, s.port)
    wait_for(lambda: ban_of(s, BAD), "the ban")
    until = ban_of(s, BAD)["until"]
    s.kill()
    wait_port_free(s.port)
    s.start()
    after = ban_of(s, BAD)
    check_eq((after["why"], after["strikes"]), ("rate-limit", 1))
    check(abs(seconds(after["until"]) - seconds(until)) <= 1, "%s, and before %s", after["until"], until)
    check_eq(peer.get(BAD, s.port), 0)
    s.check_reload()
    check_eq(peer.get(BAD, s.port), 0)
    # An orderly stop takes the programs off, and leaves the bans.
    s.stop()
    s.start()
    check_eq(ban_of(s, BAD)["why"], "rate-limit")
    check_eq(peer.get(BAD, s.port), 0)


def test_client_that_a_header_names_is_banned_in_userspace(t):
    s = t.sentinel(start=False)
    s.write_config(routes=LIMITED, filters=FEW, system='trusted-proxies "127.0.0.1"',
                   top='kernel { ban { after 2; within "30s"; for "60s"; }\n}')
    s.start()

    def get(client):
        with Client(s.port) as c:
            return c.get("/", ("X-Forwarded-For", client)).status

    codes = [get("203.0.113.7") for _ in range(5)]
    check_eq(codes, [200, 200, 200, 429, 429])
    wait_for(lambda: get("203.0.113.7") == 403, "the ban")
    check_eq(get("203.0.113.8"), 200)
    check_in("header", ban_of(s, "203.0.113.7")["enforced"])


def test_some_can_never_be_banned(t):
    peer = Peer(t)
    ban = 'kernel {\ninterface "guard0"\n%s\nban { after 2; within "30s"; for "60s"; }\n}'
    upstream = 'upstream "o" { target "%s:9"; }' % BAD
    s = t.sentinel(start=False)
    s.write_config(listeners='listener "main" { address "[::]:%d"; }' % s.port, routes=LIMITED, filters=FEW,
                   top=ban % ('acl { allow "%s"; }' % BAD))
    s.start()
    for changes in ({}, {"top": ban % "", "upstreams": upstream},
                    {"top": ban % "", "system": 'trusted-proxies "10.78.0.0/30"'}):
        s.check_reload(listeners='listener "main" { address "[::]:%d"; }' % s.port, routes=LIMITED, filters=FEW,
                       **dict({"top": ban % ('acl { allow "%s"; }' % BAD), "upstreams": "", "system": ""}, **changes))
        codes = [peer.get(BAD, s.port, 5) for _ in range(9)]
        check_eq(codes[-4:], [429] * 4)
        time.sleep(0.3 * scale())
        check(ban_of(s, BAD) is None, "%r did not spare it", changes)
    check_eq(s.metric("automatic_bans_total"), 0)
    s.check_reload(listeners='listener "main" { address "[::]:%d"; }' % s.port, routes=LIMITED, filters=FEW,
                   top=ban % "", upstreams="", system="")
    for _ in range(4):
        peer.get(BAD, s.port)
    wait_for(lambda: ban_of(s, BAD), "the ban of somebody whom nothing spares")


def test_crowd_behind_one_address_is_not_banned(t):
    peer = Peer(t)
    s = t.sentinel(start=False)
    few = 'filter "few" { type "rate-limit"; max-rps "1/h"; burst 1; key "composite" "client-ip" "header:X-User"; }'
    s.write_config(listeners='listener "main" { address "[::]:%d"; }' % s.port, routes=LIMITED,
                   filters=few, top='kernel { ban { after 3; within "30s"; for "60s"; }\n}')
    s.start()

    def get(user):
        return peer.shell("curl -s -o /dev/null -w %%{http_code} -m 5 -H X-User:%s --interface %s http://10.78.0.1:%d/"
                          % (user, BAD, s.port))

    check_eq(get("one"), "200")
    check_eq(get("two"), "200")
    for _ in range(5):
        check_eq(get("two"), "429")
    wait_for(lambda: "a shared address?" in s.stderr(), "the line of the log")
    check(ban_of(s, BAD) is None, "a shared address is banned")
    check_eq(get("three"), "200")


def test_top_shows_whom_the_guard_drops(t):
    peer = Peer(t)
    s = start(t, 'budget { connections "2/h" burst=2 per="ip"; }')
    burst(peer, BAD, s.port, 12)

    def reading():
        return json.loads(s.command("kernel", "top", "--json"))

    wait_for(lambda: any(r["address"] == BAD for r in reading()["sources"]), "samples of the drops")
    seen = reading()
    check(seen["attached"], "attached")
    check_eq([r["reason"] for r in seen["sources"] if r["address"] == BAD], ["connection_budget"])
    check_in("10.78.0.0/24", [r["network"] for r in seen["networks"]])
    check(any(r["reason"] == "connection_budget" and r["packets"] >= 8 for r in seen["drops"]), "%s", seen)
    once = s.command("kernel", "top")
    check_in(BAD, once)
    check("\x1b" not in once, "no terminal, and colours all the same")
    # On a terminal: its other screen, until q.
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(s.case.binary, [s.case.binary, "kernel", "top", "-c", s.config_path])
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 12, 60, 0, 0))
    shown = b""
    deadline = time.monotonic() + 10 * scale()
    while BAD.encode() not in shown and time.monotonic() < deadline:
        shown += os.read(fd, 4096)
    os.write(fd, b"q")
    try:
        while time.monotonic() < deadline:
            more = os.read(fd, 4096)
            if not more:
                break
            shown += more
    except OSError:  # the other end is closed
        pass
    check_eq(os.waitpid(pid, 0)[1], 0)
    check(b"\x1b[?1049h" in shown and b"\x1b[?1049l" in shown.split(b"\x1b[?1049h")[1], "%r", shown)
    check(b"\x1b[1m" in shown, "no colour on a terminal")
    os.close(fd)


# SYNs from invented sources of 10.99.0.0/16, by a raw socket: argv is interface, port, seconds, /24s, packets a second
# (or what the machine can: then it lasts longer, and has 100,000 packets all the same).
FLOOD = """
import errno, random, socket, struct, sys, time
name, port, seconds, nets, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
mac = bytes.fromhex(sys.argv[6].replace(":", ""))
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((name, 0))
def words(b):
    n = sum(struct.unpack("!%dH" % (len(b) // 2), b))
    while n >> 16:
        n = (n & 0xffff) + (n >> 16)
    return ~n & 0xffff
def frame(a, b):
    source, to = bytes([10, 99, a, b]), bytes([10, 78, 0, 1])
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, source, to)
    ip = ip[:10] + struct.pack("!H", words(ip)) + ip[12:]
    tcp = struct.pack("!HHLLBBHHH", random.randrange(1024, 65535), port, 1, 0, 0x50, 2, 1024, 0, 0)
    check = words(source + to + struct.pack("!HH", 6, len(tcp)) + tcp)
    tcp = tcp[:16] + struct.pack("!H", check) + tcp[18:]
    return mac + b"\\2\\0\\0\\0\\0\\1" + struct.pack("!H", 0x800) + ip + tcp
frames = [frame(n % nets, 1 + n // nets % 250) for n in range(min(nets * 250, 20000))]
end, sent, began = time.monotonic() + seconds, 0, time.monotonic()
while time.monotonic() < end or sent < 100000:
    for _ in range(200):
        try:
            s.send(frames[sent % len(frames)])
            sent += 1
        except OSError as error:  # the receiver's queue is full: such a packet is none
            if error.errno != errno.ENOBUFS:
                raise
            time.sleep(0.001)
    ahead = sent / rate - (time.monotonic() - began)
    if ahead > 0:
        time.sleep(ahead)
print(sent)
"""

CLIENT = """
import socket, sys, time
source, port, count, patience = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
good, times = 0, []
for _ in range(count):
    began = time.monotonic()
    try:
        s = socket.socket(); s.settimeout(patience); s.bind((source, 0)); s.connect(("10.78.0.1", port))
        s.sendall(b"GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n")
        good += b" 200 " in s.recv(100)[:20]
        s.close()
    except OSError:
        pass
    times.append(time.monotonic() - began)
    time.sleep(0.02)
times.sort()
print(good, times[len(times) * 99 // 100])
"""


def run_in(peer, script, *args):
    return subprocess.Popen(["nsenter", "-n", "-t", str(peer.process.pid), "python3", "-c", script]
                            + [str(a) for a in args], stdout=subprocess.PIPE)


def client(peer, source, port, count):
    """(answers, the 99th percentile in seconds) of so many requests, one after the other."""
    good, slow = run_in(peer, CLIENT, source, port, count, 2 * scale()).communicate()[0].split()
    return int(good), float(slow)


def flooded(peer, s, source, nets, rate):
    mac = open("/sys/class/net/guard0/address").read().strip()
    flood = run_in(peer, FLOOD, "peer0", s.port, 6, nets, rate, mac)
    time.sleep(1.5)
    got = client(peer, source, s.port, 100)
    sent = int(flood.communicate()[0])
    return got + (sent,)


def test_flood_from_a_prefix_harms_no_client_outside_of_it(t):
    peer = Peer(t)
    s = start(t, 'budget { connections "100/s" burst=200 per="ip"; connections "200/s" burst=400 per="/24"; }')
    quiet = client(peer, GOOD, s.port, 100)
    good, slow, sent = flooded(peer, s, GOOD, 1, 50000)
    check_eq((quiet[0], good), (100, 100))
    dropped = s.metric("kernel_drops_total", reason="connection_budget")
    check(dropped > sent * 0.8, "%d of %d were dropped", dropped, sent)
    print("p99 %.1f ms quiet, %.1f ms with %d packets" % (quiet[1] * 1000, slow * 1000, sent))


def behind(peer, source):
    """The peer gets an address of the network that the floods come from."""
    peer.shell("ip addr add %s/32 dev peer0" % source)
    subprocess.run("ip route add 10.99.0.0/16 dev guard0", shell=True, check=True)


def test_known_client_inside_of_a_flooding_prefix_is_served(t):
    """The prefix itself has no budget; its 250 other addresses are far over theirs."""
    peer = Peer(t)
    behind(peer, "10.99.0.251")
    s = start(t, 'budget { connections "10/s" burst=110 per="ip"; }')
    check_eq(client(peer, "10.99.0.251", s.port, 3)[0], 3)  # from now on it is known, and has enough for what it will ask
    good, slow, sent = flooded(peer, s, "10.99.0.251", 1, 50000)
    check_eq(good, 100)
    dropped = s.metric("kernel_drops_total", reason="connection_budget")
    check(dropped > sent // 10, "%d of %d were dropped", dropped, sent)
    print("p99 %.1f ms with %d packets" % (slow * 1000, sent))


def map_bytes(s):
    """Of the maps that the daemon holds."""
    found, folder = {}, "/proc/%d/fdinfo" % s.pid
    for name in os.listdir(folder):
        try:
            with open(os.path.join(folder, name), encoding="ascii") as file:
                rows = dict(line.split(":", 1) for line in file if ":" in line)
        except FileNotFoundError:  # a connection that was closed meanwhile
            continue
        if "map_id" in rows:
            found[rows["map_id"]] = int(rows["memlock"])
    check(found, "it holds no map")
    return sum(found.values())


def test_flood_of_invented_sources_harms_no_known_client(t):
    peer = Peer(t)
    behind(peer, "10.99.7.251")
    s = start(t, 'budget { connections "100/s" burst=100 per="ip"; }')
    check_eq(client(peer, "10.99.7.251", s.port, 3)[0], 3)  # from now on it is known
    before, maps = s.rss(), map_bytes(s)
    good, slow, sent = flooded(peer, s, "10.99.7.251", 80, 50000)
    check_eq(good, 100)
    check(s.rss() - before < 16 << 20, "memory grew by %d bytes", s.rss() - before)
    check(map_bytes(s) - maps < 1 << 20, "maps grew by %d bytes", map_bytes(s) - maps)
    print("p99 %.1f ms with %d packets" % (slow * 1000, sent))


def is_reset(c):
    try:
        return c.recv() == b""
    except (PeerReset, ConnectionResetError):
        return True


def test_ban_resets_what_is_open(t):
    """Whatever the connection is doing: nothing, a body, a tunnel that is copied or one in the kernel."""
    for engine in ("copy", "sockmap"):
        s = t.sentinel(t.origin(), route="websocket #true\n", top='kernel { splice "%s"; }' % engine)
        clients = [Client(s.port, source="127.0.0.9") for _ in range(3)]
        clients[1].send(b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
        clients[2].send(UPGRADE % b"/upgrade")
        check_eq(clients[2].head().status, 101)
        if engine == "sockmap":
            in_kernel(s)
        other = Client(s.port, source="127.0.0.8")
        check_eq(other.get("/").status, 200)
        s.command("ban", "add", "127.0.0.9", "--for", "1m")
        for c in clients:
            check(is_reset(c), "a connection of the banned client goes on")
        check_eq(other.get("/").status, 200)
        try:
            check(is_reset(Client(s.port, source="127.0.0.9")), "it came in again")
        except ConnectionResetError:
            pass
        s.stop()
        s.check_clean()
