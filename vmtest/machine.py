# SPDX-License-Identifier: GPL-2.0-only
# machine.py - boots one kernel under plain emulation and reads the results of its suites from a serial port.
import os
import re
import subprocess
import time

# With cmpxchg16b QEMU 7.2 crashes or hangs guests of 6.12; KVM is not used even where it opens: see README.md.
QEMU = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-accel",
        "tcg,thread=multi", "-cpu", "max,-cx16", "-m", "1536", "-no-reboot", "-nic", "none"]
# The check of the timer counts ticks in milliseconds of real time: a kernel panicked that saw none, the host being busy.
COMMAND_LINE = "console=ttyS0 panic=-1 oops=panic no_timer_check random.trust_cpu=on rdinit=/init"
TOTAL = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\r?$", re.M)
BAD = re.compile(r"BUG: |WARNING: CPU|Oops|general protection|Kernel panic|Call Trace|rcu: INFO|UBSAN|"
                 r"refcount_t")

# The kernel's own bugs: shown, and no failure.  The last of inet_sock_destruct()'s checks, by the lines of 6.1, 6.12 and
# 7.2, is that of sk_forward_alloc, which a psock's worker changes without the socket's lock (docs/design/0006-splice.md).
KNOWN = re.compile(r"WARNING: .* net/ipv4/af_inet\.c:(?:154|156|162) inet_sock_destruct")
BLOCK = re.compile(r"^.*-\[ cut here \]-.*\n(?:(?!.*-\[ cut here \]-).*\n)*?.*---\[ end trace .*\n", re.M)


class Result:
    """What one suite did: counts as tools/test-report counts them."""

    def __init__(self, name, text, code, seconds):
        totals = TOTAL.findall(text)
        self.name, self.text, self.seconds = name, text, seconds
        self.passed, self.failed, self.skipped = (int(n or 0) for n in totals[-1]) if totals else (
            0 if code else 1, 0, 0)
        if code and not self.failed:
            self.failed = 1
            self.text += "\n(exit code %d%s)\n" % (code, ": killed, out of time" if code in (124, 137) else "")


class Machine:
    """One that runs: its suites from `first` on, then those before it."""

    def __init__(self, image, initrd, folder, seconds, cpus, first):
        self.folder, self.limit = folder, seconds
        self.seconds = self.cpu = 0.0
        command = QEMU + ["-smp", str(cpus), "-kernel", image, "-initrd", initrd, "-append",
                          COMMAND_LINE + " suite=" + first, "-serial", "file:" + self.path("console.log"),
                          "-serial", "file:" + self.path("suites.log")]
        self.began = time.monotonic()
        with open(self.path("qemu.log"), "wb") as said:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT)

    def path(self, name):
        return os.path.join(self.folder, name)

    def is_running(self):
        """Ends it if it is late."""
        if self.process.returncode is None:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            self.seconds = time.monotonic() - self.began
            if pid:
                self.process.returncode = os.waitstatus_to_exitcode(status)
                self.cpu = usage.ru_utime + usage.ru_stime
            elif self.seconds > self.limit:
                self.end()
                with open(self.path("qemu.log"), "a", encoding="utf-8") as said:
                    said.write("\n(the machine was ended after %d s)\n" % self.limit)
        return self.process.returncode is None

    def end(self):
        if self.process.returncode is None:
            self.process.kill()
            self.process.wait()

    def text(self, name):
        if not os.path.exists(self.path(name)):
            return ""
        with open(self.path(name), encoding="utf-8", errors="replace") as file:
            return file.read().replace("\r\n", "\n")

    def suites(self):
        return self.text("suites.log")

    def console(self):
        return self.text("console.log") + self.text("qemu.log")


def known_split(console):
    """(console without the warnings that are the kernel's own bugs, the first line of each of these)"""
    known = []

    def look(match):
        line = KNOWN.search(match.group(0))
        if not line:
            return match.group(0)
        known.append(line.group(0))
        return ""
    return BLOCK.sub(look, console), known


def results(suites, text, console):
    """[Result] of all suites that were to run; the machine itself is the last one."""
    found = []
    for name in suites:
        match = re.search(r"^@@ begin %s (\S+)\n(.*?)^@@ end %s (\d+) (\S+)$" % (re.escape(name), re.escape(name)),
                          text, re.M | re.S)
        if match:
            found.append(Result(name, match.group(2), int(match.group(3)), float(match.group(4)) - float(match.group(1))))
        else:
            began = text.partition("@@ begin %s " % name)[2]
            found.append(Result(name, began[-4000:] + "\n(no end of this suite)\n", 255, 0.0))
    console, known = known_split(console)
    complaints = [line for line in console.splitlines() if BAD.search(line)]
    if not re.search(r"^@@ done ", text, re.M):
        complaints.append("the machine did not come to its end")
    machine = Result("machine", "".join("known bug: %s\n" % line for line in known), 0, 0.0)
    if complaints:
        machine = Result("machine", "\n".join(complaints[:20] + ["--- console"] + console.splitlines()[-60:]), 1, 0.0)
    return found + [machine]


def booted(text):
    match = re.search(r"^@@ booted (.*) in (\S+)$", text, re.M)
    return (match.group(1), float(match.group(2))) if match else ("did not boot", 0.0)
