# SPDX-License-Identifier: GPL-2.0-only
# test_stop.py - an orderly end: what was accepted is served, what is open may finish, and it is bounded.
import signal
import socket
import threading
import time

from lib import Client, accepts, check, check_eq, check_in, fetch, wait_for
from lib.case import scale


def test_sigterm_under_new_connections_resets_nothing_accepted(t):
    for round_number in range(3):
        o = t.origin()
        s = t.sentinel(o, workers=2)
        lost, done = [], [0]
        is_over = threading.Event()

        def hammer():
            while not is_over.is_set():
                try:
                    c = Client(s.port)
                except OSError:
                    if s.process.poll() is not None or done[0] > 0:
                        time.sleep(0.001)
                    continue  # refused: never accepted
                try:
                    check_eq(c.get("/bytes/10").status, 200)
                    done[0] += 1
                except Exception as error:
                    lost.append("%s %s" % (type(error).__name__, error))
                c.close()
        threads = [threading.Thread(target=hammer, daemon=True) for _ in range(6)]
        for thread in threads:
            thread.start()
        wait_for(lambda: done[0] > 100, "the load")
        s.stop()
        is_over.set()
        for thread in threads:
            thread.join(10 * scale())
        check(not lost, "round %d: %d of %d accepted connections were lost: %s", round_number, len(lost),
              done[0] + len(lost), lost[:3])


def test_open_request_may_end_and_is_told_to_close(t):
    o = t.origin()
    s = t.sentinel(o)
    c = Client(s.port)
    c.send(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
    o.wait_requests(1)
    idle = Client(s.port)
    check_eq(idle.get("/bytes/1").status, 200)
    s.signal(signal.SIGTERM)
    wait_for(lambda: not accepts(s.port), "the listener still accepts")
    check_eq(idle.check_closed(), "fin")
    o.gate.set()
    r = c.response()
    check_eq((r.status, r.body), (200, b"at last"))
    check_in("close", (r.get("connection") or "").lower())
    c.check_closed()
    check_eq(s.wait_exit(), 0)


def test_drain_is_bounded(t):
    o = t.origin()
    s = t.sentinel(o, system='graceful-shutdown-timeout-secs "600ms"', route="websocket #true")
    c = Client(s.port)
    c.send(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
    o.wait_requests(1)
    from test_tunnel import tunnel_open
    tunnel = tunnel_open(s)
    began = time.monotonic()
    s.signal(signal.SIGTERM)
    check_eq(s.wait_exit(), 0)
    check(0.4 < time.monotonic() - began < 4 * scale(), "took %.1f s", time.monotonic() - began)
    c.end()
    tunnel.end()


def test_second_sigint_stops_at_once(t):
    o = t.origin()
    s = t.sentinel(o)
    c = Client(s.port)
    c.send(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
    o.wait_requests(1)
    s.signal(signal.SIGINT)
    wait_for(lambda: not accepts(s.port), "the first SIGINT did not drain")
    check(s.process.poll() is None, "the first SIGINT did not wait")
    began = time.monotonic()
    s.signal(signal.SIGINT)
    s.wait_exit()
    check(time.monotonic() - began < 3 * scale())


def test_stop_command_stops(t):
    s = t.sentinel(t.origin())
    s.command("stop")
    check_eq(s.wait_exit(), 0)
    code, _, err = s.command("status", check_code=None)
    check_eq(code, 3)
    check(err, "nothing said")


def test_socket_and_pid_file_are_removed(t):
    import os
    pid_file = t.path("s.pid")
    s = t.sentinel(t.origin(), system='pid-file "%s"' % pid_file)
    with open(pid_file, encoding="ascii") as file:
        check_eq(int(file.read()), s.pid)
    check_eq(os.stat(s.socket_path).st_mode & 0o777, 0o600)
    s.stop()
    check(not os.path.exists(pid_file) and not os.path.exists(s.socket_path))


def test_restart_takes_the_port_at_once(t):
    s = t.sentinel(t.origin())
    for _ in range(3):
        check_eq(fetch(s.port, "/bytes/1").status, 200)
        s.stop()
        s.start()
    check_eq(fetch(s.port, "/bytes/1").status, 200)


def try_bind(probe, port):
    """Error number, 0 if it worked."""
    try:
        probe.bind(("127.0.0.1", port))
        return 0
    except OSError as error:
        return error.errno


def test_killed_daemon_leaves_nothing_in_the_way(t):
    s = t.sentinel(t.origin())
    s.kill()

    def is_free():  # the kernel takes a ring apart behind the end of its process: until then the port is taken
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            return try_bind(probe, s.port) == 0 and s.admin("status", is_quiet=True) is None
    wait_for(is_free, "the sockets of the killed daemon")
    s.start()
    check_eq(fetch(s.port, "/bytes/1").status, 200)


def test_supervisor_may_start_the_next_one_right_after_a_kill(t):
    """The kernel takes the ring of the killed one apart a little later; until then its sockets answer."""
    s = t.sentinel(t.origin())
    for _ in range(8):
        check_eq(fetch(s.port, "/bytes/1").status, 200)
        s.kill()
        s.start()


def test_questions_at_the_very_end_do_no_harm(t):
    """What the daemon is asked when workers and guard are gone is not answered, and nothing else happens."""
    s = t.sentinel(t.origin(), start=False, top='kernel { interface "lo"; mode "tc"; acl { deny "127.0.0.9"; }; }')
    for _ in range(4):
        s.start()
        askers = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(28)]
        for asker in askers:
            asker.connect(s.socket_path)
        fetch(s.port, "/bytes/1")
        s.admin("stop now")
        for asker in askers:
            try:
                asker.send(b"text status\n")
            except OSError:
                pass  # gone
            time.sleep(0.006)
        check_eq(s.wait_exit(), 0)
        for asker in askers:
            asker.close()
