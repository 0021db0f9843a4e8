# SPDX-License-Identifier: GPL-2.0-only
# test_no_descriptors.py - no descriptors left: accepting pauses, what is open goes on, and it recovers.
import shutil

from lib import Client, Skip, check, check_eq, fetch, wait_for


def test_accepting_pauses_and_recovers(t):
    if not shutil.which("prlimit"):
        raise Skip("no prlimit")
    o = t.origin()
    s = t.sentinel(o, prefix=["prlimit", "--nofile=90:90"])
    kept = Client(s.port)
    check_eq(kept.get("/bytes/1").status, 200)
    clients = []
    for _ in range(150):
        clients.append(Client(s.port, timeout=20))
    cpu = s.cpu()
    s.sleep_ticks(0.5)
    check(s.cpu() - cpu < 0.3, "accepting spins: %.2f s of CPU in half a second", s.cpu() - cpu)
    for _ in range(3):
        check_eq(kept.get("/bytes/1").status, 200, "an open connection")
    for c in clients[:-1]:
        c.close()
    check_eq(clients[-1].get("/bytes/5").status, 200, "the last in the queue")
    check_eq(fetch(s.port, "/bytes/1").status, 200)
    wait_for(lambda: s.metric("open_connections") <= 3, "connections remain")


def test_origin_side_without_descriptors_is_503(t):
    if not shutil.which("prlimit"):
        raise Skip("no prlimit")
    o = t.origin()
    s = t.sentinel(o, prefix=["prlimit", "--nofile=90:90"], upstream="connection-pool { max-connections 1000; }")
    clients = [Client(s.port, timeout=20) for _ in range(34)]
    waiting = [Client(s.port, timeout=20) for _ in range(60)]
    answers = {}
    for c in clients:
        c.send(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
    s.sleep_ticks(0.3)
    o.gate.set()
    for c in clients:
        status = c.response().status
        answers[status] = answers.get(status, 0) + 1
        c.close()
    check(set(answers) <= {200, 503}, "%s", answers)
    for c in waiting:
        c.close()
    wait_for(lambda: fetch(s.port, "/bytes/1").status == 200, "recovery")
