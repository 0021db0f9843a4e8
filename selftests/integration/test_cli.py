# SPDX-License-Identifier: GPL-2.0-only
# test_cli.py - what a person at a terminal meets: help, exit codes, version, describe, explain, bans.
import json
import re

from lib import check, check_eq, check_in, fetch

COMMANDS = ("run", "check", "reload", "stop", "status", "explain", "kernel", "ban", "config", "version")


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


def test_explain_json_and_text_name_route_filters_and_targets(t):
    o = t.origin()
    s = t.sentinel(o, filters='filter "h" { type "headers"; set { X-A "1"; }; }', route='filters "h"')
    out = s.command("explain", "GET", "http://a.example:%d/x?y=1" % s.port, "-H", "Accept: text/html")
    for wanted in ("all", '"h"' if '"h"' in out else "h", "127.0.0.1:%d" % o.port, "sentinel0.kdl:"):
        check_in(wanted, out)
    json.loads(s.command("explain", "--json", "GET", "http://a.example/x"))


def test_explain_refuses_what_the_proxy_would_refuse(t):
    s = t.sentinel(t.origin(), start=False)
    code, out, err = s.command("explain", "GET", "http://a.example/../x", check_code=None)
    check_in("400", out + err)


def test_ban_refuses_a_client_after_accept(t):
    s = t.sentinel(t.origin(), start=False)
    s.write_config(listeners='listener "main" { address "127.0.0.1:%d"; }' % s.port)
    s.start()
    check_eq(fetch(s.port, "/bytes/1", source="127.0.0.9").status, 200)
    s.command("ban", "add", "127.0.0.9", "--for", "1h")
    check_in("127.0.0.9", s.command("ban", "list"))
    check_in("127.0.0.9", json.dumps(json.loads(s.command("ban", "list", "--json"))))
    try:
        fetch(s.port, "/bytes/1", source="127.0.0.9", timeout=3)
        raise AssertionError("a banned client was served")
    except (Exception,) as error:
        check(not isinstance(error, AssertionError), "%s", error)
    check_eq(fetch(s.port, "/bytes/1", source="127.0.0.8").status, 200)
    s.command("ban", "remove", "127.0.0.9")
    check_eq(fetch(s.port, "/bytes/1", source="127.0.0.9").status, 200)


def test_operator_rules_hold_for_accepted_connections(t):
    s = t.sentinel(t.origin(), top='kernel { acl { deny "127.0.0.0/28"; allow "127.0.0.1"; }; }')
    check_eq(fetch(s.port, "/bytes/1", source="127.0.0.1").status, 200)
    check_eq(fetch(s.port, "/bytes/1", source="127.0.0.99").status, 200)
    try:
        fetch(s.port, "/bytes/1", source="127.0.0.9", timeout=3)
        raise AssertionError("a denied client was served")
    except (Exception,) as error:
        check(not isinstance(error, AssertionError), "%s", error)
    check(s.metric("refused_connections_total") >= 1)
    s.check_reload(top='kernel { acl { deny "127.0.0.99"; }; }')
    check_eq(fetch(s.port, "/bytes/1", source="127.0.0.9").status, 200)
