# SPDX-License-Identifier: GPL-2.0-only
# test_guard_kernel.py - the guard with the real daemon: denied and banned clients behind a veth pair (root).
import ctypes
import os
import signal
import socket
import struct
import subprocess
import time

from lib import Skip, check, check_eq, check_in, wait_for
from lib.case import scale

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
GOOD, BAD, GOOD6, BAD6 = "10.78.0.2", "10.78.0.3", "fd78::2", "fd78::3"


def shell(command):
    done = subprocess.run(command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    check(done.returncode == 0, "%s: %s", command, done.stdout.decode())
    return done.stdout.decode()


class Peer:
    """A network namespace behind guard0 with a good and a bad address of each family."""

    def __init__(self, t):
        if os.geteuid() != 0:
            raise Skip("network namespaces and BPF take root")
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNS | CLONE_NEWNET) != 0:
            raise Skip("no namespaces: %s" % os.strerror(ctypes.get_errno()))
        shell("mount --make-rprivate / && mount -t sysfs sysfs /sys && mount -t bpf bpf /sys/fs/bpf")
        self.process = subprocess.Popen(["unshare", "-n", "sleep", "1000"])
        t.closers.append(self.close)
        own = os.readlink("/proc/self/ns/net")
        wait_for(lambda: os.readlink("/proc/%d/ns/net" % self.process.pid) != own, "the peer's namespace")
        shell("ip link set lo up && ip link add guard0 type veth peer name peer0 netns %d" % self.process.pid)
        shell("ip link set guard0 up && ip addr add 10.78.0.1/24 dev guard0 && ip addr add fd78::1/64 dev guard0 nodad")
        self.shell("ip link set lo up && ip link set peer0 up && " + " && ".join(
            "ip addr add %s dev peer0 %s" % (a + ("/64" if ":" in a else "/24"), "nodad" if ":" in a else "")
            for a in (GOOD, BAD, GOOD6, BAD6)))
        # Until the kernel has noticed the carrier, packets are thrown away; a busy one takes seconds.
        for ask in (shell, self.shell):
            wait_for(lambda: "state UP" in ask("ip -o link show type veth"), "the link is not up", 20)

    def shell(self, command):
        return shell("nsenter -n -t %d sh -c '%s'" % (self.process.pid, command))

    def get(self, source, port, seconds=1):
        """The status of a request from this address; 0: no answer."""
        host = "[fd78::1]" if ":" in source else "10.78.0.1"
        done = subprocess.run(["nsenter", "-n", "-t", str(self.process.pid), "curl", "-s", "-o", "/dev/null", "-g",
                               "--noproxy", "*", "-w", "%{http_code}", "-m", str(seconds * scale()), "--interface",
                               source, "http://%s:%d/" % (host, port)], stdout=subprocess.PIPE)
        return int(done.stdout)

    def close(self):
        self.process.kill()
        self.process.wait()


def wait_port_free(port):
    """The kernel takes a moment to close what the ring of a killed daemon held: also its listening sockets."""
    def is_free():
        with socket.socket(socket.AF_INET6) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as a server has it: connections are in nobody's way
            try:
                probe.bind(("::", port))
            except OSError:
                return False
            return True
    wait_for(is_free, "the port of the killed daemon is still taken", 10)


def kernel(rules, more=""):
    return 'kernel {\ninterface "guard0"\n%s\nacl {\n%s\n}\n}' % (more, rules)


def start(t, rules, **keys):
    s = t.sentinel(start=False, **keys)
    s.write_config(listeners='listener "main" { address "[::]:%d"; }' % s.port, top=kernel(rules))
    s.start()
    return s


DENY = 'deny "%s" "%s/128"' % (BAD, BAD6)


def test_denied_sources_die_in_the_kernel(t):
    peer = Peer(t)
    s = start(t, DENY)
    for source in (GOOD, GOOD6):
        check_eq(peer.get(source, s.port, 5), 200, source)
    check_eq(s.metric("kernel_drops_total"), 0)
    for source in (BAD, BAD6):
        check_eq(peer.get(source, s.port), 0, source)
    check(s.metric("kernel_drops_total", reason="acl") >= 2, "drops are not counted")
    check(s.metric("kernel_drop_bytes_total", reason="acl") >= 2 * 54, "bytes are not counted")
    check_eq(s.metric("kernel_guard_attached", interface="guard0"), 1)
    dump = shell("bpftool map dump pinned /sys/fs/bpf/sentinel/%s/v2/acl4" % s.instance)
    check_in('"action": 1', dump)
    check_in("guard0: tc", s.command("kernel", "status"))
    # Not our port: untouched.
    with socket.create_server(("10.78.0.1", 0)) as other:
        done = peer.shell("curl -s -m 1 --interface %s http://10.78.0.1:%d/ || echo code $?"
                          % (BAD, other.getsockname()[1]))
        check_in("code 28", done)
        other.settimeout(5)
        other.accept()[0].close()
    s.stop()
    check(not os.path.exists("/sys/fs/bpf/sentinel/" + s.instance), "an orderly stop leaves pins")


def test_reload_changes_the_rules(t):
    peer = Peer(t)
    s = start(t, DENY)
    check_eq(peer.get(BAD, s.port), 0)
    s.check_reload(top=kernel('deny "10.78.0.0/24"\nallow "%s"' % BAD))
    wait_for(lambda: peer.get(BAD, s.port) == 200, "allow over deny")
    check_eq(peer.get(GOOD, s.port), 0)
    check_eq(peer.get(BAD6, s.port, 5), 200)
    s.check_reload(top="")
    wait_for(lambda: peer.get(GOOD, s.port) == 200, "the guard is off")
    check(not os.path.exists("/sys/fs/bpf/sentinel/" + s.instance), "pins are left")


def test_on_stop_keep_leaves_the_guard(t):
    peer = Peer(t)
    s = start(t, DENY)
    s.check_reload(top=kernel(DENY, 'on-stop "keep"'))
    s.stop()
    wait_port_free(s.port)
    with socket.create_server(("10.78.0.1", s.port)):
        check_eq(peer.shell("curl -s -m 1 --interface %s http://10.78.0.1:%d/ || echo $?" % (BAD, s.port)).strip(), "28")
        check("guard0" in s.command("kernel", "status", check_code=None)[1], "status without a daemon")
        s.command("kernel", "detach")
    check(not os.path.exists("/sys/fs/bpf/sentinel/" + s.instance), "pins are left")


def test_seconds_that_pass_while_the_guard_is_taken_off_harm_nobody(t):
    Peer(t)
    names = ["slow%d" % i for i in range(6)]
    for name in names:
        shell("ip link add %s type veth peer name %sp && ip link set %s up" % (name, name, name))
    s = start(t, DENY)
    s.check_reload(top=kernel(DENY, "\n".join('interface "%s"' % n for n in names)))
    folder = "/sys/fs/bpf/sentinel/" + s.instance
    count = len(os.listdir(folder))
    s.signal(signal.SIGTERM)

    def pins():
        try:
            return len(os.listdir(folder))
        except FileNotFoundError:
            return 0
    wait_for(lambda: pins() < count, "pins go", 10, 0)
    for number in (signal.SIGSTOP, signal.SIGUSR1, signal.SIGHUP):  # all of which come at an inconvenient moment
        s.signal(number)
    time.sleep(1.2)
    s.signal(signal.SIGCONT)
    s.signal(signal.SIGTERM)  # to nobody, if it ended before it could be stopped
    check_eq(s.wait_exit(), 0)
    s.check_clean()
    check(not os.path.exists(folder), "pins are left")


def test_killed_daemon_leaves_a_guard_that_fails_open(t):
    peer = Peer(t)
    s = start(t, DENY)
    s.command("ban", "add", GOOD, "--for", "10m")
    wait_for(lambda: peer.get(GOOD, s.port) == 0, "the ban")
    check(s.metric("kernel_drops_total", reason="block") > 0, "the ban is not the kernel's")
    s.kill()
    wait_port_free(s.port)
    # A server of another kind in its place: bans end with the heartbeat, operator's rules do not.
    server = subprocess.Popen(["python3", "-m", "http.server", "--bind", "10.78.0.1", str(s.port)], cwd=t.dir,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: peer.get(GOOD, s.port) == 200, "the guard fails open", 20)
        check_eq(peer.get(BAD, s.port), 0)
    finally:
        server.kill()
        server.wait()
    # The next daemon finds maps, links and the ban.
    s.start()
    check_in("taken over from the last run", s.admin("status")[1])
    check_in(GOOD, s.command("ban", "list"))
    check_eq(peer.get(GOOD, s.port), 0)
    check_eq(peer.get(BAD, s.port), 0)
    s.command("ban", "remove", GOOD)
    check_eq(peer.get(GOOD, s.port, 5), 200)


def test_bans_of_an_earlier_version_hold(t):
    peer = Peer(t)
    s = t.sentinel(start=False)
    s.write_config(listeners='listener "main" { address "[::]:%d"; }' % s.port, top=kernel(DENY))
    folder = "/sys/fs/bpf/sentinel/%s/v1" % s.instance
    key = socket.inet_pton(socket.AF_INET6, "::ffff:" + GOOD)
    row = struct.pack("=QQHHI", 1, 2 ** 64 - 1, 1, 1, 0)  # since, until, by hand, once
    shell("mkdir -p -m 700 %s && bpftool map create %s/block type hash key 16 value 24 entries 65536 name block flags 1"
          % (folder, folder))
    shell("bpftool map update pinned %s/block key %s value %s"
          % (folder, " ".join("%d" % b for b in key), " ".join("%d" % b for b in row)))
    s.start()
    check_in("the kernel guard: bans of v1: 1 taken over", s.stderr())
    check_in("bans of v1: 1 taken over", s.admin("status")[1])
    check_in(GOOD, s.command("ban", "list"))
    check_eq(peer.get(GOOD, s.port), 0)
    check(not os.path.exists(folder), "the old pins are still there")
    s.command("ban", "remove", GOOD)
    check_eq(peer.get(GOOD, s.port, 5), 200)
    s.kill()
    s.start()
    check_eq(peer.get(GOOD, s.port, 5), 200)
    check_eq(s.stderr().count("the kernel guard: bans of v1"), 1)


def test_client_by_an_interface_without_a_guard_is_judged_after_accept(t):
    peer = Peer(t)
    s = start(t, 'deny "%s" "127.0.0.9"' % BAD)
    done = subprocess.run(["curl", "-s", "-m", "5", "--interface", "127.0.0.9", "http://127.0.0.1:%d/" % s.port],
                          stdout=subprocess.PIPE)
    # Closed at once, not dropped: 52 is an empty answer, 56 a reset, 7 one that came before curl saw the connection.
    check(done.returncode in (7, 52, 55, 56), "curl's code is %d", done.returncode)
    check(s.metric("refused_connections_total") == 1, "refused_connections_total")
    s.write_config(top='kernel {\ninterface "guard0" mode="off"\nacl { deny "%s"; }\n}' % BAD)
    check(s.admin("reload")[0], "reload")
    began = time.monotonic()
    check_eq(peer.get(BAD, s.port, 5), 0)
    check(time.monotonic() - began < 4 * scale(), "the connection was dropped, not closed")
    check_eq(peer.get(GOOD, s.port, 5), 200)
