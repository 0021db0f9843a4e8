# SPDX-License-Identifier: GPL-2.0-only
# case.py - what a test function gets: its folder, its ports, its proxies and origins, and their clean end.
import os
import random
import shutil
import socket
import tempfile
import time

PORTS = "10000-32000"  # below the range of ephemeral ports: no client's socket takes one of these


class Skip(Exception):
    """Raised with the reason why a test cannot run here."""


def scale():
    """How many times slower this binary may be (sanitizers)."""
    return float(os.environ.get("SENTINEL_TEST_SLOW", "1"))


def check(value, text="condition does not hold", *args):
    if not value:
        raise AssertionError(text % args if args else text)


def check_eq(got, wanted, text=""):
    if got != wanted:
        raise AssertionError("%sgot %r, wanted %r" % (text + ": " if text else "", got, wanted))


def check_in(part, whole, text=""):
    if part not in whole:
        raise AssertionError("%s%r is not in %r" % (text + ": " if text else "", part, whole))


def wait_for(condition, text, seconds=5, pause=0.02):
    """Polls until condition() is true and returns its value; fails after `seconds` (times the slow factor)."""
    deadline = time.monotonic() + seconds * scale()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("waited %.1f s: %s" % (seconds * scale(), text() if callable(text) else text))
        time.sleep(pause)


class Case:
    def __init__(self, binary, name):
        self.binary = binary
        self.name = name
        self.dir = tempfile.mkdtemp(prefix="it-sentinel-")
        os.chmod(self.dir, 0o755)
        self.proxies = []
        self.closers = []
        self.ports = set()
        self.random = random.Random(int.from_bytes(os.urandom(8), "big"))

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        path = self.path(name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def port(self):
        """A port that nobody listens on, of this test's own range; the same one is not given twice."""
        first, last = (int(n) for n in os.environ.get("SENTINEL_TEST_PORTS", PORTS).split("-"))
        for _ in range(200):
            port = self.random.randrange(first, last)
            if port in self.ports:
                continue
            with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                try:
                    probe.bind(("::", port))
                except OSError:
                    continue
            self.ports.add(port)
            return port
        raise AssertionError("no free port")

    def origin(self, **keys):
        from lib.origin import Origin
        origin = Origin(**keys)
        self.closers.append(origin.close)
        return origin

    def sentinel(self, *origins, **keys):
        """Starts a proxy before these origins; stopped, and asked for its exit code, at the end of the test."""
        from lib.sentinel import Sentinel
        is_started = keys.pop("start", True)
        proxy = Sentinel(self, *origins, **keys)
        self.proxies.append(proxy)
        if is_started:
            proxy.start()
        return proxy

    def finish(self, has_failed):
        """Stops everything; raises if a proxy did not end as it should."""
        from lib.client import OPEN
        errors = []
        for client in OPEN:
            client.close()
        for proxy in self.proxies:
            try:
                if has_failed:
                    proxy.kill()
                else:
                    proxy.stop()
            except Exception as error:  # all proxies must be ended
                errors.append("%s" % error)
                proxy.kill()
        for close in reversed(self.closers):
            try:
                close()
            except Exception as error:  # the others must be closed, too
                errors.append("%s: %s" % (type(error).__name__, error))
        if errors:
            raise AssertionError("; ".join(errors))

    def log_tail(self, lines=40):
        text = []
        for proxy in self.proxies:
            text += ["--- %s" % proxy.stderr_path] + proxy.stderr().splitlines()[-lines:]
        return "\n".join(text)

    def clean(self):
        for proxy in self.proxies:  # pins of one that was killed
            shutil.rmtree("/sys/fs/bpf/sentinel/" + proxy.instance, ignore_errors=True)
        shutil.rmtree(self.dir, ignore_errors=True)
