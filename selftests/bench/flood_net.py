# SPDX-License-Identifier: GPL-2.0-only
# flood_net.py - the two network namespaces of `flood`, and the daemon in one of them.
import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
SIOCETHTOOL, ETHTOOL_SGRO = 0x8946, 0x2c
FLOOD_CPU, SERVER_CPU = 0, 1
RATE = 100000
SETTLED_NS = 2000000  # of CPU time in 0.3 s: less is what an idle daemon takes
SERVER, OUTSIDE, INSIDE, PORT = "10.78.0.1", "10.78.0.2", "10.80.5.253", 8080
MANY, NEW = "10.81.%d.0+", "10.81.200.0+"  # the peer has all of 10.81.0.0/16
HERE = os.path.dirname(os.path.abspath(__file__))
CONFIG = """system {
	instance "flood%(pid)d"
	worker-threads 1
	admin { socket "%(directory)s/admin.sock"; }
}
listeners { listener "main" { address "0.0.0.0:%(port)d"; }; }
routes { route "all" {
	matches { path-prefix "/"; }
	builtin-handler "health"
}; }
observability {
	metrics { enabled #false; }
	logging {
		level "error"
		access-log { enabled #false; }
	}
}
%(kernel)s
"""


def shell(command, text=None):
    done = subprocess.run(command, shell=True, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        raise SystemExit("flood: %s: %s" % (command, done.stdout.decode()))
    return done.stdout.decode()


def number_of(path):
    with open(path, encoding="ascii") as file:
        return int(file.read().split()[0])


def cpu_ns(pid):
    """CPU time of a process, of threads that have ended too: clock_getcpuclockid(3)."""
    return time.clock_gettime_ns(~pid << 3 | 2)


def on_cpu(cpu, command):
    return ["taskset", "-c", str(cpu)] + [str(word) for word in command]


class Net:
    """This process moves into the server's namespace; the peer's is held by a child.  guard0 here, peer0 there."""

    def __init__(self, tools):
        self.tools, self.children = tools, []
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS | CLONE_NEWNET) != 0:
            raise SystemExit("flood: no namespaces: %s" % os.strerror(ctypes.get_errno()))
        shell("mount --make-rprivate / && mount -t sysfs sysfs /sys && mount -t bpf bpf /sys/fs/bpf")
        own = os.readlink("/proc/self/ns/net")
        self.peer = self.start(["unshare", "-n", "sleep", "900"])
        while os.readlink("/proc/%d/ns/net" % self.peer.pid) == own:
            time.sleep(0.01)

    def start(self, command, **keys):
        child = subprocess.Popen(command, **keys)
        self.children.append(child)
        return child

    def join(self):
        inside = "nsenter -n -t %d " % self.peer.pid
        shell("ip link set lo up && ip link add guard0 type veth peer name peer0 netns %d && ip link set guard0 up && "
              "ip addr add %s/24 dev guard0 && ip route add default via %s" % (self.peer.pid, SERVER, OUTSIDE))
        shell(inside + "sh -c 'ip link set lo up && ip link set peer0 up && ip addr add %s/24 dev peer0 && ip addr add "
              "%s/32 dev peer0 && ip route add local 10.81.0.0/16 dev lo'" % (OUTSIDE, INSIDE))
        value = ctypes.create_string_buffer(struct.pack("=II", ETHTOOL_SGRO, 1))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:  # then it takes live frames without a program too
            fcntl.ioctl(s, SIOCETHTOOL, struct.pack("16sQ16x", b"guard0", ctypes.addressof(value)))
        with open("/sys/class/net/guard0/address", encoding="ascii") as file:
            self.mac = file.read().strip()
        while "state UP" not in shell("ip -o link show guard0"):
            time.sleep(0.02)

    def in_peer(self, cpu, command):
        return self.start(["nsenter", "-n", "-t", str(self.peer.pid)] + on_cpu(cpu, command), stdout=subprocess.PIPE)

    def flood(self, way, seconds):
        return self.in_peer(FLOOD_CPU, [os.path.join(self.tools, "flood_send"), way, "peer0", self.mac, SERVER, PORT, RATE,
                                        seconds])

    def ask(self, source, count, per_second):
        """Milliseconds of each that was answered."""
        return self.result(self.in_peer(SERVER_CPU, [sys.executable, os.path.join(HERE, "flood_client.py"), SERVER, PORT,
                                                     source, count, per_second]))

    def result(self, child):
        text = child.communicate(timeout=60)[0]
        self.children.remove(child)
        if child.returncode != 0:
            raise SystemExit("flood: %s failed" % " ".join(child.args))
        return json.loads(text)

    def close(self):
        for child in reversed(self.children):
            child.kill()
            child.wait()


class Receiver:
    """The kernel thread that polls guard0, on the server's core: what it took and how many packets it had."""

    def __init__(self):
        self.pids = []
        for pid in os.listdir("/proc"):
            try:
                with open("/proc/%d/comm" % int(pid), encoding="ascii") as file:
                    if file.read().startswith("napi/guard0"):
                        self.pids.append(int(pid))
            except (ValueError, OSError):
                pass
        if not self.pids:
            raise SystemExit("flood: no thread polls guard0")
        for pid in self.pids:
            os.sched_setaffinity(pid, {SERVER_CPU})
            # As softirqs, it comes before programs; else the ring overflows when there are others.
            os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(1))

    def ns(self):
        return sum(cpu_ns(pid) for pid in self.pids)

    @staticmethod
    def packets():
        return number_of("/sys/class/net/guard0/statistics/rx_packets")


class Daemon:
    def __init__(self, net, binary, directory, kernel):
        path = os.path.join(directory, "flood.kdl")
        self.net, self.socket = net, os.path.join(directory, "admin.sock")
        with open(path, "w", encoding="ascii") as file:
            file.write(CONFIG % {"pid": os.getpid(), "directory": directory, "port": PORT, "kernel": kernel})
        with open(os.path.join(directory, "log"), "ab") as log:
            self.process = net.start(on_cpu(SERVER_CPU, [binary, "run", "-c", path]), cwd=directory, stdout=log, stderr=log,
                                     env=dict(os.environ, STATE_DIRECTORY=os.path.join(directory, "state")))
        deadline = time.monotonic() + 20
        while not self.is_ready(bool(kernel)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(os.path.join(directory, "log"), encoding="utf-8") as log:
                    raise SystemExit("flood: sentinel did not start: %s" % log.read()[-2000:])
            time.sleep(0.02)
        # It goes on with its start while it serves: that is no work of a flood's.
        spent = -SETTLED_NS
        while cpu_ns(self.process.pid) - spent >= SETTLED_NS and time.monotonic() < deadline:
            spent = cpu_ns(self.process.pid)
            time.sleep(0.3)

    def is_ready(self, has_guard):
        """It listens before the guard is attached."""
        with socket.socket() as s:
            if not os.path.exists(self.socket) or s.connect_ex(("127.0.0.1", PORT)) != 0:
                return False
        return not has_guard or self.metric("sentinel_kernel_guard_attached") == 1

    def refused(self):
        """Packets above a budget, so far; the daemon looks at the guard's counters once a second."""
        time.sleep(1.2)
        return self.metric("sentinel_kernel_drops_total", "budget")

    def metric(self, name, label=""):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            s.connect(self.socket)
            s.sendall(b"text metrics\n")
            page = b"".join(iter(lambda: s.recv(65536), b"")).decode()
        return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith(name) and label in line)

    def memory(self):
        """Bytes: resident, and of the maps that it holds."""
        rss, maps = 0, {}
        with open("/proc/%d/status" % self.process.pid, encoding="ascii") as file:
            rss = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS"))
        for name in os.listdir("/proc/%d/fdinfo" % self.process.pid):
            try:
                with open("/proc/%d/fdinfo/%s" % (self.process.pid, name), encoding="ascii") as file:
                    rows = dict(line.split(":", 1) for line in file if ":" in line)
            except OSError:  # closed meanwhile
                continue
            if "map_id" in rows:
                maps[rows["map_id"]] = int(rows["memlock"])
        return {"rss": rss, "maps": sum(maps.values())}

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(30) != 0:
            raise SystemExit("flood: sentinel failed")
        self.net.children.remove(self.process)
