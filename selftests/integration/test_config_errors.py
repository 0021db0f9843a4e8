# SPDX-License-Identifier: GPL-2.0-only
# test_config_errors.py - starting with a wrong file: every error with its place, exit code 1, nothing started.
import json
import os
import re
import subprocess

from lib import check, check_eq, check_in, fetch
from lib.case import scale


def run_fails(t, s, seconds=10):
    """Starts it; returns (code, stderr)."""
    s.spawn()
    code = s.process.wait(seconds * scale())
    s.is_ended = True
    return code, s.stderr()


def test_all_errors_are_told_at_once_with_their_places(t):
    s = t.sentinel(t.origin(), start=False)
    text = s.config_text().replace('worker-threads 1', 'worker-threads "many"\nmax-conections 5')
    text = text.replace('upstream "o"\n', 'upstream "nowhere"\nfilters "none"\n', 1)
    s.write_config(config=text + 'surprise { x 1; }\nlimits { max-header-size "12XB"; }\n')
    code, err = run_fails(t, s)
    check_eq(code, 1)
    for wanted in ("many", "max-conections", "nowhere", "none", "surprise", "12XB"):
        check_in(wanted, err)
    places = re.findall(r"sentinel0\.kdl:(\d+):(\d+): error", err)
    check(len(places) >= 6, "%d places: %s", len(places), err)
    check_in("max-connections", err, "did you mean")
    check_in("^", err)
    lines = text.split("\n")
    line = next(i for i, l in enumerate(lines, 1) if "max-conections" in l)
    check_in("sentinel0.kdl:%d:" % line, err)


def test_check_command_says_the_same_and_touches_nothing(t):
    s = t.sentinel(t.origin(), start=False)
    check_eq(s.command("check", check_code=None)[0], 0)
    s.write_config(config=s.config_text() + "surprise 1\n")
    code, out, err = s.command("check", check_code=None)
    check_eq(code, 1)
    check_in("surprise", out + err)
    code, out, err = s.command("check", "--json", check_code=None)
    check_eq(code, 1)
    check_in("surprise", json.dumps(json.loads(out)))
    check(not os.path.exists(s.socket_path))


def test_keys_of_later_versions_are_errors_that_say_so(t):
    s = t.sentinel(t.origin(), start=False)
    wrong = []
    base = s.config_text()
    for where, line in (("listener", "tls { }"), ("route", "cache { }"), ("route", 'inference { }'), ("upstream", "health-check { }"),
                        ("upstream", "circuit-breaker { }"), ("system", "daemon #true")):
        text = s.config_text(**{where: line})
        check(text != base)
        with open(s.config_path, "w", encoding="utf-8") as file:
            file.write(text)
        code, out, err = s.command("check", check_code=None)
        if code != 1 or "not in this version" not in out + err:
            wrong.append("%s %s: %d %s" % (where, line, code, (out + err)[:200]))
    check(not wrong, "%s", "\n".join(wrong))


def test_port_in_use_is_told_by_name(t):
    o = t.origin()
    s = t.sentinel(o, start=False)
    s.write_config(listeners='listener "main" { address "127.0.0.1:%d"; }' % o.port)
    code, err = run_fails(t, s)
    check_eq(code, 1)
    check_in(str(o.port), err)
    check_in("in use", err)


def test_second_daemon_on_the_port_is_refused_and_the_first_serves_on(t):
    o = t.origin()
    first = t.sentinel(o)
    second = t.sentinel(o, start=False)
    second.write_config(listeners='listener "main" { address "127.0.0.1:%d"; }' % first.port)
    code, err = run_fails(t, second)
    check_eq(code, 1)
    check_in("in use", err)
    for _ in range(20):
        check_eq(fetch(first.port, "/bytes/1").status, 200)


def test_second_daemon_of_the_instance_is_refused(t):
    o = t.origin()
    first = t.sentinel(o)
    second = t.sentinel(o, start=False)
    second.instance, second.socket_path = first.instance, first.socket_path
    second.write_config()
    code, err = run_fails(t, second)
    check_eq(code, 1)
    check(err.strip(), "nothing said")
    check_eq(fetch(first.port, "/bytes/1").status, 200)
    check(first.admin("status")[0], "the first lost its socket")


def test_unreadable_file_is_one_clear_line(t):
    s = t.sentinel(t.origin(), start=False)
    os.unlink(s.config_path)
    code, err = run_fails(t, s)
    check_eq(code, 1)
    check_in("sentinel0.kdl", err)
    check(len(err.strip().splitlines()) <= 3, "%s", err)


def test_log_that_cannot_be_opened_stops_the_start(t):
    s = t.sentinel(t.origin(), start=False)
    s.access_path = t.path("no/such/folder\x2f") + "x" * 300
    s.write_config()
    code, err = run_fails(t, s)
    check_eq(code, 1)
    check(err.strip())


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


def test_included_circle_is_an_error(t):
    s = t.sentinel(t.origin(), start=False)
    t.write("more.kdl", 'include "sentinel0.kdl"\n')
    s.write_config(top='include "more.kdl"\n')
    code, out, err = s.command("check", check_code=None)
    check_eq(code, 1)
    check_in("include", out + err)


def test_unset_variable_without_default_is_an_error(t):
    s = t.sentinel(t.origin(), start=False)
    s.write_config(routes='route "a" { matches { path "${SURELY_NOT_SET}"; }; upstream "o"; }')
    code, out, err = s.command("check", check_code=None)
    check_eq(code, 1)
    check_in("SURELY_NOT_SET", out + err)
    check_eq(s.command("check", check_code=None, env={"SURELY_NOT_SET": "/x"})[0], 0)


def test_kdl_1_is_read_too(t):
    s = t.sentinel(t.origin(), start=False)
    s.write_config(config=s.config_text(route="websocket true"))
    s.start()
    check_eq(fetch(s.port, "/bytes/1").status, 200)


def test_default_file_checks(t):
    path = os.path.join(os.path.dirname(__file__), "../../config/sentinel.kdl")
    done = subprocess.run([t.binary, "check", "-c", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    check_eq(done.returncode, 0, done.stdout.decode())


def test_no_file_anywhere_says_where_it_looked(t):
    env = {k: v for k, v in os.environ.items() if k != "SENTINEL_CONFIG"}
    if os.path.exists("/etc/sentinel/sentinel.kdl"):
        from lib import Skip
        raise Skip("there is a configuration in /etc/sentinel")
    done = subprocess.run([t.binary, "check"], cwd=t.dir, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    check_eq(done.returncode, 1)
    check_in(b"/etc/sentinel/sentinel.kdl", done.stdout)
