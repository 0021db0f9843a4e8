# SPDX-License-Identifier: GPL-2.0-only
# scenarios.py - the table of what the bench measures, for the runner and the profiler.
"""A front is what the proxies serve (peers.py): "http"; "https" with the plain settings of each and nothing but a
certificate given; "https-matched" with one suite and one ticket for all; "h2c".  Only handshakes are also measured in
plain settings: in everything else a difference of suites would be taken for one of proxies."""
import collections
import os

import peers

# limit: the most that the ratio may be, None when nothing is promised.  against: None is the better peer.
Scenario = collections.namedtuple("Scenario", "name text tool arguments measure limit front routes against",
                                  defaults=("http", False, None))


def _plain(name, text, arguments, measure, limit, **more):
    return Scenario(name, text, "loadgen", arguments.split(), measure, limit, **more)


def _tls(name, text, arguments, measure, limit, front="https-matched", **more):
    return Scenario(name, text, "loadgen_tls", arguments.split(), measure, limit, front, **more)


SCENARIOS = [
    _plain("keepalive", "small response, kept connection", "--connections 64", "cpu", 0.80),
    _plain("close", "small response, new connection", "--mode close --connections 32", "cpu", 0.85),
    _plain("download", "1 MB response", "--bytes 1048576 --connections 8", "cpu", 1.00),
    _plain("upload", "1 MB request", "--mode upload --bytes 1048576 --connections 8", "cpu", 1.00),
    _plain("download-splice", "1 MB response, HAProxy splices too", "--bytes 1048576 --connections 8", "cpu", 0.60,
           front="http-splice", against="haproxy"),
    _plain("upload-splice", "1 MB request, HAProxy splices too", "--mode upload --bytes 1048576 --connections 8", "cpu",
           0.60, front="http-splice", against="haproxy"),
    _plain("routes", "small response, 1,000 routes", "--connections 64 --paths %d" % peers.ROUTE_COUNT, "cpu", 0.75,
           routes=True),
    _plain("websocket", "echo of 64 bytes", "--mode ws --connections 64", "cpu", 1.00),
    _plain("latency", "p99 at 4,000 requests/s, open loop", "--rate 4000 --connections 64", "p99", 1.00),
    _plain("idle", "idle kept connection", "--connections 10000", "memory", None),
    _tls("tls-keepalive", "small response, kept connection", "--connections 64", "cpu", 0.80),
    _tls("tls-full", "full handshake, plain settings", "--mode full --connections 32", "cpu", 0.92, front="https"),
    _tls("tls-full-match", "full handshake, suite, tickets equal", "--mode full --connections 32", "cpu", 1.00),
    _tls("tls-resume", "resumed handshake, plain settings", "--mode resume --connections 32", "cpu", 0.85,
         front="https"),
    _tls("tls-download", "1 MB response", "--bytes 1048576 --connections 8", "cpu", 0.90),
    _tls("tls-idle", "idle kept connection", "--connections 2000", "memory", 1.05),
    _tls("h2-small", "small response, 8 x 32 streams", "--protocol h2 --connections 8 --streams 32", "cpu", 0.85,
         against="haproxy"),
    _tls("h2-download", "1 MB response, 8 x 4 streams", "--protocol h2 --connections 8 --streams 4 --bytes 1048576",
         "cpu", 0.85),
    _tls("h2c-small", "small response, 8 x 32 streams",
         "--protocol h2 --cleartext --connections 8 --streams 32", "cpu", 0.85, front="h2c", against="haproxy"),
    _tls("h2c-download", "1 MB response, 8 x 4 streams",
         "--protocol h2 --cleartext --connections 8 --streams 4 --bytes 1048576", "cpu", 0.85, front="h2c"),
]


def scenarios_find(words):
    """Those of a list with commas: a name, or the first part of several (tls, h2).  Raises ValueError."""
    found = []
    for word in words.split(","):
        some = [s for s in SCENARIOS if s.name == word] or [s for s in SCENARIOS if s.name.startswith(word + "-")]
        if not some:
            raise ValueError("unknown scenario: %s (there are %s)" % (word, ", ".join(s.name for s in SCENARIOS)))
        found += [s for s in some if s not in found]
    return found


def load_command(scenario, tools, port):
    return [os.path.join(tools, scenario.tool), "--port", str(port)] + scenario.arguments
