# SPDX-License-Identifier: GPL-2.0-only
# test_known_peers.py - nginx behind the proxy, curl and wrk before it.
import os
import re
import subprocess

from lib import check, check_eq
from lib.case import scale
from lib.nginx import nginx
from lib.origin import pattern
from lib.tls import tool

NGINX = '''
    keepalive_requests 100;
    server {
        listen 127.0.0.1:%(port)d;
        root %(dir)s/www;
        location /small { return 200 "small answer"; }
        location /gzip { gzip on; gzip_min_length 1; gzip_types application/octet-stream; alias %(dir)s/www/; }
    }
'''


def file_server(t):
    """An nginx that serves a large file; returns its port."""
    os.mkdir(t.path("www"))
    with open(t.path("www/large"), "wb") as file:
        file.write(pattern(5000000))
    return nginx(t, NGINX, ["port"])["port"]


def test_curl_through_the_proxy_to_nginx(t):
    curl = tool("curl")
    s = t.sentinel("127.0.0.1:%d" % file_server(t))
    url = "http://127.0.0.1:%d" % s.port
    for words, size in ((["/large"], 5000000), (["/large", "-r", "1000-1999"], 1000), (["/gzip/large", "--compressed"], 5000000),
                        (["/small", "--http1.0"], 12), (["/large", "-I"], None)):
        done = subprocess.run([curl, "-sS", "-f", url + words[0]] + words[1:], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=20 * scale())
        check_eq((done.returncode, done.stderr.decode()), (0, ""), " ".join(words))
        if size is not None:
            check_eq(len(done.stdout), size, " ".join(words))
    done = subprocess.run([curl, "-sS", "-o", "/dev/null", "-o", "/dev/null", "-o", "/dev/null", "-w", "%{http_code}%{num_connects} ",
                           url + "/small", url + "/none", url + "/small"], stdout=subprocess.PIPE, timeout=20 * scale())
    check_eq(done.stdout.decode().split(), ["2001", "4040", "2000"])


def test_wrk_sees_no_error(t):
    wrk = tool("wrk")
    s = t.sentinel("127.0.0.1:%d" % file_server(t), workers=2)
    base = s.baseline()
    for path, connections in (("/small", 50), ("/large", 10)):
        done = subprocess.run([wrk, "-t1", "-c%d" % connections, "-d%ds" % (2 * scale()), "--timeout", "%ds" % (10 * scale()),
                               "http://127.0.0.1:%d%s" % (s.port, path)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=40 * scale())
        text = done.stdout.decode()
        check_eq(done.returncode, 0, text)
        check("Socket errors" not in text and "Non-2xx" not in text, "%s", text)
        check(int(re.search(r"(\d+) requests in", text).group(1)) > 20, "%s", text)
    base["sessions"] += 40  # idle connections to nginx stay
    base["ops_inflight"] += 80
    base["descriptors"] += 40
    s.wait_gauges(base)
