# SPDX-License-Identifier: GPL-2.0-only
# test_unprivileged.py - without root: one clear line about the guard, and traffic is served.
import os
import shutil

from lib import PeerReset, Skip, check, check_eq, check_in, fetch


def as_nobody(t, **keys):
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        raise Skip("takes root and setpriv to become nobody")
    os.chown(t.dir, 65534, 65534)
    os.chmod(t.dir, 0o755)
    binary = shutil.copy(t.binary, t.path("sentinel"))
    os.chmod(binary, 0o755)
    t.binary = binary
    s = t.sentinel(t.origin(), start=False, prefix=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
                   env={"HOME": t.dir, "XDG_RUNTIME_DIR": t.dir}, **keys)
    return s


def test_nobody_serves_traffic(t):
    s = as_nobody(t)
    s.start()
    check_eq(fetch(s.port, "/bytes/10").status, 200)
    check_eq(os.stat("/proc/%d" % s.pid).st_uid, 65534)
    s.check_reload(route='policies { response-headers { set { X-New "1"; }; }; }')
    check_eq(fetch(s.port, "/bytes/10").get("x-new"), "1")


def test_guard_without_privilege_is_one_line_and_traffic_is_served(t):
    s = as_nobody(t, top='kernel { interface "lo"; mode "tc"; acl { deny "127.0.0.9"; }; }')
    s.start()
    check_eq(fetch(s.port, "/bytes/10").status, 200)
    lines = [line for line in s.stderr().splitlines() if "warn" in line or "error" in line]
    check_eq(len(lines), 1, "lines of the log: %s" % lines)
    check_in("guard", lines[0])
    check_in("takes CAP_BPF and CAP_NET_ADMIN", lines[0])
    check(not os.path.exists("/sys/fs/bpf/sentinel/" + s.instance), "a folder in the way of one that may load")
    check_eq(s.metric("kernel_guard_attached", interface="lo"), 0)
    try:
        fetch(s.port, "/bytes/1", source="127.0.0.9")
        check(False, "a denied client was served")
    except (PeerReset, ConnectionError):
        pass


def test_root_becomes_the_configured_user(t):
    if os.geteuid() != 0:
        raise Skip("takes root")
    os.chmod(t.dir, 0o777)
    s = t.sentinel(t.origin(), system='user "nobody"\ngroup "nogroup"')
    check_eq(fetch(s.port, "/bytes/10").status, 200)
    check_eq(os.stat("/proc/%d" % s.pid).st_uid, 65534)
    for task in os.listdir("/proc/%d/task" % s.pid):
        with open("/proc/%d/task/%s/status" % (s.pid, task), encoding="ascii") as file:
            check("Uid:\t65534\t65534\t65534\t65534" in file.read(), "thread %s is not nobody", task)
    s.check_reload(route='policies { response-headers { set { X-New "1"; }; }; }')
    check_eq(fetch(s.port, "/bytes/10").get("x-new"), "1")
