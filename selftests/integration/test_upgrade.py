# SPDX-License-Identifier: GPL-2.0-only
# test_upgrade.py - the program on disk takes over from the one that runs: nothing is lost, a bad one changes nothing.
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

from lib import Client, PeerReset, Skip, accepts, check, check_eq, check_in, fetch, wait_for
from lib.case import scale
from lib.h2 import H2Client
from test_guard_kernel import BAD, BAD6, DENY, GOOD, GOOD6, Peer, kernel, shell, start
from test_reload import Load
from test_tunnel import echoes, tunnel_open

LONG = ("test_guard_never_opens", "test_guard_comes_back_from_a_process_that_dies_with_it")


class Successor:
    """What subprocess.Popen is to the first process of a daemon: the ones after it are our children too."""

    def __init__(self, pid):
        self.pid = pid
        self.returncode = None

    def poll(self):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, seconds=None):
        until = time.monotonic() + (seconds if seconds is not None else 1e9)
        while self.poll() is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired("sentinel", seconds)
            time.sleep(0.01)
        return self.returncode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def follow(t, s):
    """s is the process that serves now; returns the one before."""
    old = s.process
    s.process = Successor(s.status()["pid"])
    check(s.process.pid != old.pid, "the old process still serves")

    def end():
        if old.poll() is None:
            old.kill()
            old.wait()
    t.closers.append(end)
    return old


def upgrade(t, s):
    """By the command; returns the old process."""
    is_ok, text = s.admin("upgrade")
    check(is_ok, "upgrade: %s", text)
    old = follow(t, s)
    check_in("process %d serves now" % s.pid, text)
    return old


def ended(process, seconds=10):
    check_eq(process.wait(seconds * scale()), 0, "exit code of the old process")


def hold(s):
    """A kept connection: the process that has it waits for its next request."""
    c = Client(s.port)
    check_eq(c.get("/bytes/1").status, 200)
    return c


def hold_by_new(s):
    """The process before may still take somebody who comes while it leaves: then None."""
    c = hold(s)
    if s.status()["connections"] == 1:
        return c
    c.close()
    return None


def own_binary(t):
    """A copy that a test may replace."""
    path = t.path("sentinel")
    shutil.copy(t.binary, path)
    t.binary = path
    return path


def replace(path, text):
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path + ".new", 0o755)
    os.rename(path + ".new", path)


def test_new_process_serves_and_the_old_one_ends(t):
    s = t.sentinel(t.origin())
    s.write_config(route='policies { response-headers { set { X-New "1"; }; }; }')
    check_eq(fetch(s.port, "/bytes/1").get("x-new"), None)
    old = upgrade(t, s)
    ended(old)
    check_eq(fetch(s.port, "/bytes/1").get("x-new"), "1")
    wait_for(lambda: s.status()["older_processes"] == [], "the old process in the status")
    check_in("serves now, in the place of %d" % old.pid, s.stderr())


def test_sigusr2_upgrades(t):
    s = t.sentinel(t.origin())
    pid = s.pid
    s.signal(signal.SIGUSR2)
    wait_for(lambda: s.status()["pid"] != pid, "the new process", 15)
    ended(follow(t, s))
    check_eq(fetch(s.port, "/bytes/1").status, 200)


def test_service_manager_is_told_the_new_main_process(t):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(t.path("notify"))
        manager.settimeout(10 * scale())
        s = t.sentinel(t.origin(), env={"NOTIFY_SOCKET": t.path("notify")})
        check_eq(manager.recv(200), b"READY=1")
        old = upgrade(t, s)
        check_eq(manager.recv(200), b"MAINPID=%d" % s.pid)
        ended(old)
        s.stop()
        check_eq(manager.recv(200), b"STOPPING=1")


def test_ten_upgrades_under_load_lose_nothing(t):
    o = t.origin()
    s = t.sentinel(o, workers=2, route="websocket #true")
    load = Load(s.port)
    tunnels = [tunnel_open(s) for _ in range(5)]
    olds = []
    for i in range(10):
        before = load.done
        olds.append(upgrade(t, s))
        wait_for(lambda: load.done > before + 50, "the load to go on", 20)
        for n, tunnel in enumerate(tunnels):
            echoes(tunnel, b"%d of %d" % (n, i) * 50)
        tunnels.append(tunnel_open(s))
    check(load.stop() > 500)
    for tunnel in tunnels:
        echoes(tunnel, b"at the end")
        tunnel.close()
    for old in olds:
        ended(old, 20)
    check_eq(fetch(s.port, "/bytes/1").status, 200)
    s.check_clean()


def test_kept_connection_is_answered_once_more(t):
    s = t.sentinel(t.origin())
    kept = Client(s.port)
    check_eq(kept.get("/bytes/1").status, 200)
    old = upgrade(t, s)
    s.sleep_ticks(2.5)  # longer than an idle connection has at a stop
    check(old.poll() is None, "the old process did not wait")
    check_eq([p["pid"] for p in s.status()["older_processes"]], [old.pid])
    wait_for(lambda: s.status()["older_processes"][0]["connections"] == 1, "news of the old process")
    check_in("older process %d ends what it has open: 1 connections" % old.pid, s.command("status"))
    r = kept.get("/bytes/5")
    check_eq((r.status, (r.get("connection") or "").lower()), (200, "close"))
    kept.check_closed()
    ended(old)


def test_open_request_ends_in_the_old_process(t):
    o = t.origin()
    s = t.sentinel(o)
    c = Client(s.port)
    c.send(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
    o.wait_requests(1)
    old = upgrade(t, s)
    check_eq(fetch(s.port, "/bytes/1").status, 200)
    check(old.poll() is None)
    o.gate.set()
    r = c.response()
    check_eq((r.status, r.body), (200, b"at last"))
    ended(old)


def test_stop_ends_what_drains_as_well(t):
    o = t.origin()
    s = t.sentinel(o, system='graceful-shutdown-timeout-secs "600ms"')
    c = Client(s.port)
    c.send(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
    o.wait_requests(1)
    old = upgrade(t, s)
    s.sleep_ticks(1)
    check(old.poll() is None)
    s.stop()
    ended(old, 5)
    c.close()


def test_drain_can_be_bounded(t):
    s = t.sentinel(t.origin(), system='upgrade-drain-timeout "1s"')
    c = hold(s)
    began = time.monotonic()
    old = upgrade(t, s)
    ended(old, 5)
    check(time.monotonic() - began > 0.9)
    c.close()


def test_second_upgrade_while_the_first_drains(t):
    s = t.sentinel(t.origin())
    one = hold(s)
    first = upgrade(t, s)
    two = wait_for(lambda: hold_by_new(s), "a connection of the new process")
    second = upgrade(t, s)
    check_eq(sorted(p["pid"] for p in s.status()["older_processes"]), sorted([first.pid, second.pid]))
    check_eq(one.get("/bytes/9").status, 200)
    ended(first)
    wait_for(lambda: [p["pid"] for p in s.status()["older_processes"]] == [second.pid], "the first one's end")
    check_eq(two.get("/bytes/9").status, 200)
    ended(second)


def fails(s, pid, *texts):
    code, out, err = s.command("upgrade", check_code=None, timeout=30)
    check_eq(code, 1, out + err)
    for text in texts + ("process %d goes on" % pid,):
        check_in(text, err)
    check_eq(s.status()["pid"], pid)
    check_eq(fetch(s.port, "/bytes/3").status, 200)
    wait_for(lambda: s.admin("reload")[0], "the next reload")


def test_bad_program_changes_nothing(t):
    path = own_binary(t)
    s = t.sentinel(t.origin(), workers=2)
    load = Load(s.port)
    wait_for(lambda: load.done > 20, "the load")
    base = s.descriptors()
    keep = t.path("good")
    shutil.copy(path, keep)
    t.binary = keep  # for the commands
    replace(path, "#!/bin/sh\necho it is broken >&2\nexit 3\n")
    fails(s, s.pid, "it is broken", "ended before it served")
    replace(path, "no program at all\n")
    fails(s, s.pid, "it cannot be executed: Exec format error")
    replace(path, "#!/bin/sh\nyes 'so much to say' >&2\n")  # fills any pipe
    fails(s, s.pid, "so much to say")
    replace(path, "#!/bin/sh\nprintf nonsense >&3\nexec sleep 100\n")
    fails(s, s.pid, "what makes no sense")
    os.unlink(path)
    fails(s, s.pid, "it cannot be executed: No such file")
    shutil.copy(keep, path)
    wait_for(lambda: abs(s.descriptors() - base) < 12, "descriptors are left")
    old = upgrade(t, s)
    load.stop()
    ended(old)


def test_program_that_hangs_is_ended_after_ten_seconds(t):
    path = own_binary(t)
    s = t.sentinel(t.origin())
    keep = t.path("good")
    shutil.copy(path, keep)
    t.binary = keep
    replace(path, "#!/bin/sh\necho waiting >&2\nexec sleep 100\n")
    began = time.monotonic()
    fails(s, s.pid, "did not serve within 10 s", "waiting")
    check(9 < time.monotonic() - began < 13 * scale())
    is_ok, text = s.admin("status")
    check(is_ok and "is starting" not in text, "%s", text)


def test_what_changes_is_refused_while_one_starts(t):
    path = own_binary(t)
    s = t.sentinel(t.origin())
    replace(path, "#!/bin/sh\nexec sleep 100\n")
    s.signal(signal.SIGUSR2)
    wait_for(lambda: "is starting" in s.admin("status")[1], "the upgrade")
    for command in ("upgrade", "reload", "ban add 10.1.1.1"):
        is_ok, text = s.admin(command)
        check(not is_ok)
        check_in("an upgrade is under way", text)
    check_eq(fetch(s.port, "/bytes/3").status, 200)
    s.stop()  # gives it up and ends


def test_wrong_file_changes_nothing_and_says_what_is_wrong(t):
    s = t.sentinel(t.origin())
    good = s.config_text()
    s.write_config(routes='route "a" { matches { path "/"; }; upstream "nowhere"; }')
    code, _, err = s.command("upgrade", check_code=None)
    check_eq(code, 1)
    check_in("nowhere", err)
    check_in("sentinel0.kdl:", err)
    check_eq(fetch(s.port, "/bytes/3").status, 200)
    with open(s.config_path, "w", encoding="utf-8") as file:
        file.write(good.replace('instance "', 'instance "other-'))
    code, _, err = s.command("upgrade", "--socket", s.socket_path, check_code=None)
    check_eq(code, 1)
    check_in("it takes a restart", err)
    with open(s.config_path, "w", encoding="utf-8") as file:
        file.write(good)
    ended(upgrade(t, s))


def test_port_that_is_taken_changes_nothing(t):
    s = t.sentinel(t.origin())
    taken = t.origin()
    s.write_config(listeners='listener "main" { address "127.0.0.1:%d"; }\nlistener "more" { address "127.0.0.1:%d"; }'
                   % (s.port, taken.port))
    code, _, err = s.command("upgrade", check_code=None)
    check_eq(code, 1)
    check_in("another program has the port", err)
    check_eq(fetch(s.port, "/bytes/3").status, 200)


def test_workers_and_listeners_may_change(t):
    s = t.sentinel(t.origin(), workers=2)
    load = Load(s.port, clients=6)
    wait_for(lambda: load.done > 20, "the load")
    second = t.port()
    first = 'listener "main" { address "127.0.0.1:%d"; }\n' % s.port
    for workers, listeners in ((4, first), (1, first + 'listener "second" { address "127.0.0.1:%d"; }' % second),
                               (3, first)):
        s.write_config(workers=workers, listeners=listeners)
        old = upgrade(t, s)
        check_eq(s.status()["workers"], workers)
        before = load.done
        wait_for(lambda: load.done > before + 50, "the load to go on", 20)
        if "second" in listeners:
            check_eq(fetch(second, "/bytes/1").status, 200)
        ended(old, 20)
    load.stop()
    wait_for(lambda: not accepts(second), "the removed listener still accepts")


def test_pid_file_follows(t):
    s = t.sentinel(t.origin(), system='pid-file "%s"' % t.path("pid"))

    def number():
        with open(t.path("pid"), encoding="ascii") as file:
            return int(file.read())
    check_eq(number(), s.pid)
    old = upgrade(t, s)
    check_eq(number(), s.pid)
    ended(old)
    check_eq(number(), s.pid)
    s.stop()
    check(not os.path.exists(t.path("pid")))


def test_h2_is_told_to_go_away_and_its_streams_end(t):
    o = t.origin()
    s = t.sentinel(o, listener='protocol "h2c"')
    c = H2Client(s.port)
    stream = c.request("GET", "/never")
    o.wait_requests(1)
    old = upgrade(t, s)
    c.wait_goaway()
    o.gate.set()
    check_eq((stream.wait_end().status, stream.body), (200, b"at last"))
    c.close()
    ended(old)


def test_names_of_targets_are_known_before_the_first_request(t):
    o = t.origin()
    s = t.sentinel("localhost:%d" % o.port)
    wait_for(lambda: fetch(s.port, "/bytes/1").status == 200, "the name")
    lost, is_over = [], threading.Event()

    def ask():
        while not is_over.is_set():
            try:
                status = fetch(s.port, "/bytes/1").status
            except Exception as error:
                status = repr(error)
            if status != 200:
                lost.append(status)
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    for _ in range(3):
        ended(upgrade(t, s))
    is_over.set()
    thread.join()
    check_eq(lost, [])


def test_bans_survive_without_a_guard_in_the_kernel(t):
    s = t.sentinel(t.origin())
    for i in range(150):  # several pages
        check(s.admin("ban add 10.9.1.%d 1h" % i)[0])
    check(s.admin("ban add 127.0.0.9 1h")[0])
    ended(upgrade(t, s))
    is_ok, text = s.admin("ban list", "json")
    check(is_ok and text.count("10.9.1.") == 150, "%s", text[:300])

    def is_refused():
        try:
            with Client(s.port, source="127.0.0.9") as c:
                c.get("/bytes/1")
            return False
        except (OSError, PeerReset, AssertionError):
            return True
    check(is_refused(), "a banned source was served")


def test_variable_by_accident_is_refused(t):
    s = t.sentinel(t.origin(), start=False, env={"SENTINEL_UPGRADE": "3"})
    s.spawn()
    check_eq(s.wait_exit(), 1)
    check_in("for `sentinel upgrade` only", s.stderr())


def nobody(t, **keys):
    """A daemon that root has started and that has become nobody, on ports below 1024 as well."""
    if os.geteuid() != 0:
        raise Skip("takes root")
    own_binary(t)
    os.chmod(t.dir, 0o777)
    return t.sentinel(t.origin(), **dict({"system": 'user "nobody"\ngroup "nogroup"\npid-file "%s"' % t.path("pid")}, **keys))


def threads(pid):
    """Without the one of ThreadSanitizer's own, which has no name and began before rights were given up."""
    def text_of(name):
        with open("/proc/%d/%s" % (pid, name), encoding="ascii") as file:
            return file.read()
    has_own = "libtsan" in text_of("maps")
    tasks = os.listdir("/proc/%d/task" % pid)
    return [t for t in tasks if not has_own or int(t) == pid or text_of("task/%s/comm" % t) != text_of("comm")]


def check_rights(s):
    """nobody everywhere; five capabilities with control, none with the workers."""
    for task in threads(s.pid):
        with open("/proc/%d/task/%s/status" % (s.pid, task), encoding="ascii") as file:
            text = file.read()
        check_in("Uid:\t65534\t65534\t65534\t65534", text)
        wanted = 0
        if int(task) == s.pid:
            wanted = sum(1 << n for n in (10, 12, 39, 38, 2))  # NET_BIND_SERVICE NET_ADMIN BPF PERFMON DAC_READ_SEARCH
        for line in text.splitlines():
            if line.startswith(("CapPrm", "CapEff")):
                check_eq(int(line.split()[1], 16), wanted, line)


def test_rights_pass_to_the_new_process(t):
    s = nobody(t, workers=2)
    check_rights(s)
    load = Load(s.port)
    for workers in (3, 2, 4):  # a socket of another user could not join the group
        s.write_config(workers=workers)
        old = upgrade(t, s)
        check_rights(s)
        with open(t.path("pid"), encoding="ascii") as file:
            check_eq(int(file.read()), s.pid)
        ended(old)
    load.stop()
    low = next(p for p in range(700, 900) if os.system("ss -Hltn sport = :%d | grep -q ." % p) != 0)
    s.check_reload(listeners='listener "main" { address "127.0.0.1:%d"; }\nlistener "low" { address "127.0.0.1:%d"; }'
                   % (s.port, low))
    check_eq(fetch(low, "/bytes/1").status, 200)
    s.write_config(system='user "daemon"')
    code, _, err = s.command("upgrade", check_code=None)
    check_eq(code, 1)
    check_in("only root can become user daemon", err)


def test_guard_never_opens(t):
    peer = Peer(t)
    s = start(t, DENY, workers=2)
    check_eq(peer.get(BAD, s.port), 0)
    s.command("ban", "add", GOOD6, "--for", "10m")
    wait_for(lambda: peer.get(GOOD6, s.port) == 0, "the ban")
    served, is_over = [], threading.Event()

    def knock():
        while not is_over.is_set():
            for source in (BAD, BAD6, GOOD6):
                if peer.get(source, s.port, 0.2):
                    served.append(source)
    thread = threading.Thread(target=knock, daemon=True)
    thread.start()
    for i in range(5):
        old = upgrade(t, s)
        check_eq(peer.get(GOOD, s.port, 5), 200)
        check_in("guard0: tc", s.command("kernel", "status"))
        ended(old)
        check_eq(s.metric("kernel_guard_attached", interface="guard0"), 1, "after upgrade %d" % i)
    check_in("fd78::", s.command("ban", "list"))  # the whole /64, BAD6 included
    s.sleep_ticks(11.5)  # without a heartbeat the ban would be over by now
    is_over.set()
    thread.join()
    check_eq(served, [])
    check_eq(peer.get(GOOD6, s.port), 0)
    s.command("ban", "remove", GOOD6)
    check_eq(peer.get(GOOD6, s.port, 5), 200)
    check_eq(peer.get(BAD, s.port), 0)
    s.stop()
    check(not os.path.exists("/sys/fs/bpf/sentinel/" + s.instance), "an orderly stop leaves pins")


def test_guard_is_as_it_was_after_a_program_that_fails(t):
    peer = Peer(t)
    own_binary(t)
    s = start(t, DENY)
    s.write_config(top=kernel('deny "nonsense"'))
    check(not s.admin("upgrade")[0])
    s.write_config(top=kernel(DENY), listeners='listener "main" { address "[::]:%d"; }\nlistener "b" { address "10.9.9.9:1"; }'
                   % s.port)
    check(not s.admin("upgrade")[0])
    check_eq(peer.get(BAD, s.port), 0)
    check_eq(peer.get(GOOD, s.port, 5), 200)
    check_in("guard0: tc", s.command("kernel", "status"))
    s.command("ban", "add", GOOD)
    wait_for(lambda: peer.get(GOOD, s.port) == 0, "the ban")
    s.command("ban", "remove", GOOD)  # else its pin stays
    s.stop()
    check(not os.path.exists("/sys/fs/bpf/sentinel/" + s.instance), "an orderly stop leaves pins")
    shell("ip link del guard0")


SILENT = 'upstream "silent" { target "nobody.example:80"; }'


def silent_names(t):
    """Words in front of the daemon: nobody answers its questions for names, so a new process waits for 3 s with its workers."""
    dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    address = "127.%d.%d.53" % (os.getpid() >> 8 & 255, os.getpid() & 255)
    dns.bind((address, 53))
    t.closers.append(dns.close)
    t.write("resolv.conf", "nameserver %s\n" % address)
    return ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', t.path("resolv.conf")]


def starting(s, seconds=15):
    """The number of the new process, once its workers run."""
    s.signal(signal.SIGUSR2)
    found = wait_for(lambda: re.search(r"process (\d+) is starting", s.admin("status")[1]), "the new process", seconds)
    pid = int(found.group(1))
    wait_for(lambda: len(os.listdir("/proc/%d/task" % pid)) > 1, "its workers", seconds)
    return pid


def test_new_process_that_is_told_to_stop_gives_up(t):
    o = t.origin()
    s = t.sentinel(o, prefix=silent_names(t), upstreams='upstream "o" { target "127.0.0.1:%d"; }\n%s' % (o.port, SILENT))
    for number in (signal.SIGTERM, signal.SIGINT):
        new = Successor(starting(s))
        began = time.monotonic()
        new.send_signal(number)
        check_eq(new.wait(2 * scale()), 1, "exit code")
        check(time.monotonic() - began < 2 * scale())
        wait_for(lambda: "is starting" not in s.admin("status")[1], "the end of the upgrade")
        check_eq(s.status()["pid"], s.pid)
        check_eq(fetch(s.port, "/bytes/3").status, 200)
        check(s.admin("reload")[0])
    check_in("told to stop before it served", s.stderr())
    ended(upgrade(t, s))


def test_new_process_with_the_guard_that_is_told_to_stop_gives_it_back(t):
    peer = Peer(t)
    s = start(t, DENY, prefix=silent_names(t), upstreams=SILENT)
    new = Successor(starting(s))
    s.signal(signal.SIGSTOP)
    try:
        def asks():
            with open("/proc/%d/wchan" % new.pid, encoding="ascii") as file:
                return "skb" in file.read()
        wait_for(asks, "the question for the guard")
        new.send_signal(signal.SIGTERM)
        check(new.poll() is None)
    finally:
        s.signal(signal.SIGCONT)
    check_eq(new.wait(5 * scale()), 1, "exit code")
    wait_for(lambda: "is starting" not in s.admin("status")[1], "the end of the upgrade")
    check_eq(s.status()["pid"], s.pid)
    check_in("guard0: tc", s.command("kernel", "status"))
    check_eq(peer.get(BAD, s.port), 0)
    check_eq(peer.get(GOOD, s.port, 5), 200)
    s.stop()
    check(not os.path.exists("/sys/fs/bpf/sentinel/" + s.instance), "an orderly stop leaves pins")


MESSAGE_BYTES = 3448  # of UPGRADE_TUNNEL, the longest
DIES = r'''#!/usr/bin/env python3
"""Speaks the protocol as far as READY, takes the guard, and ends."""
import socket, struct, sys
SIZE = %(size)d
c = socket.socket(fileno=3)
def ask(kind, number=0):
    c.send(struct.pack("<IIII", %(magic)d, 2, kind, number).ljust(SIZE, b"\0"))
    return struct.unpack("<IIII", socket.recv_fds(c, SIZE, 64)[0][:16])
assert ask(0)[2] == 1
assert ask(6)[2] == 7
print("and now it dies", file=sys.stderr)
'''


def test_guard_comes_back_from_a_process_that_dies_with_it(t):
    peer = Peer(t)
    path = own_binary(t)
    keep = t.path("good")
    shutil.copy(path, keep)
    s = start(t, DENY)
    t.binary = keep
    magic = int.from_bytes(b"SnUp", "little")
    replace(path, DIES % {"size": MESSAGE_BYTES, "magic": magic})
    s.command("ban", "add", GOOD6, "--for", "10m")
    is_ok, text = s.admin("upgrade")
    check(not is_ok)
    check_in("and now it dies", text)
    check_eq(peer.get(BAD, s.port), 0)
    check_eq(peer.get(GOOD6, s.port), 0)
    check_eq(peer.get(GOOD, s.port, 5), 200)
    s.command("ban", "add", GOOD)
    wait_for(lambda: peer.get(GOOD, s.port) == 0, "a ban of the old process")
    s.sleep_ticks(11.5)  # its heartbeat too
    check_eq(peer.get(GOOD, s.port), 0)
    for address in (GOOD, GOOD6):
        s.command("ban", "remove", address)
    s.stop()
    check(not os.path.exists("/sys/fs/bpf/sentinel/" + s.instance), "an orderly stop leaves pins")
