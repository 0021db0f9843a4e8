# SPDX-License-Identifier: GPL-2.0-only
# sentinel.py - one daemon under test: its file, its start, its metrics, its orderly end.
import json
import os
import re
import signal
import socket
import subprocess
import time

from lib.case import check, scale, wait_for

SANITIZER = re.compile(r"ERROR: \w*Sanitizer|WARNING: ThreadSanitizer|runtime error:|CHECK failed|check failed", re.I)
SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
GAUGES = ("sessions", "exchanges", "ops_inflight", "pinned_buffers", "snapshots", "open_connections",
          "active_requests", "tunnels_active")
PUBLISHED_S = 1.2  # more than workers take from one publication of their gauges to the next


def whole_lines(path):
    """Of a file that is being written: who reads may see a part of what one write(2) appends."""
    with open(path, "rb") as file:
        return file.read().rpartition(b"\n")[0].decode("utf-8").splitlines()


class Metrics:
    """A parsed page of metrics."""

    def __init__(self, text):
        self.text = text
        self.samples = []
        for line in text.splitlines():
            if line and not line.startswith("#"):
                found = SAMPLE.match(line)
                check(found, "not a sample: %s", line)
                self.samples.append((found.group(1), dict(LABEL.findall(found.group(2) or "")), float(found.group(3))))

    def sum(self, name, **labels):
        """Sum of the samples with these labels; the prefix is added."""
        return sum(value for n, have, value in self.samples if n == "sentinel_" + name
                   and all(have.get(k) == v for k, v in labels.items()))

    def has(self, name):
        return any(n == "sentinel_" + name for n, _, _ in self.samples)


class Sentinel:
    """
    Keys: route, upstream, listener, system, limits (lines added to the default block of that name), routes,
    upstreams, listeners, config (replace it), top (more top-level blocks), access (lines of access-log), workers.
    """

    def __init__(self, case, *origins, **keys):
        self.case = case
        self.origins = origins
        self.keys = keys
        self.number = len(case.proxies)
        self.port = case.port()
        self.admin_port = case.port()
        self.instance = "t%d-%d" % (os.getpid(), self.number)
        self.socket_path = case.path("admin%d.sock" % self.number)
        self.access_path = case.path("access%d.log" % self.number)
        self.stderr_path = case.path("stderr%d.log" % self.number)
        self.config_path = case.path("sentinel%d.kdl" % self.number)
        self.state_path = case.path("state%d" % self.number)
        self.prefix = keys.pop("prefix", [])
        self.env = keys.pop("env", {})
        self.process = None
        self.exit_code = None
        self.is_ended = False
        self.write_config()

    # ---- the file

    def config_text(self, **changes):
        keys = dict(self.keys, **changes)
        if "config" in keys:
            return keys["config"]
        targets = "\n".join('target "%s"' % (o if isinstance(o, str) else "127.0.0.1:%d" % o.port)
                            for o in self.origins)
        upstreams = keys.get("upstreams", 'upstream "o" {\n%s\n%s\n}' % (targets, keys.get("upstream", "")))
        if not self.origins and "upstreams" not in keys:
            upstreams = ""
        routes = keys.get("routes", 'route "all" {\nmatches { path-prefix "/"; }\n%s\n%s\n}'
                          % ('upstream "o"' if self.origins else 'builtin-handler "status"', keys.get("route", "")))
        listeners = keys.get("listeners", 'listener "main" {\naddress "127.0.0.1:%d"\n%s\n}'
                             % (self.port, keys.get("listener", "")))
        parts = ['system {\ninstance "%s"\nworker-threads %d\nadmin { socket "%s"; }\n%s\n}'
                 % (self.instance, keys.get("workers", 1), self.socket_path, keys.get("system", "")),
                 "listeners {\n%s\n}" % listeners, "routes {\n%s\n}" % routes]
        if upstreams:
            parts.append("upstreams {\n%s\n}" % upstreams)
        if keys.get("filters"):
            parts.append("filters {\n%s\n}" % keys["filters"])
        if keys.get("limits"):
            parts.append("limits {\n%s\n}" % keys["limits"])
        parts.append('observability {\nmetrics { address "127.0.0.1:%d"; }\nlogging {\nlevel "%s"\n'
                     'access-log {\nfile "%s"\n%s\n}\n}\n}' % (self.admin_port, keys.get("level", "info"),
                                                             self.access_path, keys.get("access", "")))
        parts.append(keys.get("top", ""))
        return "\n".join(parts) + "\n"

    def write_config(self, **changes):
        """Changes stay for later calls."""
        self.keys.update(changes)
        text = self.config_text()
        temporary = self.config_path + ".new"
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(temporary, self.config_path)

    # ---- the process

    def spawn(self):
        with open(self.stderr_path, "ab") as stderr:
            self.process = subprocess.Popen(self.prefix + [self.case.binary, "run", "-c", self.config_path],
                                            stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr,
                                            cwd=self.case.dir, env=dict(os.environ, STATE_DIRECTORY=self.state_path,
                                                                        **self.env))
        self.is_ended = False

    def start(self):
        self.spawn()
        self.wait_ready()
        return self

    def wait_ready(self):
        def is_ready():
            check(self.process.poll() is None, "sentinel ended at once with code %s: %s", self.process.poll(),
                  self.stderr()[-800:])
            return self.admin("status", is_quiet=True) is not None
        wait_for(is_ready, lambda: "sentinel did not get ready: " + self.stderr()[-400:], 15)

    @property
    def pid(self):
        return self.process.pid

    def stderr(self):
        if not os.path.exists(self.stderr_path):
            return ""
        with open(self.stderr_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def signal(self, number):
        self.process.send_signal(number)

    def wait_exit(self, seconds=10):
        try:
            self.exit_code = self.process.wait(seconds * scale())
        except subprocess.TimeoutExpired:
            raise AssertionError("sentinel did not end within %.0f s" % (seconds * scale())) from None
        self.is_ended = True
        return self.exit_code

    def stop(self, seconds=10):
        """SIGTERM; the exit code must be 0 and no sanitizer may have spoken."""
        if self.process and not self.is_ended:
            code = self.process.poll()
            check(code is None, "sentinel died with code %s", code)
            self.signal(signal.SIGTERM)
            check(self.wait_exit(seconds) == 0, "sentinel ended with code %s", self.exit_code)
        self.check_clean()

    def check_clean(self):
        found = SANITIZER.search(self.stderr()) if os.path.exists(self.stderr_path) else None
        check(not found, "report on stderr: %s", found and self.stderr()[found.start():][:600])

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.is_ended = True

    # ---- asking it

    def answers(self):
        """Whether the admin socket has a place for one more, and says that all is well."""
        is_ok, _ = self.admin("status", is_quiet=True) or (False, "")
        return is_ok

    def admin(self, command, form="text", is_quiet=False):
        """Answer of the admin socket: (is_ok, text); None if it cannot be reached and is_quiet."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(30 * scale())
            try:
                client.connect(self.socket_path)
                client.sendall(("%s %s\n" % (form, command)).encode())
                data = b""
                while True:
                    piece = client.recv(65536)
                    if not piece:
                        break
                    data += piece
            except OSError:
                if is_quiet:
                    return None
                raise
        if not data and is_quiet:
            return None
        first, _, text = data.decode().partition("\n")
        check(first in ("ok", "error"), "answer of the admin socket: %r", data[:200])
        return first == "ok", text

    def reload(self, **changes):
        """Writes the changed file and reloads: (is_ok, text)."""
        self.write_config(**changes)
        return self.admin("reload")

    def check_reload(self, **changes):
        is_ok, text = self.reload(**changes)
        check(is_ok, "reload failed: %s", text)
        return text

    def status(self):
        is_ok, text = self.admin("status", "json")
        check(is_ok, "status: %s", text)
        return json.loads(text)

    def metrics(self):
        is_ok, text = self.admin("metrics")
        check(is_ok, "metrics: %s", text)
        return Metrics(text)

    def metric(self, name, **labels):
        return self.metrics().sum(name, **labels)

    def gauges(self):
        page = self.metrics()
        values = {name: page.sum(name) for name in GAUGES}
        # The connection of the question itself may not be closed yet, so the least of a few looks counts.
        values["descriptors"] = self.descriptors()
        for _ in range(10):
            time.sleep(0.005)
            values["descriptors"] = min(values["descriptors"], self.descriptors())
        return values

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.pid))

    def baseline(self):
        """
        Gauges of the idle daemon.  Workers publish them twice a second: what is there now may be from before the last
        request, so they must stay as they are for longer.
        """
        last, since = {}, [0.0]

        def is_steady():
            found = self.gauges()
            if found != last:
                last.update(found)
                since[0] = time.monotonic()
            return last["ops_inflight"] > 0 and time.monotonic() - since[0] > PUBLISHED_S
        wait_for(is_steady, lambda: "gauges do not come to rest: %s" % last, 10, 0.05)
        return dict(last)

    def wait_gauges(self, wanted, seconds=10, ignore=()):
        """Until all gauges are what they were, and stay so for longer than it takes until they are published again."""
        last, since = {}, [None]

        def is_back():
            last.update(self.gauges())
            if not all(last[name] <= wanted[name] for name in wanted if name not in ignore):
                since[0] = None
                return False
            since[0] = since[0] or time.monotonic()
            return time.monotonic() - since[0] > PUBLISHED_S
        wait_for(is_back, lambda: "gauges do not return: %s" % {
            n: (wanted[n], last[n]) for n in wanted if n not in ignore and last[n] > wanted[n]}, seconds, 0.05)

    def rss(self):
        """Resident bytes."""
        with open("/proc/%d/status" % self.pid, encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1)) * 1024

    def cpu(self):
        """CPU seconds used so far."""
        with open("/proc/%d/stat" % self.pid, encoding="ascii") as file:
            words = file.read().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def command(self, *words, config=True, check_code=0, timeout=20, env=None):
        """Runs a subcommand on the same file; returns stdout, or (code, stdout, stderr) with check_code None."""
        args = [self.case.binary] + list(words)
        if config:
            args += ["-c", self.config_path]
        done = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=timeout * scale(), cwd=self.case.dir, env=dict(os.environ, **(env or {})))
        out, err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        check(not SANITIZER.search(err), "report on stderr: %s", err[-1500:])
        if check_code is None:
            return done.returncode, out, err
        check(done.returncode == check_code, "%s: code %d, wanted %d: %s%s", " ".join(words), done.returncode,
              check_code, out[-400:], err[-800:])
        return out

    def access_lines(self, count=1, seconds=4):
        """Lines of the access log, once there are at least so many."""
        def lines():
            found = whole_lines(self.access_path) if os.path.exists(self.access_path) else ()
            return found if len(found) >= count else None
        return wait_for(lines, "%d lines of the access log" % count, seconds)

    def sleep_ticks(self, seconds):
        """Real time must pass here (a measurement, not a synchronisation)."""
        time.sleep(seconds)
