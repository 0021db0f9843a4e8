# SPDX-License-Identifier: GPL-2.0-only
# test_config_errors.py - wrong files and taken ports: exit code 1, every error with its place, nothing started.
import json
import os
import re
import socket
import subprocess

from lib import Skip, check, check_eq, check_in, fetch, wait_for
from lib.case import scale
from lib.tls import Authority, tls_block
from test_upgrade import upgrade

WRONG = '''listeners {
    listener "web" {
        adress "127.0.0.1:8080"
        protocol "htp"
        request-timeout-secs -5
    }
    listener "two" { address "127.0.0.1:99999"; }
}
routes {
    route "a" {
        matches { path-regex "(("; }
        upstream "nowhere"
        cache { }
    }
    route "b" {
        matches { path-prefix "/"; }
        builtin-handler "statsu"
    }
}
upstreams {
    upstream "x" { target "a b"; load-balancing "round_robbin"; }
}
bogus { }
agents { }
'''

# Line, column, and what must be said there.
PLACES = [
    (2, 5, '"address" is missing'), (3, 9, 'unknown key "adress"'), (4, 18, '"htp"'), (5, 30, "-5"),
    (7, 30, "65535"), (11, 30, "pattern"), (12, 9, '"nowhere"'), (13, 9, "not in this version"), (17, 25, '"statsu" is not a builtin handler'),
    (21, 27, '"a b" is not a target'), (21, 49, '"round_robbin"'), (23, 1, '"bogus"'), (24, 1, "not in this version"),
]
PLACE = re.compile(r"^(\S+?):(\d+):(\d+): error: (.*)$", re.M)

# What a file may not contain, and where it must be found.
SINGLE = [
    ("listeners {\n", "1:11", "never closed"),
    ("listeners {\n}\n}\n", "3:1", ""),
    ('listeners { listener "a" { address "127.0.0.1:1"; }\nlistener "a" { address "127.0.0.1:2"; }\n}\n', "2:", '"a"'),
    ("system { worker-threads \"many\"; }\n", "1:25", "worker-threads"),
    ("system { worker-threads 1; worker-threads 2; }\n", "1:28", "worker-threads"),
    ("system { pid-file \"${SENTINEL_TEST_UNSET}\"; }\n", "1:", "SENTINEL_TEST_UNSET"),
    ("limits { max-body-size \"10 parsecs\"; }\n", "1:24", "max-body-size"),
    ("system { max-connections 1.5; }\n", "1:26", ""),
    ("kernel { acl { deny \"300.0.0.0/8\"; }\n}\n", "1:21", "300.0.0.0/8"),
    ("kernel { mode \"xpd\"; }\n", "1:15", '"xdp"'),
    ('observability { logging { access-log { buffer-size 512; }\n}\n}\n', "1:52", "buffer-size"),
    ("include \"nothing-here.kdl\"\n", "1:", "nothing-here.kdl"),
    ("system { pid-file \"\\q\"; }\n", "1:", ""),
    ("system { \x01 }\n", "1:10", ""),
]

# Blocks and keys of later versions: refused, never ignored.
LATER = [
    "waf { }\n", "agents { }\n", "cache { }\n", "observability { tracing { }\n}\n",
    "kernel { rate-limit { }\n}\n", "observability { logging { access-log { sample-rate 0.5; }\n}\n}\n",
    'routes { route "r" { static-files { }\n}\n}\n', 'routes { route "r" { circuit-breaker { }\n}\n}\n',
    'upstreams { upstream "u" { target "127.0.0.1:1"; health-check { }\n}\n}\n',
    'listeners { listener "l" { address "127.0.0.1:1"; protocol "h3"; }\n}\n',
    'listeners { listener "l" { address "127.0.0.1:1"; tls { acme { }\n}\n}\n}\n',
]


def wrong(t, text, **keys):
    """A daemon with this file, not started."""
    return t.sentinel(start=False, config=text, **keys)


def test_every_error_is_told_with_its_place_at_once(t):
    s = wrong(t, WRONG)
    code, _, err = s.command("check", check_code=None)
    check_eq(code, 1)
    found = PLACE.findall(err)
    check_eq([(int(line), int(col)) for _, line, col, _ in found], [p[:2] for p in PLACES], err)
    for (path, _, _, text), (_, _, part) in zip(found, PLACES):
        check_in(part, text)
        check_eq(path, s.config_path)
    lines = err.splitlines()
    at = next(i for i, line in enumerate(lines) if '"adress"' in line)
    check_in('adress "127.0.0.1:8080"', lines[at + 1], "the line is not shown")
    check_eq(lines[at + 2].count("^") + lines[at + 2].count("~"), len("adress"), "the mark")
    check_eq(lines[at + 2].index("^"), lines[at + 1].index("adress"), "the mark")
    check_in('did you mean "address"?', lines[at + 3])


def test_run_on_a_wrong_file_ends_with_1_and_starts_nothing(t):
    s = wrong(t, WRONG)
    s.spawn()
    check_eq(s.wait_exit(), 1)
    err = s.stderr()
    check_eq(len(PLACE.findall(err)), len(PLACES), err)
    check_in("nothing was started", err)
    s.check_clean()


def test_json_carries_the_same_errors(t):
    code, out, err = wrong(t, WRONG).command("check", "--json", check_code=None)
    check_eq((code, err), (1, ""))
    page = json.loads(out)
    check_eq(page["errors"], len(PLACES))
    check_eq([(d["line"], d["col"]) for d in page["diagnostics"] if d["severity"] == "error"], [p[:2] for p in PLACES])


def test_each_mistake_is_found_at_its_place(t):
    for text, place, part in SINGLE:
        s = wrong(t, text)
        code, _, err = s.command("check", check_code=None)
        check_eq(code, 1, "%r: %s" % (text, err))
        check_in("%s:%s" % (s.config_path, place), err, repr(text))
        check_in(part, err, repr(text))


def test_keys_of_later_versions_are_refused_not_ignored(t):
    for text in LATER:
        code, _, err = wrong(t, text).command("check", check_code=None)
        check_eq(code, 1, "%r: %s" % (text, err))
        check_in("not in this version", err, repr(text))


def test_error_in_an_included_file_names_that_file(t):
    t.write("part-a.kdl", 'system { worker-threads 1; }\n')
    bad = t.write("part-b.kdl", '\nrouts { }\n')
    s = wrong(t, 'include "part-*.kdl"\nlisteners { listener "l" { address "127.0.0.1:%d"; }\n}\n' % t.port())
    code, _, err = s.command("check", check_code=None)
    check_eq(code, 1)
    check_in(bad + ":2:1: error: ", err)
    check_in('did you mean "routes"?', err)


def test_files_that_include_each_other_are_an_error(t):
    t.write("ring-a.kdl", 'include "ring-b.kdl"\n')
    t.write("ring-b.kdl", 'include "ring-a.kdl"\n')
    code, _, err = wrong(t, 'include "ring-a.kdl"\n').command("check", check_code=None)
    check_eq(code, 1)
    check_in("ring-a.kdl", err)


def test_both_kdl_1_and_kdl_2_are_read_and_neither_is_mixed_up(t):
    body = 'routes { route "r" { matches { path-prefix "/"; }\nbuiltin-handler "status"; websocket %s; }\n}\n'
    listener = 'listeners { listener "l" { address "127.0.0.1:%d"; }\n}\n' % t.port()
    for word in ("#true", "true"):
        wrong(t, listener + body % word).command("check")
    code, _, err = wrong(t, listener + body % "yes").command("check", check_code=None)
    check_eq(code, 1)
    check_in("websocket", err)


def test_missing_file_is_one_line(t):
    s = wrong(t, "")
    code, out, err = s.command("check", "-c", t.path("none.kdl"), config=False, check_code=None)
    check_eq((code, out), (1, ""))
    check_in("none.kdl", err)
    check_eq(len(err.splitlines()), 1, err)


def test_undefined_upstream_of_an_otherwise_wrong_file_is_still_found(t):
    text = 'bogus #true\nroutes { route "r" { matches { path-prefix "/"; }\nupstream "gone"; }\n}\n'
    code, _, err = wrong(t, text).command("check", check_code=None)
    check_eq(code, 1)
    check_in("bogus", err)
    check_in('"gone"', err)


def test_port_in_use_ends_with_1_and_names_the_listener(t):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        s = t.sentinel(start=False, listeners='listener "front" { address "127.0.0.1:%d"; }' % port)
        s.spawn()
        check_eq(s.wait_exit(), 1)
        check_in("127.0.0.1:%d" % port, s.stderr())
        check_in("in use", s.stderr())
        check_in("front", s.stderr())


def test_second_daemon_on_the_port_is_told_so_and_the_first_serves_on(t):
    first = t.sentinel()
    second = t.sentinel(start=False, listeners='listener "front" { address "127.0.0.1:%d"; }' % first.port)
    second.spawn()
    check_eq(second.wait_exit(), 1)
    check_in("in use", second.stderr())
    for _ in range(20):
        check_eq(fetch(first.port, "/").status, 200)


def test_second_daemon_of_the_instance_is_told_so(t):
    first = t.sentinel()
    second = t.sentinel(start=False)
    second.socket_path = first.socket_path
    second.write_config()
    second.spawn()
    check_eq(second.wait_exit(), 1)
    check_in(first.socket_path, second.stderr())
    check_eq(fetch(first.port, "/").status, 200)
    check(first.status(), "the first daemon lost its admin socket")


def refusal(s, *texts, user=None, seconds=10):
    """A start that fails; what it says, which must be these texts."""
    if user is not None:
        s.prefix = ["setpriv", "--reuid=%d" % user, "--regid=%d" % user, "--clear-groups"]
    s.spawn()
    check_eq(s.wait_exit(seconds), 1)
    for text in texts:
        check_in(text, s.stderr())
    s.check_clean()


def test_pid_file_of_a_daemon_that_runs_stops_the_start(t):
    path = t.path("pid")
    first = t.sentinel(system='pid-file "%s"' % path)
    second = t.sentinel(start=False, system='pid-file "%s"' % path)
    refusal(second, "pid-file %s is in use by process %d" % (path, first.pid), "name another file")
    with open(path, encoding="ascii") as file:
        check_eq(int(file.read()), first.pid)
    first.kill()  # what it leaves behind stops nobody
    second.start()
    with open(path, encoding="ascii") as file:
        check_eq(int(file.read()), second.pid)
    upgrade(t, second)
    refusal(t.sentinel(start=False, system='pid-file "%s"' % path), "is in use by process %d" % second.pid)
    second.stop()
    check(not os.path.exists(path))


def test_what_a_user_may_not_do_names_him(t):
    nobody = 65534
    own = t.path("own")
    os.mkdir(own)
    os.chown(own, nobody, nobody)

    def daemon(**keys):
        s = t.sentinel(start=False, **keys)
        s.socket_path, s.access_path = own + "/socket", own + "/access.log"
        s.write_config()
        return s
    denied = "Permission denied to user %d" % nobody
    refusal(daemon(system='pid-file "%s"' % t.path("pid")), "pid-file %s cannot be written: %s" % (t.path("pid"), denied),
            user=nobody)
    refusal(daemon(system='user "daemon"'), "only root can become user daemon: start it as root", user=nobody)
    s = daemon()
    s.access_path = t.path("access.log")
    s.write_config()
    refusal(s, "access-log %s cannot be opened: %s" % (s.access_path, denied), user=nobody)
    s = daemon()
    s.socket_path = t.path("socket")
    s.write_config()
    refusal(s, "the admin socket %s cannot be opened: %s" % (s.socket_path, denied), user=nobody)
    pair = Authority(t).issue("a.example", ["a.example"])
    refusal(daemon(listener=tls_block(pair)), "key-file %s cannot be read: permission denied to user %d" % (pair.key, nobody),
            user=nobody)


def test_admin_socket_in_the_place_of_a_file_says_what_to_do(t):
    s = t.sentinel(start=False)
    s.socket_path = t.write("file", "precious")
    s.write_config()
    refusal(s, "the admin socket %s cannot be opened: what is there is no socket: remove it" % s.socket_path)
    with open(s.socket_path, encoding="ascii") as file:
        check_eq(file.read(), "precious")


def test_full_disk_is_told_and_serves_on(t):
    os.mkdir(t.path("tiny"))
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", t.path("tiny")], stderr=subprocess.PIPE)
    if mount.returncode:
        raise Skip("no tmpfs can be mounted: %s" % mount.stderr.decode())
    t.closers.append(lambda: subprocess.run(["umount", "-l", t.path("tiny")], check=True))
    s = t.sentinel(start=False)
    s.access_path = t.path("tiny/access.log")
    s.write_config()
    s.start()

    def is_full():
        for _ in range(50):
            check_eq(fetch(s.port, "/" + "x" * 300).status, 200)
        return "loses lines" in s.stderr()
    wait_for(is_full, "the complaint", 15)
    check_in("the access log %s loses lines: no space left on device; sentinel_log_lines_dropped_total counts them"
             % s.access_path, s.stderr())
    wait_for(lambda: s.metric("log_lines_dropped_total", log="access") > 0, "the count")
    check_eq(s.stderr().count("loses lines"), 1)


def test_names_of_the_file_and_not_of_a_file(t):
    code, _, err = wrong(t, "routes {\n}\n").command("check", check_code=None)
    check_eq(code, 1)
    check_in('"listeners" is missing in the configuration', err)


def test_user_that_does_not_exist_stops_the_start(t):
    s = t.sentinel(start=False, system='user "no-such-user-4711"')
    s.spawn()
    check_eq(s.wait_exit(), 1)
    check_in('there is no user "no-such-user-4711"', s.stderr())
    s = t.sentinel(start=False, system='user "daemon"; group "no-such-group-4711"')
    s.spawn()
    check_eq(s.wait_exit(), 1)
    check_in('there is no group "no-such-group-4711"', s.stderr())


def test_log_file_that_cannot_be_opened_stops_the_start(t):
    s = t.sentinel(start=False)
    s.access_path = t.write("file", "") + "/access.log"
    s.write_config()
    s.spawn()
    check_eq(s.wait_exit(), 1)
    check_in(s.access_path, s.stderr())


def test_metrics_port_that_is_written_and_taken_stops_the_start(t):
    first = t.sentinel()
    wait_for(lambda: fetch(first.admin_port, "/metrics").status == 200, "the metrics")
    second = t.sentinel(start=False)
    second.admin_port = first.admin_port
    second.write_config()
    second.spawn()
    check_eq(second.wait_exit(), 1)
    check_in("observability { metrics { address } }: cannot listen on 127.0.0.1:%d" % first.admin_port, second.stderr())
    check_in("in use", second.stderr())


def test_privileged_address_of_another_host_is_one_line(t):
    s = t.sentinel(start=False, listeners='listener "far" { address "192.0.2.1:8080"; }')
    s.spawn()
    check_eq(s.wait_exit(), 1)
    check_in("192.0.2.1:8080", s.stderr())


def test_garbage_files_are_refused_without_a_crash(t):
    s = t.sentinel(t.origin(), start=False)
    good = s.config_text()
    for text in ("", "{", '"', "\x00", "listeners", good[:200], good + "}", "/*" * 1000, "a {" * 5000, good.replace('"', "'"),
                 "r" + "#" * 100 + '"'):
        with open(s.config_path, "w", encoding="utf-8") as file:
            file.write(text)
        code, _, err = s.command("check", check_code=None)
        check_eq(code, 1, repr(text[:30]))


def test_includes_and_environment(t):
    o = t.origin()
    s = t.sentinel(o, start=False)
    os.mkdir(t.path("routes"))
    t.write("routes/a.kdl", 'routes { route "a" { matches { path-prefix "${PREFIX:-/a}"; }; upstream "o"; }; }\n')
    t.write("routes/b.kdl", 'routes { route "b" { matches { path-prefix "/b"; }; upstream "o"; }; }\n')
    s.write_config(routes="", top='include "routes/*.kdl"\n')
    s.start()
    check_eq([fetch(s.port, p).status for p in ("/a", "/b", "/c")], [200, 200, 404])
    t.write("routes/c.kdl", 'routes { route "c" { matches { path-prefix "/c"; }; upstream "typo"; }; }\n')
    is_ok, text = s.admin("reload")
    check(not is_ok)
    check_in("c.kdl:1:", text)


def test_unset_variable_without_default_is_an_error(t):
    s = t.sentinel(t.origin(), start=False)
    s.write_config(routes='route "a" { matches { path "${SURELY_NOT_SET}"; }; upstream "o"; }')
    code, out, err = s.command("check", check_code=None)
    check_eq(code, 1)
    check_in("SURELY_NOT_SET", out + err)
    check_eq(s.command("check", check_code=None, env={"SURELY_NOT_SET": "/x"})[0], 0)


def test_default_file_checks(t):
    path = os.path.join(os.path.dirname(__file__), "../../config/sentinel.kdl")
    done = subprocess.run([t.binary, "check", "-c", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=20 * scale())
    check_eq(done.returncode, 0, done.stdout.decode())


def test_no_file_anywhere_says_where_it_looked(t):
    env = {k: v for k, v in os.environ.items() if k != "SENTINEL_CONFIG"}
    command = [t.binary, "check"]
    if os.path.exists("/etc/sentinel"):  # not for this one
        command = ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /etc/sentinel && exec \"$@\"", "sh"] + command
    done = subprocess.run(command, cwd=t.dir, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=20 * scale())
    check_eq(done.returncode, 1)
    check_in(b"/etc/sentinel/sentinel.kdl", done.stdout)
