# SPDX-License-Identifier: GPL-2.0-only
# test_tls_sessions.py - tickets over workers and reloads, and 0-RTT: what may be early, and that nothing comes twice.
import os
import signal
import threading
import time

from lib import Client, check, check_eq, check_in, wait_for
from lib.case import scale
from lib.tls import REQUEST, Relay, TlsClient, context, s_client, tls_block, tls_fetch, tls_proxy
from test_upgrade import ended, upgrade


def session_of(s, tls):
    with TlsClient(s.port, tls) as c:
        check_eq(c.get("/bytes/1").status, 200)
        return c.socket.session


def is_resumed(s, tls, session):
    with TlsClient(s.port, tls, session=session) as c:
        check_eq(c.get("/bytes/1").status, 200)
        return c.is_resumed


def test_tickets_resume_on_all_workers_and_across_reloads(t):
    s, ca = tls_proxy(t, workers=2)
    for version in ("1.2", "1.3"):
        tls = context(ca, version=version)
        session = session_of(s, tls)
        check_eq([is_resumed(s, tls, session) for _ in range(16)], [True] * 16, version)
        s.check_reload(listener=tls_block(s.pair) + "keepalive-timeout-secs %d\n" % (60 if version == "1.2" else 61))
        check_eq([is_resumed(s, tls, session) for _ in range(8)], [True] * 8, version)
        s.check_reload(listener=tls_block(s.pair, more="ocsp-stapling #%s" % ("true" if version == "1.3" else "false")))
        check_eq([is_resumed(s, tls, session) for _ in range(8)], [True] * 8, version)


def test_tickets_resume_after_the_certificate_was_renewed(t):
    s, ca = tls_proxy(t)
    tls = context(ca, version="1.3")
    session = session_of(s, tls)
    renewed = ca.issue("a.example", ["a.example"])
    renewed.put_into(s.pair)
    check(s.admin("reload")[0], "reload")
    check_eq(is_resumed(s, tls, session), True)
    with TlsClient(s.port, tls) as c:
        check_eq(c.cert, renewed.fingerprint)


def test_tickets_do_not_outlive_the_process(t):
    s, ca = tls_proxy(t)
    tls = context(ca, version="1.3")
    session = session_of(s, tls)
    s.stop()
    s.start()
    check_eq(is_resumed(s, tls, session), False)


def test_tickets_outlive_an_upgrade(t):
    s, ca = tls_proxy(t, workers=2)
    files = {}
    for version in ("-tls1_2", "-tls1_3"):
        files[version] = t.path("session" + version)
        s_client(s.port, version, "-sess_out", files[version])
    for i in range(2):
        ended(upgrade(t, s))
        for version, file in files.items():
            for _ in range(4):
                a = s_client(s.port, version, "-sess_in", file)
                check_eq((a.is_resumed, a.status), (True, 200), "%s after upgrade %d" % (version, i + 1))
        s_client(s.port, "-tls1_3", "-sess_in", files["-tls1_3"], "-sess_out", t.path("next"))
        os.rename(t.path("next"), files["-tls1_3"])  # one that this process gave
    check(s.metric("tls_tickets_total", event="accepted") >= 8)
    # What a ticket is bound to holds as it does over a reload.
    other = ca.issue("b.example", ["b.example"])
    s.write_config(listener=tls_block(other))
    ended(upgrade(t, s))
    for version, file in files.items():
        check_eq(s_client(s.port, version, "-sess_in", file).is_resumed, False, version)


def test_tickets_are_good_for_the_process_before_if_the_upgrade_fails(t):
    s, ca = tls_proxy(t)
    tls = context(ca, version="1.3")
    session = session_of(s, tls)
    s.write_config(listeners='listener "x" { address "192.0.2.1:1"; }')
    check(not s.admin("upgrade")[0])
    check_eq(is_resumed(s, tls, session), True)


def test_resumption_can_be_off(t):
    s, ca = tls_proxy(t, "session-resumption #false")
    for version in ("1.2", "1.3"):
        tls = context(ca, version=version)
        with TlsClient(s.port, tls) as c:
            c.get("/bytes/1")
            session = c.socket.session
            check(not (session and session.has_ticket), "a ticket came")
        check_eq(session is not None and is_resumed(s, tls, session), False)


def test_changed_and_strange_tickets_are_full_handshakes(t):
    s, ca = tls_proxy(t)
    file = t.path("session")
    for version in ("-tls1_2", "-tls1_3"):
        s_client(s.port, version, "-sess_out", file)
        check_eq(s_client(s.port, version, "-sess_in", file).is_resumed, True)
        other, _ = tls_proxy(t)  # with keys of its own
        a = s_client(other.port, version, "-sess_in", file)
        check_eq((a.is_resumed, a.status), (False, 200), version)


# ---- 0-RTT

def early_setup(t, more="", **keys):
    s, ca = tls_proxy(t, "early-data #true\n" + more, **keys)
    s.session_file = t.path("session")
    check_in("Max Early Data: 16384", s_client(s.port, "-tls1_3", "-sess_out", s.session_file).text)
    s.origins[0].clear()
    return s


def early(s, request, rest=b"", *words, port=None):
    """Sends a request in the first flight; `rest` after the handshake."""
    path = s.case.path("early")
    with open(path, "wb") as file:
        file.write(request)
    return s_client(port or s.port, "-sess_in", s.session_file, "-early_data", path, *words, request=rest)


def test_early_data_is_refused_for_a_while_after_an_upgrade(t):
    s = early_setup(t)
    request = REQUEST % (b"/headers", b"a.example")
    check_in("Early data was accepted", early(s, request).text)
    ended(upgrade(t, s))
    a = early(s, request, request)  # once more, the ordinary way
    check_in("Early data was rejected", a.text)
    check_eq((a.is_resumed, a.status), (True, 200))
    check_eq(s.metric("tls_early_data_total", verdict="upgrade"), 1)
    wait_for(lambda: "Early data was accepted" in early(s, request).text, "the end of that while", 25, 1)


def fields_at_origin(s, index=-1):
    return {n.lower(): v for n, v in s.origins[0].wait_requests(1)[index].fields}


def test_early_requests_are_told_to_the_origin(t):
    s = early_setup(t)
    a = early(s, REQUEST % (b"/headers", b"a.example"))
    check_in("Early data was accepted", a.text)
    check_eq((a.is_resumed, a.status), (True, 200))
    check_eq(fields_at_origin(s)["early-data"], "1")
    check_eq(len(s.origins[0].requests), 1)
    # One that comes after the handshake is told nothing, and no client may say so itself in an ordinary one.
    a = s_client(s.port, "-sess_in", s.session_file, request=REQUEST % (b"/headers", b"a.example"))
    check_eq((a.is_resumed, a.status), (True, 200))
    check("early-data" not in fields_at_origin(s), "%r", fields_at_origin(s))


def test_a_request_of_which_a_part_is_early_is_early(t):
    s = early_setup(t)
    for method, body, status in ((b"GET", b"", 200), (b"POST", b"abc", 425)):
        request = b"%b /headers HTTP/1.1\r\nHost: a.example\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (
            method, len(body), body)
        a = early(s, request[:20], request[20:])
        check_in("Early data was accepted", a.text)
        check_eq(a.status, status, method.decode())
    check_eq([r.method for r in s.origins[0].requests], ["GET"])
    check_eq(fields_at_origin(s)["early-data"], "1")


def test_the_second_request_of_the_connection_is_not_early(t):
    s = early_setup(t)
    a = early(s, b"GET /headers?1 HTTP/1.1\r\nHost: a.example\r\n\r\n", REQUEST % (b"/headers?2", b"a.example"))
    check_in("Early data was accepted", a.text)
    check_eq(a.text.count("HTTP/1.1 200"), 2, a.text)
    by_target = {r.target: {n.lower() for n, _ in r.fields} for r in s.origins[0].requests}
    check("early-data" in by_target["/headers?1"] and "early-data" not in by_target["/headers?2"], "%r", by_target)


def test_only_safe_methods_may_be_early(t):
    s = early_setup(t)
    for method, status in ((b"GET", 200), (b"HEAD", 200), (b"OPTIONS", 200), (b"POST", 425), (b"PUT", 425), (b"DELETE", 425),
                           (b"PATCH", 425)):
        body = b"Content-Length: 0\r\n" if status == 425 else b""
        a = early(s, method + b" /headers HTTP/1.1\r\nHost: a.example\r\n" + body + b"Connection: close\r\n\r\n")
        check_in("Early data was accepted", a.text)
        check_eq(a.status, status, method.decode())
    check_eq({r.method for r in s.origins[0].requests}, {"GET", "HEAD", "OPTIONS"})
    check_eq(s.metric("requests_total", status="425"), 4)


def test_zero_rtt_is_off_by_default(t):
    s, _ = tls_proxy(t)
    s.session_file = t.path("session")
    a = s_client(s.port, "-tls1_3", "-sess_out", s.session_file)
    check("Max Early Data: 0" in a.text or "Max Early Data" not in a.text, "%s", a.text[-800:])


def test_an_early_answer_of_many_records(t):
    s = early_setup(t)
    a = early(s, REQUEST % (b"/bytes/300000", b"a.example"))
    check_in("Early data was accepted", a.text)
    check_in("Content-Length: 300000", a.text)


def test_an_early_answer_is_not_lost_by_an_early_end(t):
    s = early_setup(t)
    for _ in range(5):
        a = early(s, REQUEST % (b"/bytes/5", b"a.example"), b"", "-msg")
        check_in("Early data was accepted", a.text)
        check_eq(a.status, 200)
        check_in("<<< TLS 1.3, Alert [length 0002], warning close_notify", a.text)


def capture(s, request=None):
    """The bytes that a client with early data sends before it hears anything."""
    relay = Relay(s.case, None)
    path = s.case.path("early")
    request = request or REQUEST % (b"/headers", b"a.example")
    with open(path, "wb") as file:
        file.write(request)

    def talk():
        try:
            s_client(relay.port, "-sess_in", s.session_file, "-early_data", path, timeout=3)
        except AssertionError:
            pass  # nobody answers
    threading.Thread(target=talk, daemon=True).start()

    def is_whole():
        """All of the request is there, in whole records."""
        flight, at, count = bytes(relay.flights[0]) if relay.flights else b"", 0, 0
        while at + 5 <= len(flight):
            size = int.from_bytes(flight[at + 3:at + 5], "big")
            count += size - 17 if flight[at] == 23 else 0
            at += 5 + size
        return at == len(flight) and count == len(request)
    wait_for(is_whole, lambda: "the first flight: %r" % relay.flights)
    return bytes(relay.flights[0])


def send_flight(s, flight):
    c = Client(s.port)
    c.send(flight)
    return c


def test_the_same_flight_many_times_at_once_is_one_request(t):
    s = early_setup(t, workers=2)
    flight = capture(s)
    threads = [threading.Thread(target=send_flight, args=(s, flight)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    s.origins[0].wait_requests(1)
    wait_for(lambda: s.metric("accepted_connections_total") >= 17, "all connections")
    s.sleep_ticks(0.5)
    check_eq(len(s.origins[0].requests), 1)
    check_eq(fields_at_origin(s)["early-data"], "1")


def test_a_replay_is_refused_across_workers_and_reloads(t):
    s = early_setup(t, workers=2)
    relay = Relay(t, s.port)
    path = t.path("early")
    with open(path, "wb") as file:
        file.write(REQUEST % (b"/headers", b"a.example"))
    a = s_client(relay.port, "-sess_in", s.session_file, "-early_data", path, request=b"")
    check_in("Early data was accepted", a.text)
    check_eq(len(s.origins[0].wait_requests(1)), 1)
    flight = bytes(relay.flights[0])
    began = time.monotonic()
    for again in range(3):
        for _ in range(8):
            send_flight(s, flight)
        if again == 0:
            s.check_reload(listener=tls_block(s.pair, more="early-data #true") + "keepalive-timeout-secs 60\n")
        elif again == 1:
            s.write_config(listener=tls_block(s.pair, more="early-data #true\nocsp-stapling #false"))
            s.signal(signal.SIGHUP)
            wait_for(lambda: s.metric("config_generation") == 3, "the reload")
    check(time.monotonic() - began < 8 * scale(), "the ticket is too old for this to prove anything")
    s.sleep_ticks(0.5)
    check_eq(len(s.origins[0].requests), 1)
    check_eq(tls_fetch(s.port, "/bytes/1").status, 200)
    # The ticket is still good for a new hello, early data included.
    check_in("Early data was accepted", early(s, REQUEST % (b"/headers", b"a.example")).text)


def test_tickets_and_early_data_are_counted(t):
    s = early_setup(t)
    relay = Relay(t, s.port)
    check_in("Early data was accepted", early(s, REQUEST % (b"/headers", b"a.example"), port=relay.port).text)
    send_flight(s, bytes(relay.flights[0]))
    wait_for(lambda: s.metric("tls_early_data_total", verdict="replayed") == 1, "the replay")
    check_eq(s.metric("tls_early_data_total", verdict="fresh"), 1)
    check_eq([s.metric("tls_tickets_total", event=x) for x in ("accepted", "refused")], [2, 0])
    s_client(tls_proxy(t)[0].port, "-tls1_3", "-sess_out", s.session_file)  # of a stranger
    check_eq(s_client(s.port, "-sess_in", s.session_file).is_resumed, False)
    check_eq(s.metric("tls_tickets_total", event="refused"), 1)
    issued = s.metric("tls_tickets_total", event="issued")
    check(issued >= 3, "%d issued", issued)
    told = s.status()["tls"]
    check_eq(told, {"tickets_issued": issued, "tickets_accepted": 2, "tickets_refused": 1,
                    "early_data": {"fresh": 1, "replayed": 1, "filter_full": 0, "clock": 0, "upgrade": 0}})
    check_in("tickets: %d issued, 2 accepted, 1 refused; early data: 1 taken, 1 refused" % issued, s.admin("status")[1])


def test_early_data_that_is_refused_comes_again_after_the_handshake(t):
    s = early_setup(t)
    file = t.path("early")
    with open(file, "wb") as out:
        out.write(REQUEST % (b"/headers?early", b"a.example"))
    s.check_reload(listener=tls_block(s.pair))  # 0-RTT is off now
    a = s_client(s.port, "-sess_in", s.session_file, "-early_data", file, request=REQUEST % (b"/headers?late", b"a.example"))
    check_in("Early data was rejected", a.text)
    check_eq(a.status, 200)
    check_eq([r.target for r in s.origins[0].requests], ["/headers?late"])


def test_more_early_data_than_allowed_is_refused(t):
    s = early_setup(t)
    flight = capture(s, b"GET /headers HTTP/1.1\r\nHost: a.example\r\nX-Long: " + b"x" * 15000 + b"\r\n\r\n")
    check(len(flight) > 15000, "%d bytes", len(flight))
    c = send_flight(s, flight)  # is within the bound, and waits for Finished
    s.origins[0].wait_requests(1)
    c.close()


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


def h2_request(method, path=b"/headers"):
    """Frames of a request with no body on stream 1; method: index of the static table (2 GET, 3 POST)."""
    block = bytes([0x80 | method, 0x87, 0x04, len(path)]) + path + bytes([0x41, 9]) + b"a.example"
    return PREFACE + bytes([0, 0, len(block), 1, 5, 0, 0, 0, 1]) + block


def test_early_data_over_http2(t):
    s = early_setup(t)
    goaway = bytes([0, 0, 8, 7, 0, 0, 0, 0, 0]) + bytes(8)
    s_client(s.port, "-tls1_3", "-alpn", "h2", "-sess_out", s.session_file, request=PREFACE + goaway)
    a = early(s, h2_request(2), goaway, "-alpn", "h2")
    check_in("Early data was accepted", a.text)
    check_eq(fields_at_origin(s)["early-data"], "1")
    a = early(s, h2_request(3), goaway, "-alpn", "h2")
    check_in("Early data was accepted", a.text)
    wait_for(lambda: s.metric("requests_total", status="425") == 1, "the refusal")
    check_eq([r.method for r in s.origins[0].requests], ["GET"])
