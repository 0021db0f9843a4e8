# SPDX-License-Identifier: GPL-2.0-only
# peers.py - starts Sentinel, nginx and HAProxy with equal configurations for the bench.
"""Each proxy gets one worker, no access log, kept connections to the origin and otherwise its plain settings.
`routes` adds 1,000 path prefixes: locations in nginx, a prefix map in HAProxy, routes in Sentinel.
`front` is what it serves:
  http           HTTP/1.1
  https          TLS with h2 and http/1.1 by ALPN; only a certificate (ECDSA, P-256) is given.  nginx needs TLS 1.3
                 switched on before 1.23.4: the line is that of Debian's nginx.conf.
  https-matched  the same, but TLS_AES_128_GCM_SHA256 is the only suite and one ticket is sent.  HAProxy 2.6 has no
                 setting for tickets: OpenSSL's own configuration file has.
  h2c            HTTP/2 without TLS, by prior knowledge
  http-splice    HTTP/1.1; HAProxy moves bodies by splice(2) through pipes of 1 MiB, Sentinel does so by itself"""
import http.client
import os
import shutil
import socket
import ssl
import subprocess
import time

ROUTE_COUNT = 1000
IDLE_POOL = 128
MATCHED_SUITE = "TLS_AES_128_GCM_SHA256"
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
		listen 127.0.0.1:%(port)d backlog=4096%(front)s;
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
%(global)sdefaults
	mode http
%(defaults)s	timeout connect 10s
	timeout client 600s
	timeout server 600s
	timeout http-keep-alive 600s
	timeout tunnel 600s
	http-reuse always
	maxconn %(connections)d
frontend front
	bind 127.0.0.1:%(port)d backlog 4096%(front)s
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
%(front)s	}
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


# What each front adds to the line or block that opens the port.
NGINX_TLS = """ ssl http2;
		ssl_protocols TLSv1.2 TLSv1.3;
		ssl_certificate %(certificate)s.pem;
		ssl_certificate_key %(certificate)s.key"""
NGINX_FRONTS = {
    "http": "",
    "http-splice": "",
    "h2c": " http2",
    "https": NGINX_TLS,
    "https-matched": NGINX_TLS + """;
		ssl_conf_command Ciphersuites """ + MATCHED_SUITE + """;
		ssl_conf_command NumTickets 1""",
}
HAPROXY_FRONTS = {
    "http": "",
    "http-splice": "",
    "h2c": " proto h2",
    "https": " ssl crt %(certificate)s.both alpn h2,http/1.1",
    "https-matched": " ssl crt %(certificate)s.both alpn h2,http/1.1 ciphersuites " + MATCHED_SUITE,
}
SENTINEL_TLS = """		protocol "https"
		tls {
			cert-file "%%(certificate)s.pem"
			key-file "%%(certificate)s.key"
%s		}
"""
SENTINEL_FRONTS = {
    "http": "",
    "http-splice": "",
    "h2c": '\t\tprotocol "h2c"\n',
    "https": SENTINEL_TLS % "",
    "https-matched": SENTINEL_TLS % ('\t\t\tcipher-suites "%s"\n' % MATCHED_SUITE),
}
ONE_TICKET = """
openssl_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = system_default
[system_default]
NumTickets = 1
"""
# Preface, empty SETTINGS, and GET / by indexed fields with the authority bench.test.
H2_REQUEST = (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" b"\0\0\0\4\0\0\0\0\0"
              b"\0\0\x0f\1\5\0\0\0\1" b"\x82\x86\x84\x41\x0abench.test")


class NotServing(Exception):
    """The proxy does not start with this configuration, or does not answer."""


def certificate_make(directory):
    """Makes NAME.pem, NAME.key and NAME.both (for HAProxy) and returns the path without the suffix."""
    path = os.path.join(directory, "bench")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                    "30", "-subj", "/CN=bench.test", "-addext", "subjectAltName=DNS:bench.test", "-keyout",
                    path + ".key", "-out", path + ".pem"], check=True, stderr=subprocess.DEVNULL)
    os.chmod(path + ".key", 0o600)
    with open(os.open(path + ".both", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as both:
        for suffix in (".pem", ".key"):
            with open(path + suffix, "rb") as part:
                both.write(part.read())
    return path


def _bytes_read(connection, count):
    data = b""
    while len(data) < count:
        some = connection.recv(count - len(data))
        if not some:
            raise OSError("closed")
        data += some
    return data


def h2c_answers(port):
    """Whether one request by HTTP/2 with prior knowledge is answered with 200."""
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(H2_REQUEST)
        while True:
            head = _bytes_read(connection, 9)
            block = _bytes_read(connection, int.from_bytes(head[:3], "big"))
            if head[3] == 1:
                # The first field is :status; 200 has an index.  Updates of the table's size may come before it.
                return block.lstrip(bytes(range(0x20, 0x40)))[:1] == b"\x88"
            if head[3] == 7:
                return False


def http_answers(connection):
    connection.request("GET", "/")
    is_ok = connection.getresponse().status == 200
    connection.close()
    return is_ok


class Proxy:
    """One running proxy; stop() ends what start() began, and nothing else."""

    name = "?"
    fronts = {}
    environment = {}
    start_s = 10

    def __init__(self, directory, port, origin, routes, cpu, front="http", certificate=None):
        self.port, self.cpu, self.process, self.front = port, cpu, None, front
        self.directory = os.path.join(directory, self.name)
        os.makedirs(self.directory, exist_ok=True)
        self.values = {"dir": self.directory, "port": port, "origin": origin, "pool": IDLE_POOL, "routes": "",
                       "connections": CONNECTIONS_MAX, "front": self.fronts[front] % {"certificate": certificate},
                       "global": "", "defaults": "",
                       "user": "user root;" if os.geteuid() == 0 else ""}
        if routes:
            self.values["routes"] = self.routes()
        self.config = os.path.join(self.directory, "config")

    def routes(self):
        return ""

    def write(self, text):
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(text % self.values)

    def answers(self):
        if self.front == "h2c":
            return h2c_answers(self.port)
        if self.front in ("http", "http-splice"):
            return http_answers(http.client.HTTPConnection("127.0.0.1", self.port, timeout=2))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http_answers(http.client.HTTPSConnection("127.0.0.1", self.port, timeout=2, context=context))

    def start(self):
        """Raises NotServing, with what the proxy said."""
        with open(os.path.join(self.directory, "output"), "wb") as output:
            self.process = subprocess.Popen(["taskset", "-c", str(self.cpu)] + self.command(),
                                            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                            env=dict(os.environ, **self.environment))
        deadline = time.monotonic() + self.start_s
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self.answers():
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.05)
        is_running = self.process.poll() is None
        self.stop()
        with open(os.path.join(self.directory, "output"), encoding="utf-8", errors="replace") as output:
            said = output.read()[-2000:].strip()
        raise NotServing("%s %s" % ("runs but does not answer" if is_running else "does not start:", said))

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
    fronts = NGINX_FRONTS

    def routes(self):
        return "".join("\t\tlocation /r%04d/ { proxy_pass http://origin; }\n" % i for i in range(ROUTE_COUNT))

    def command(self):
        self.write(NGINX)
        return [shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin"), "-p", self.directory, "-c", self.config,
                "-e", os.path.join(self.directory, "nginx.log")]


class Haproxy(Proxy):
    name = "haproxy"
    fronts = HAPROXY_FRONTS

    def routes(self):
        path = os.path.join(self.directory, "routes.map")
        with open(path, "w", encoding="ascii") as file:
            file.writelines("/r%04d/ origin\n" % i for i in range(ROUTE_COUNT))
        return "\tuse_backend %%[path,map_beg(%s,origin)]\n" % path

    def command(self):
        if self.front == "http-splice":
            self.values["global"] = "\ttune.pipesize 1048576\n\tmaxpipes 64\n"
            self.values["defaults"] = "\toption splice-request\n\toption splice-response\n"
        self.write(HAPROXY)
        if self.front == "https-matched":
            path = os.path.join(self.directory, "openssl.cnf")
            with open(path, "w", encoding="ascii") as file:
                file.write(ONE_TICKET)
            self.environment = {"OPENSSL_CONF": path}
        return [shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin"), "-db", "-f", self.config]


class Sentinel(Proxy):
    name = "sentinel"
    fronts = SENTINEL_FRONTS
    binary = None
    more = ""

    def routes(self):
        return "".join('\troute "r%04d" {\n\t\tmatches {\n\t\t\tpath-prefix "/r%04d/"\n\t\t}\n\t\tupstream "origin"\n\t}\n'
                       % (i, i) for i in range(ROUTE_COUNT))

    def command(self):
        self.write(SENTINEL + self.more)
        return [self.binary, "run", "--config", self.config]

    def spliced_share(self):
        """Of all bytes of bodies so far, the part that the kernel moved; None: there were none."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as admin:
            admin.settimeout(5)
            admin.connect(os.path.join(self.directory, "sentinel.sock"))
            admin.sendall(b"text metrics\n")
            page = b"".join(iter(lambda: admin.recv(65536), b"")).decode()
        moved = [(line, float(line.split()[-1])) for line in page.splitlines()
                 if line.startswith("sentinel_body_bytes_total{")]
        total = sum(value for _, value in moved)
        return sum(value for line, value in moved if 'engine="splice"' in line) / total if total else None


class SentinelCopying(Sentinel):
    """The same binary without splice(2)."""

    name = "copying"
    more = 'kernel {\n\tsplice "copy"\n}\n'
