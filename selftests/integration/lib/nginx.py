# SPDX-License-Identifier: GPL-2.0-only
# nginx.py - an nginx beside the proxy, most often behind it, for as long as the test lasts.
import os
import subprocess

from lib.case import check, scale, wait_for
from lib.client import accepts
from lib.tls import tool

CONF = """
daemon off;
worker_processes 1;
pid %(dir)s/nginx.pid;
error_log %(dir)s/nginx.log;
events { worker_connections 512; }
http {
    access_log off;
    client_body_temp_path %(dir)s/b; proxy_temp_path %(dir)s/p; fastcgi_temp_path %(dir)s/f;
    uwsgi_temp_path %(dir)s/u; scgi_temp_path %(dir)s/s;
"""


def nginx(t, http, names, **words):
    """
    `http` is what stands in http { }, with %(dir)s, the words and, for each of the names, a port.  Returns the ports by
    name once all listen.
    """
    binary, ports = tool("nginx"), {name: t.port() for name in names}
    os.chmod(t.dir, 0o777)  # nginx as root becomes nobody
    conf = t.write("nginx.conf", (CONF + http + "}\n") % dict(ports, dir=t.dir, **words))
    process = subprocess.Popen([binary, "-c", conf, "-e", t.path("nginx.log"), "-p", t.dir], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def end():
        process.terminate()
        process.wait(10 * scale())
    t.closers.append(end)

    def is_up():
        check(process.poll() is None, "nginx ended at once")
        return all(accepts(port) for port in ports.values())
    wait_for(is_up, "nginx does not listen")
    return ports
