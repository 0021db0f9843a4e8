# SPDX-License-Identifier: GPL-2.0-only
# test_system_places.py - a daemon of root that became somebody else keeps to the default places of root.
import os
import shutil
import subprocess

from lib import Skip, check, check_eq, check_in, fetch, wait_for

CONFIG = """
system { instance "places"; worker-threads 2; user "nobody"; group "nogroup"; }
listeners { listener "main" { address "127.0.0.1:%d"; }; }
routes { route "all" { matches { path-prefix "/"; }; builtin-handler "status"; }; }
observability {
    metrics { enabled #false; }
    logging { access-log { buffer-size 4096; }; audit-log; }
}
"""
# A mount namespace with empty folders where this machine keeps its own.
IN_PLACES = ("mount -t tmpfs -o mode=755 none /var/log && mount -t tmpfs -o mode=755 none /run && exec \"$@\"")


class Daemon:
    def __init__(self, t):
        if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("nsenter"):
            raise Skip("takes root, unshare and nsenter")
        os.chmod(t.dir, 0o755)
        self.binary = shutil.copy(t.binary, t.path("sentinel"))
        os.chmod(self.binary, 0o755)
        self.port = t.port()
        self.config = t.write("places.kdl", CONFIG % self.port)
        os.chmod(self.config, 0o644)
        self.errors = open(t.path("stderr"), "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", IN_PLACES, "sh", self.binary, "run", "-c", self.config],
            stderr=self.errors, env=dict(os.environ, HOME="/root"))
        self.pid = self.process.pid
        wait_for(lambda: self.answers(), "the first answer")

    def answers(self):
        try:
            return fetch(self.port, "/").status == 200
        except OSError:
            return False

    def path(self, name):
        return "/proc/%d/root%s" % (self.pid, name)

    def text(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def command(self, *words, code=0):
        done = subprocess.run(["nsenter", "--mount", "--target", str(self.pid), self.binary] + list(words) +
                              ["-c", self.config], capture_output=True, text=True, timeout=30)
        check_eq(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def check_logs(self, what):
        before = self.text("/var/log/sentinel/access.log").count("\n")
        check_eq(fetch(self.port, "/").status, 200)
        wait_for(lambda: self.text("/var/log/sentinel/access.log").count("\n") > before, "an access line %s" % what)

    def end(self):
        for pid in {self.pid, self.process.pid}:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                pass  # as it should be, of the old one
        self.process.wait(10)
        self.errors.close()


def test_a_reload_keeps_the_logs_of_root(t):
    d = Daemon(t)
    try:
        d.check_logs("after the start")
        answer = d.command("reload")
        check("warning" not in answer, "the reload: %s", answer)
        check_in("nothing changed", answer)
        d.check_logs("after the reload")
        wait_for(lambda: "reload_success" in d.text("/var/log/sentinel/audit.log"), "the reload in the audit log")
        # Rotation: the folder is the daemon's, so that it can make new files.
        os.rename(d.path("/var/log/sentinel/access.log"), d.path("/var/log/sentinel/access.log.1"))
        os.kill(d.pid, 10)
        wait_for(lambda: d.answers() and os.path.exists(d.path("/var/log/sentinel/access.log")), "a new access log")
    finally:
        d.end()


def test_an_upgrade_keeps_the_admin_socket_of_root(t):
    d = Daemon(t)
    try:
        old = d.pid
        answer = d.command("upgrade")
        check_in("serves now", answer)
        d.pid = int(answer.split()[1])
        wait_for(lambda: d.process.poll() is not None, "the end of process %d" % old)
        check_in("process %d" % d.pid, d.command("status"))
        d.check_logs("after the upgrade")
        answer = d.command("reload")
        check("warning" not in answer, "the reload: %s", answer)
    finally:
        d.end()
