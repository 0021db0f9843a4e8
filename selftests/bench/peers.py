# SPDX-License-Identifier: GPL-2.0-only
# peers.py - starts Sentinel, nginx and HAProxy with equal configurations for the bench.
"""Each proxy gets one worker, no access log, kept connections to the origin and otherwise its plain settings.
`routes` adds 1,000 path prefixes: locations in nginx, a prefix map in HAProxy, routes in Sentinel."""
import http.client
import os
import shutil
import subprocess
import time

ROUTE_COUNT = 1000
IDLE_POOL = 128
CONNECTIONS_MAX = 4000  # raised by the runner as far as the descriptor limit allows

NGINX = """
daemon off;
%(user)s
worker_processes 1;
pid %(dir)s/nginx.pid;
error_log %(dir)s/nginx.log warn;
events { worker_connections 19000; }
http {
	access_log off;
	keepalive_requests 1000000000;
	keepalive_timeout 600s;
	client_body_temp_path %(dir)s/nginx-body;
	proxy_temp_path %(dir)s/nginx-proxy;
	fastcgi_temp_path %(dir)s/nginx-fastcgi;
	uwsgi_temp_path %(dir)s/nginx-uwsgi;
	scgi_temp_path %(dir)s/nginx-scgi;
	client_max_body_size 0;
	upstream origin {
		server 127.0.0.1:%(origin)d;
		keepalive %(pool)d;
		keepalive_requests 1000000000;
	}
	server {
		listen 127.0.0.1:%(port)d backlog=4096;
		proxy_http_version 1.1;
		proxy_set_header Connection "";
		location / { proxy_pass http://origin; }
		location /ws {
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection "upgrade";
			proxy_pass http://origin;
		}
%(routes)s	}
}
"""

HAPROXY = """
global
	nbthread 1
	maxconn %(connections)d
	pidfile %(dir)s/haproxy.pid
defaults
	mode http
	timeout connect 10s
	timeout client 600s
	timeout server 600s
	timeout http-keep-alive 600s
	timeout tunnel 600s
	http-reuse always
	maxconn %(connections)d
frontend front
	bind 127.0.0.1:%(port)d backlog 4096
	default_backend origin
%(routes)sbackend origin
	server origin 127.0.0.1:%(origin)d pool-max-conn %(pool)d
"""

SENTINEL = """
system {
	worker-threads 1
	admin {
		socket "%(dir)s/sentinel.sock"
	}
}
listeners {
	listener "bench" {
		address "127.0.0.1:%(port)d"
		keepalive-timeout-secs 600
	}
}
routes {
	route "all" {
		matches {
			path-prefix "/"
		}
		upstream "origin"
		websocket #true
	}
%(routes)s}
upstreams {
	upstream "origin" {
		target "127.0.0.1:%(origin)d"
		connection-pool {
			max-idle %(pool)d
		}
	}
}
observability {
	metrics {
		enabled #false
	}
	logging {
		access-log {
			enabled #false
		}
		error-log {
			file "%(dir)s/sentinel.log"
		}
	}
}
"""


class Proxy:
    """One running proxy; stop() ends what start() began, and nothing else."""

    name = "?"

    def __init__(self, directory, port, origin, routes, cpu):
        self.port, self.cpu, self.process = port, cpu, None
        self.directory = os.path.join(directory, self.name)
        os.makedirs(self.directory, exist_ok=True)
        self.values = {"dir": self.directory, "port": port, "origin": origin, "pool": IDLE_POOL, "routes": "",
                       "connections": CONNECTIONS_MAX,
                       "user": "user root;" if os.geteuid() == 0 else ""}
        if routes:
            self.values["routes"] = self.routes()
        self.config = os.path.join(self.directory, "config")

    def routes(self):
        return ""

    def write(self, text):
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(text % self.values)

    def start(self):
        with open(os.path.join(self.directory, "output"), "wb") as output:
            self.process = subprocess.Popen(["taskset", "-c", str(self.cpu)] + self.command(),
                                            stdin=subprocess.DEVNULL, stdout=output,
                                            stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
                connection.request("GET", "/")
                if connection.getresponse().status == 200:
                    connection.close()
                    return
            except OSError:
                pass
            time.sleep(0.05)
        self.stop()
        with open(os.path.join(self.directory, "output"), encoding="utf-8", errors="replace") as output:
            raise RuntimeError("%s does not serve: %s" % (self.name, output.read()[-2000:]))

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                for pid in self.pids():
                    os.kill(pid, 9)
                self.process.wait()

    def pids(self):
        """The process and all that descend from it (taskset has become the proxy by exec)."""
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for task in os.listdir("/proc/%d/task" % pid):
                with open("/proc/%d/task/%s/children" % (pid, task), encoding="ascii") as file:
                    todo += [int(word) for word in file.read().split()]
        return found

    def memory_kb(self):
        """Memory of the process tree: shared pages are counted once, by their share."""
        total = 0
        for pid in self.pids():
            with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        return total


class Nginx(Proxy):
    name = "nginx"

    def routes(self):
        return "".join("\t\tlocation /r%04d/ { proxy_pass http://origin; }\n" % i for i in range(ROUTE_COUNT))

    def command(self):
        self.write(NGINX)
        return [shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin"), "-p", self.directory, "-c", self.config,
                "-e", os.path.join(self.directory, "nginx.log")]


class Haproxy(Proxy):
    name = "haproxy"

    def routes(self):
        path = os.path.join(self.directory, "routes.map")
        with open(path, "w", encoding="ascii") as file:
            file.writelines("/r%04d/ origin\n" % i for i in range(ROUTE_COUNT))
        return "\tuse_backend %%[path,map_beg(%s,origin)]\n" % path

    def command(self):
        self.write(HAPROXY)
        return [shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin"), "-db", "-f", self.config]


class Sentinel(Proxy):
    name = "sentinel"
    binary = None

    def routes(self):
        return "".join('\troute "r%04d" {\n\t\tmatches {\n\t\t\tpath-prefix "/r%04d/"\n\t\t}\n\t\tupstream "origin"\n\t}\n'
                       % (i, i) for i in range(ROUTE_COUNT))

    def command(self):
        self.write(SENTINEL)
        return [self.binary, "run", "--config", self.config]
