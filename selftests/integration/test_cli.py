# SPDX-License-Identifier: GPL-2.0-only
# test_cli.py - what a person at a terminal meets: help, exit codes, version, describe, explain, bans.
import fcntl
import json
import os
import pty
import re
import socket
import struct
import subprocess
import termios

from lib import PeerReset, check, check_eq, check_in, fetch, wait_for
from lib.case import scale

COMMANDS = ("run", "check", "reload", "stop", "status", "explain", "kernel", "ban", "config", "version")


def is_refused(s, source):
    """True if a connection from there is reset, false if it is served."""
    try:
        return fetch(s.port, "/bytes/1", source=source).status != 200
    except (PeerReset, ConnectionError):
        return True


def test_help_names_every_command_and_each_explains_itself(t):
    s = t.sentinel(t.origin(), start=False)
    out = s.command("--help", config=False)
    for name in COMMANDS:
        check_in(name, out)
        text = s.command(name, "--help", config=False)
        check(len(text) > 100 and "Usage: sentinel %s" % name in text, name)
        check(all(len(line) <= 114 for line in text.splitlines()), name)


def test_senseless_command_lines_are_2(t):
    s = t.sentinel(t.origin(), start=False)
    for words in ([], ["bogus"], ["run", "--bogus"], ["check", "-c"], ["explain"], ["explain", "GET"], ["ban"], ["ban", "add"],
                  ["stop", "now", "please"], ["--bogus"]):
        code, out, err = s.command(*words, config=False, check_code=None)
        check_eq(code, 2, " ".join(words))
        check(err.strip(), "nothing said to %s", words)


def test_no_daemon_is_3(t):
    s = t.sentinel(t.origin(), start=False)
    for words in (["status"], ["reload"], ["stop"], ["ban", "list"]):
        code, out, err = s.command(*words, check_code=None)
        check_eq(code, 3, " ".join(words))
        check(err.strip())


def test_version(t):
    s = t.sentinel(t.origin(), start=False)
    check(re.match(r"sentinel \d+\.\d+", s.command("version", config=False)))
    check_in("balancers", s.command("version", "-v", config=False))


def test_describe_is_valid_json_and_knows_every_block(t):
    s = t.sentinel(t.origin(), start=False)
    page = json.loads(s.command("config", "describe", "--json", config=False))
    names = {key["name"] for key in page["keys"]}
    for block in ("system", "listeners", "routes", "upstreams", "filters", "limits", "observability", "kernel"):
        check_in(block, names)
    text = s.command("config", "describe", config=False)
    check_in("max-header-size", text)


def test_status_shows_what_serves(t):
    s = t.sentinel(t.origin())
    fetch(s.port, "/bytes/1")
    out = s.command("status")
    check_in(str(s.port), out)
    check_in("main", out)
    page = s.status()
    check_in(str(s.port), json.dumps(page))


def test_explain_names_route_filters_targets_and_losers_in_text_and_json(t):
    o = t.origin()
    s = t.sentinel(o, start=False, filters='filter "tag" { type "headers"; set { X-A "1"; }; }', routes='''
route "front" { matches { path-prefix "/"; }; upstream "o"; filters "tag"; }
route "other" { matches { path "/other"; }; upstream "o"; }''')
    words = ("explain", "GET", "http://a.example:%d/x?y=1" % s.port, "-H", "Accept: text/html", "--from", "192.0.2.7")
    out = s.command(*words)
    with open(s.config_path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    for kind, name in (("listener", "main"), ("route", "front"), ("filter", "tag"), ("upstream", "o")):
        place = next(i for i, line in enumerate(lines, 1) if line.startswith('%s "%s"' % (kind, name)))
        check(re.search(r"^%s( 1)? +%s\b.*\(%s:%d\)$" % (kind, name, re.escape(s.config_path), place), out, re.M), out)
    check(re.search(r"^not +other: .*/other", out, re.M), out)
    check_in("192.0.2.7", out)
    page = json.loads(s.command(*words, "--json"))
    check_eq((page["listener"], page["client_ip"], page["route"], page["filters"], page["targets"]),
             ("main", "192.0.2.7", "front", ["tag"], ["127.0.0.1:%d" % o.port]))
    check_eq([loser["route"] for loser in page["not"]], ["other"])


def test_explain_refuses_what_the_proxy_would_refuse(t):
    s = t.sentinel(t.origin(), start=False)
    code, out, err = s.command("explain", "GET", "http://a.example/../x", check_code=None)
    check_eq((code, out), (2, ""))
    check_in("400", err)
    check_eq(json.loads(s.command("explain", "GET", "http://a.example?x=1", "--json"))["path"], "/")  # as curl sends it
    check_eq(json.loads(s.command("explain", "GET", "http://a.example#x", "--json"))["path"], "/")
    code, out, err = s.command("explain", "GET", "/", "-H", "Host: a:b:c", check_code=None)
    check_eq((code, out), (2, ""))
    check_in("a:b:c", err)


def test_every_json_answer_is_json_and_ends_its_line(t):
    s = t.sentinel(t.origin())
    for words, config in ((["check"], True), (["explain", "GET", "/"], True), (["status"], True), (["ban", "list"], True),
                          (["kernel", "status"], True), (["ban", "add", "192.0.2.7"], True), (["ban", "remove", "192.0.2.7"], True),
                          (["reload"], True), (["version"], False), (["version", "-v"], False),
                          (["config", "describe", "address"], False), (["stop"], True)):
        out = s.command(*words, "--json", config=config)
        json.loads(out)
        check(out.endswith("\n"), "%s: the last line has no end", " ".join(words))
    check_eq(s.wait_exit(), 0)
    for what in ("status", "detach"):  # also without a daemon
        json.loads(s.command("kernel", what, "--json"))


def connect(s):
    c = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    c.connect(s.socket_path)  # waits for a place in the queue, which a socket with a time-out does not
    c.settimeout(10 * scale())
    return c


def answer_of(c):
    """Everything until the end, which must be orderly: no reset."""
    data = b""
    while piece := c.recv(65536):
        data += piece
    return data.decode()


def test_line_that_is_too_long_is_told_so(t):
    s = t.sentinel()
    for length in (4097, 9000, 400000):
        with connect(s) as c:
            c.sendall(b"text " + b"x" * (length - 6) + b"\n")
            check_eq(answer_of(c), "error\nthe line is too long: it has more than 4096 bytes\n", str(length))
    with connect(s) as c:  # the end of it never comes
        c.sendall(b"json " + b"x" * 5000)
        word, _, text = answer_of(c).partition("\n")
        check_eq((word, json.loads(text)["result"]), ("error", "refused"))
    with connect(s) as c:  # the longest
        c.sendall(b"text ban add " + b"1" * (4096 - 14) + b"\n")
        check_in("is not an IP address", answer_of(c))
    code, out, err = s.command("ban", "add", "1" * 5000, check_code=None)
    check_eq((code, out), (1, ""))
    check_in("too long", err)


def test_bytes_without_end_are_not_read_for_ever(t):
    s = t.sentinel()
    with connect(s) as c:
        try:
            for _ in range(1000):
                c.sendall(b"x" * 65536)
        except (BrokenPipeError, ConnectionResetError):
            return
        check(False, "64 MB were taken")


def test_one_connection_too_many_is_told_so(t):
    s = t.sentinel()
    status = s.status()  # and it is gone
    held = [connect(s) for _ in range(32)]
    for c in held:
        c.sendall(b"te")  # taken, and not done

    def is_busy():
        with connect(s) as c:
            return answer_of(c) == "error\nbusy: 32 connections\n"
    wait_for(is_busy, "the line")
    for words in (["status"], ["ban", "list"], ["kernel", "status"], ["kernel", "top"], ["flows"]):
        code, out, err = s.command(*words, check_code=None)
        check_eq((code, out), (1, ""), " ".join(words))
        check_in("busy: 32 connections", err)
    for c in held:
        c.close()
    wait_for(s.answers, "a free place")
    check_eq(s.status()["pid"], status["pid"])


def failure(s, *words, code=1, result="failed", config=True):
    """The error of a command that fails with --json: one object on standard output, and nothing else."""
    got, out, err = s.command(*words, "--json", config=config, check_code=None)
    check_eq((got, err), (code, ""), " ".join(words))
    page = json.loads(out)
    check(out.endswith("}\n") and out.count("\n") == 1, out)
    if result:
        check_eq(page["result"], result, out)
    check(page["error"] and not page["error"].endswith("\n"), out)
    return page["error"]


def test_json_has_the_error_of_each_failure(t):
    s = t.sentinel(start=False)
    for words in (["bogus"], ["status", "--bogus"], ["status", "--json=yes"], ["check", "one", "two"], ["explain"], ["ban", "add"],
                  ["ban", "bogus"], ["ban", "list", "--for", "10m"], ["kernel", "bogus"], ["flows", "--limit", "x"],
                  ["config", "bogus"], ["status", "--now"], ["statsu"]):
        failure(s, *words, code=2, result="usage", config=False)
    for words in (["explain", "G T", "/"], ["explain", "GET", "x"], ["explain", "GET", "http://a/../x"],
                  ["explain", "GET", "http://a:b:c/"], ["explain", "GET", "/", "-H", "x"], ["explain", "GET", "/", "--from", "x"],
                  ["explain", "GET", "/", "-H", "Host: a:b:c"]):
        failure(s, *words, code=2, result="usage")
    for words in (["status"], ["reload"], ["upgrade"], ["stop"], ["flows"], ["kernel", "top"], ["ban", "list"]):
        check_in("no daemon runs", failure(s, *words, code=3, result="not_running"))
    check_in("did you mean", failure(s, "config", "describe", "addres", config=False))
    check_in("none.kdl", failure(s, "check", "-c", t.path("none.kdl"), config=False, result=None))
    s.write_config(routes='route "r" { upstream "gone"; }')
    for words in (["check"], ["explain", "GET", "/"]):
        check_in("%s:" % s.config_path, failure(s, *words, result=None))
    s.write_config(top="kernel { acl { deny %s; }; }" % " ".join('"10.%d.%d.%d"' % (i >> 16, i >> 8 & 255, i & 255)
                                                               for i in range(0, 40000, 2)), routes="")
    check_in("20000 IPv4", failure(s, "explain", "GET", "/"))


def test_json_has_the_errors_of_the_daemon(t):
    s = t.sentinel(t.origin())
    check_eq(failure(s, "ban", "remove", "192.0.2.7", result="refused"), "192.0.2.7 is not banned")
    check_in("is not an IP address", failure(s, "ban", "add", "nobody"))
    check_in("is not a number from 1", failure(s, "flows", "--limit", "0"))
    check_in("too long", failure(s, "ban", "add", "1" * 5000, result="refused"))
    good = s.config_text()
    s.write_config(routes='route "r" { upstream "gone"; }')
    text = failure(s, "reload", result="wrong")
    check_in("gone", text)
    check_in("goes on", text)
    check_in("gone", failure(s, "upgrade"))
    with open(s.config_path, "w", encoding="utf-8") as file:
        file.write(good)
    held = [connect(s) for _ in range(32)]
    wait_for(lambda: s.command("status", "--json", check_code=None)[0] == 1, "a full house")
    check_eq(failure(s, "status"), "busy: 32 connections")
    for c in held:
        c.close()


def test_an_answer_that_cannot_be_written_is_a_failure(t):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([t.binary, "config", "describe"], stdout=full, stderr=subprocess.PIPE, timeout=20 * scale())
    check_eq(done.returncode, 1)
    check_in(b"No space left", done.stderr)


def test_errors_go_to_stderr_and_answers_to_stdout(t):
    s = t.sentinel(t.origin(), start=False)
    for words, wanted in ((["--help"], 0), (["version"], 0), ([], 2), (["bogus"], 2)):
        code, out, err = s.command(*words, config=False, check_code=None)
        check_eq(code, wanted)
        check_eq((bool(out), bool(err)), (wanted == 0, wanted != 0), " ".join(words))
    check_in('did you mean "status"?', s.command("statsu", config=False, check_code=None)[2])


def test_check_counts_what_does_not_fit_into_the_kernel(t):
    s = t.sentinel(t.origin(), start=False)
    s.write_config(top="kernel { acl { deny %s; }; }" % " ".join('"10.%d.%d.%d"' % (i >> 16, i >> 8 & 255, i & 255)
                                                               for i in range(0, 40000, 2)))
    code, out, err = s.command("check", "--json", check_code=None)
    check_eq((code, err), (1, ""))
    check_eq(json.loads(out)["errors"], 1)
    check_in("20000 IPv4", out)


def test_kernel_top_fits_on_a_small_screen(t):
    s = t.sentinel(t.origin())
    ours, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 6, 20, 0, 0))
    top = subprocess.Popen([t.binary, "kernel", "top", "-c", s.config_path], stdin=terminal, stdout=terminal)
    seen = b""
    while seen.count(b"\x1b[J") < 2:  # two whole frames
        seen += os.read(ours, 65536)
    os.write(ours, b"q")
    check_eq(top.wait(10 * scale()), 0)
    os.close(terminal)
    os.close(ours)
    first = seen.split(b"\x1b[H")[1]
    check_eq(first.count(b"\n"), 5, "line ends, one fewer than lines of the screen, of %r" % first)
    check(b"\x1b[?7l" in seen.split(b"\x1b[H")[0], "lines wrap: %r", seen[:80])


def test_ban_refuses_a_client_after_accept(t):
    s = t.sentinel(t.origin(), start=False)
    s.write_config(listeners='listener "main" { address "127.0.0.1:%d"; }' % s.port)
    s.start()
    check_eq(fetch(s.port, "/bytes/1", source="127.0.0.9").status, 200)
    s.command("ban", "add", "127.0.0.9", "--for", "1h")
    check_in("127.0.0.9", s.command("ban", "list"))
    check_in("127.0.0.9", json.dumps(json.loads(s.command("ban", "list", "--json"))))
    check(is_refused(s, "127.0.0.9"), "a banned client was served")
    check_eq(fetch(s.port, "/bytes/1", source="127.0.0.8").status, 200)
    s.command("ban", "remove", "127.0.0.9")
    check_eq(failure(s, "ban", "remove", "127.0.0.9", result="refused"), "127.0.0.9 is not banned")
    check_eq(fetch(s.port, "/bytes/1", source="127.0.0.9").status, 200)


def test_operator_rules_hold_for_accepted_connections(t):
    s = t.sentinel(t.origin(), top='kernel { acl { deny "127.0.0.0/28"; allow "127.0.0.1"; }; }')
    check_eq(fetch(s.port, "/bytes/1", source="127.0.0.1").status, 200)
    check_eq(fetch(s.port, "/bytes/1", source="127.0.0.99").status, 200)
    check(is_refused(s, "127.0.0.9"), "a denied client was served")
    check(s.metric("refused_connections_total") >= 1)
    code, out, err = s.command("ban", "add", "127.0.0.1", check_code=None)
    check_eq((code, out), (1, ""))
    check_in("allow", err)
    s.check_reload(top='kernel { acl { deny "127.0.0.99"; }; }')
    check(is_refused(s, "127.0.0.99"), "the new rule does not hold")
    check_eq(fetch(s.port, "/bytes/1", source="127.0.0.9").status, 200)
