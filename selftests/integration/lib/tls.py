# SPDX-License-Identifier: GPL-2.0-only
# tls.py - certificates of all kinds made by openssl(1), TLS clients, `openssl s_client`, and an OCSP responder.
import base64
import contextlib
import hashlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time

from lib.case import Skip, check, scale, wait_for
from lib.client import Client, PeerReset
from lib.origin import Connection, Origin

CA_CONF = """
[ca]
default_ca = this
[this]
dir = %(dir)s
database = %(dir)s/index
serial = %(dir)s/serial
crlnumber = %(dir)s/crlnumber
new_certs_dir = %(dir)s
certificate = %(dir)s/ca.pem
private_key = %(dir)s/ca.key
default_md = sha256
default_crl_days = 7
unique_subject = no
policy = any
[any]
organizationName = optional
commonName = optional
"""
KEYS = {
    "ecdsa": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "p384": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
    "rsa": ["-newkey", "rsa:2048"],
}


def tool(name):
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if not path:
        raise Skip("no " + name)
    return path


def openssl(*words, stdin=b"", check_code=0):
    done = subprocess.run([tool("openssl")] + [str(w) for w in words], input=stdin, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=30 * scale())
    check(done.returncode == check_code, "openssl %s: %s", " ".join(map(str, words)), done.stderr.decode()[-600:])
    return done.stdout


def utc(secs):
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + secs))


def read(path):
    with open(path, encoding="ascii") as file:
        return file.read()


def replace(path, text, mode=0o600):
    """As a careful writer does it: a new file, then its name."""
    temporary = path + ".new"
    with open(temporary, "w", encoding="ascii") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
    os.rename(temporary, path)


class Pair:
    """A certificate with its issuers (`cert`), its key (`key`), both in one file (`both`), and what is in it."""

    def __init__(self, authority, folder):
        self.authority = authority
        self.cert, self.key, self.both = (os.path.join(folder, n) for n in ("cert.pem", "key.pem", "both.pem"))
        self.leaf = os.path.join(folder, "leaf.pem")

    @property
    def der(self):
        return ssl.PEM_cert_to_DER_cert(read(self.leaf))

    @property
    def fingerprint(self):
        return hashlib.sha256(self.der).hexdigest()

    def put_into(self, other):
        """Overwrites the files of another pair: a renewal."""
        replace(other.key, read(self.key))
        replace(other.cert, read(self.cert))


class Authority:
    """A certificate authority in a folder of its own; with `parent` an intermediate one."""

    count = 0

    def __init__(self, t, name="Test CA", parent=None, kind="ecdsa", path_len=None):
        Authority.count += 1
        self.t = t
        self.name = name
        self.parent = parent
        self.dir = t.path("ca%d" % Authority.count)
        os.mkdir(self.dir)
        self.issued = 0
        self.conf = os.path.join(self.dir, "conf")
        self.cert, self.key = os.path.join(self.dir, "ca.pem"), os.path.join(self.dir, "ca.key")
        for file, text in (("conf", CA_CONF % {"dir": self.dir}), ("index", ""), ("serial", "1000\n"),
                           ("crlnumber", "01\n")):
            with open(os.path.join(self.dir, file), "w", encoding="ascii") as out:
                out.write(text)
        constraints = "critical,CA:TRUE" + (",pathlen:%d" % path_len if path_len is not None else "")
        if parent:
            pair = parent.issue(name, kind=kind, extensions=["basicConstraints=" + constraints,
                                                             "keyUsage=critical,keyCertSign,cRLSign,digitalSignature",
                                                             "subjectKeyIdentifier=hash"])
            shutil.copy(pair.leaf, self.cert)
            shutil.copy(pair.key, self.key)
        else:
            openssl("req", "-x509", "-nodes", "-days", "90", "-config", "/dev/null", "-subj", "/CN=" + name, *KEYS[kind],
                    "-keyout", self.key, "-out", self.cert, "-addext", "basicConstraints=" + constraints,
                    "-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature",
                    "-addext", "subjectKeyIdentifier=hash")

    def chain(self):
        """Issuers of what we issue, without the root, which a server does not send."""
        return [] if not self.parent else [read(self.cert)] + self.parent.chain()

    def issue(self, name, names=(), kind="ecdsa", days=60, begins_secs=-3600, ends_secs=None, usage="serverAuth",
              ocsp=None, is_must_staple=False, extensions=None, organization=None):
        """names: "a.example", or with a prefix as "URI:spiffe://x", "IP:127.0.0.1"."""
        self.issued += 1
        folder = os.path.join(self.dir, str(self.issued))
        os.mkdir(folder)
        pair = Pair(self, folder)
        if extensions is None:
            extensions = ["basicConstraints=CA:FALSE", "keyUsage=critical,digitalSignature,keyEncipherment",
                          "extendedKeyUsage=" + usage, "authorityKeyIdentifier=keyid"]
            if names:
                extensions.append("subjectAltName=" + ",".join(n if ":" in n else "DNS:" + n for n in names))
            if ocsp:
                extensions.append("authorityInfoAccess=OCSP;URI:" + ocsp)
            if is_must_staple:
                extensions.append("1.3.6.1.5.5.7.1.24=DER:30:03:02:01:05")
        extension_file = os.path.join(folder, "extensions")
        with open(extension_file, "w", encoding="ascii") as file:
            file.write("\n".join(extensions) + "\n")
        request = os.path.join(folder, "request.pem")
        subject = ("/O=" + organization if organization else "") + "/CN=" + name
        openssl("req", "-new", "-nodes", "-config", "/dev/null", "-subj", subject, *KEYS[kind], "-keyout", pair.key,
                "-out", request)
        openssl("ca", "-config", self.conf, "-batch", "-notext", "-in", request, "-out", pair.leaf, "-extfile",
                extension_file, "-startdate", utc(begins_secs), "-enddate",
                utc(days * 86400 if ends_secs is None else ends_secs))
        text = read(pair.leaf) + "".join(self.chain())
        replace(pair.cert, text, 0o644)
        replace(pair.both, read(pair.key) + text)
        return pair

    def revoke(self, pair):
        openssl("ca", "-config", self.conf, "-revoke", pair.leaf)

    def crl(self, days=None):
        """A fresh list; days < 0: one that has ended."""
        path = os.path.join(self.dir, "crl.pem")
        times = ["-crl_lastupdate", utc(-7200), "-crl_nextupdate", utc(-3600)] if days is not None and days < 0 else []
        openssl("ca", "-config", self.conf, "-gencrl", "-out", path, *times)
        return path


class Responder:
    """`openssl ocsp` as a daemon for one authority."""

    def __init__(self, t, authority, port=None, minutes=60):
        self.port = port or t.port()
        self.log_path = t.path("ocsp%d.log" % self.port)
        self.authority = authority
        self.minutes = minutes
        self.process = None
        t.closers.append(self.stop)

    @property
    def url(self):
        return "http://127.0.0.1:%d/ocsp" % self.port

    def start(self):
        a = self.authority
        said = len(self.log()) if os.path.exists(self.log_path) else 0  # by an earlier one
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [tool("openssl"), "ocsp", "-index", os.path.join(a.dir, "index"), "-port", str(self.port), "-rsigner",
                 a.cert, "-rkey", a.key, "-CA", a.cert, "-nmin", str(self.minutes), "-ignore_err"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def is_up():
            check(self.process.poll() is None, "the responder ended: %s", self.log()[-300:])
            return "waiting for OCSP client connections" in self.log()[said:]
        wait_for(is_up, "the OCSP responder")
        return self

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(10)
            self.process = None


def tls_block(*pairs, more="", name="tls"):
    """The block of a listener; the first pairs are the default ones."""
    lines = "".join('cert-file "%s"\nkey-file "%s"\n' % (p.cert, p.key) for p in pairs)
    if len(pairs) > 1:
        lines = "cert-file %s\nkey-file %s\n" % (" ".join('"%s"' % p.cert for p in pairs),
                                                 " ".join('"%s"' % p.key for p in pairs))
    return 'protocol "https"\n%s {\n%s%s\n}\n' % (name, lines, more)


def sni_block(pair, *hostnames, key="hostnames"):
    names = "%s %s\n" % (key, " ".join('"%s"' % n for n in hostnames)) if hostnames else ""
    return 'sni {\n%scert-file "%s"\nkey-file "%s"\n}\n' % (names, pair.cert, pair.key)


# ---- a client of Python's ssl

def context(ca=None, alpn=None, cert=None, version=None, ciphers=None, groups=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca:
        c.load_verify_locations(ca.cert if hasattr(ca, "cert") else ca)
    else:
        c.check_hostname = False
        c.verify_mode = ssl.CERT_NONE
    if cert:
        c.load_cert_chain(cert.cert, cert.key)
    if alpn:
        c.set_alpn_protocols(alpn)
    if version:
        c.minimum_version = c.maximum_version = getattr(ssl.TLSVersion, "TLSv" + version.replace(".", "_"))
    if ciphers:
        c.set_ciphers(ciphers)
    if groups:
        c.set_ecdh_curve(groups)
    return c


class TlsClient(Client):
    """As Client; the end of a connection without close_notify is an error."""

    def __init__(self, port, tls=None, name="a.example", session=None, proxy_header=b"", **more):
        super().__init__(port, **more)
        self.tls = tls or context()
        if proxy_header:
            self.socket.sendall(proxy_header)
        plain = self.socket
        try:
            self.socket = self.tls.wrap_socket(plain, server_hostname=name, session=session, suppress_ragged_eofs=False)
        except BaseException:
            plain.close()
            raise

    def recv(self):
        try:
            return self.socket.recv(65536)
        except ssl.SSLEOFError as error:
            raise PeerReset("no close_notify: %s" % error) from error
        except ssl.SSLError:
            raise
        except ConnectionError as error:
            raise PeerReset(str(error)) from error

    @property
    def cert(self):
        """SHA-256 of the server's certificate."""
        return hashlib.sha256(self.socket.getpeercert(True)).hexdigest()

    @property
    def version(self):
        return self.socket.version()

    @property
    def alpn(self):
        return self.socket.selected_alpn_protocol()

    @property
    def is_resumed(self):
        return self.socket.session_reused

    def close_notify(self):
        """Ends the TLS connection; true if the peer answers with its own."""
        self.socket.unwrap()


def tls_fetch(port, target="/", tls=None, name="a.example", fields=(), method="GET", body=None, **more):
    keys = {k: more.pop(k) for k in ("session", "timeout", "source", "proxy_header") if k in more}
    with TlsClient(port, tls, name, **keys) as client:
        return client.request(method, target, fields, body, **dict({"host": name or "test.example"}, **more))


def refusal(port, tls=None, name="a.example", **more):
    """Why the server refuses this client, in OpenSSL's words; None if it serves it.  (TLS 1.3 tells a client with a wrong
    certificate only after the handshake.)"""
    try:
        tls_fetch(port, "/bytes/1", tls, name, **more)
        return None
    except ssl.SSLError as error:
        return (error.reason or re.sub(r"^\[SSL\] | \(.*", "", str(error))).lower().replace("_", " ")
    except PeerReset as error:
        return "reset: %s" % error


# ---- openssl s_client

REQUEST = b"GET %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n"


class Answer:
    """What `openssl s_client` printed."""

    def __init__(self, code, out, err):
        self.code, self.text, self.err = code, out, err

    def has(self, part):
        return part in self.text or part in self.err

    def field(self, pattern):
        found = re.search(pattern, self.text)
        return found.group(1) if found else None

    @property
    def version(self):
        return self.field(r"\n(?:New|Reused), (TLSv1\.[0-9]|SSLv3), Cipher is") or self.field(r"Protocol *: (\S+)")

    @property
    def suite(self):
        suite = self.field(r"Cipher is (\S+)")
        return None if suite == "(NONE)" else suite

    @property
    def is_resumed(self):
        return "\nReused, " in self.text

    @property
    def status(self):
        found = self.field(r"HTTP/1\.1 (\d+)")
        return int(found) if found else None

    @property
    def cert(self):
        found = re.search(r"-----BEGIN CERTIFICATE-----(.*?)-----END", self.text, re.S)
        return hashlib.sha256(base64.b64decode(found.group(1))).hexdigest() if found else None


def s_client(port, *words, name="a.example", request=None, timeout=15):
    """Connects, sends a request, reads to the end."""
    if request is None:
        request = REQUEST % (b"/bytes/5", (name or "test.example").encode())
    args = [tool("openssl"), "s_client", "-connect", "127.0.0.1:%d" % port, "-ign_eof"]
    args += ["-servername", name] if name else ["-noservername"]
    try:
        done = subprocess.run(args + [str(w) for w in words], input=request, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=timeout * scale())
    except subprocess.TimeoutExpired as error:
        raise AssertionError("s_client %s did not end; it printed %r" % (" ".join(map(str, words)),
                                                                        (error.stdout or b"")[-600:])) from None
    return Answer(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))


def curl(*words, timeout=20, check_code=0):
    done = subprocess.run([tool("curl"), "-sS"] + [str(w) for w in words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=timeout * scale())
    check(check_code is None or done.returncode == check_code, "curl %s: code %d: %s", " ".join(map(str, words)),
          done.returncode, done.stderr.decode())
    return done.stdout.decode("utf-8", "replace")


def tls_proxy(t, more="", listener="", **keys):
    """(a proxy with an origin and a certificate for a.example, its `pair`; the authority).  `more` is in the tls block."""
    ca = Authority(t)
    pair = ca.issue("a.example", ["a.example"])
    s = t.sentinel(t.origin(), listener=tls_block(pair, more=more) + listener, **keys)
    s.pair = pair
    return s, ca


# ---- raw bytes of TLS

def hello_bytes(name="a.example", alpn=("http/1.1",), tls=None):
    """A ClientHello record as Python's ssl sends it."""
    c = tls or context(alpn=list(alpn) if alpn else None)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = c.wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def alert_of(data):
    """(level, description) of a plain alert record at the end of the bytes, or None."""
    found = re.search(rb"\x15\x03[\x00-\x04]\x00\x02([\x01\x02])(.)", data, re.S)
    return (found.group(1)[0], found.group(2)[0]) if found else None


class Relay:
    """A TCP relay before a port that keeps what each client sent (`flights`), and if asked what it got (`answers`)."""

    def __init__(self, t, port, keeps_answers=False):
        self.keeps_answers = keeps_answers
        self.answers = []
        self.port_to = port  # None: nobody answers
        self.flights = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        t.closers.append(self.listener.close)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.flights.append(bytearray())
            if self.port_to is None:
                threading.Thread(target=self.keep, args=(client, self.flights[-1]), daemon=True).start()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.port_to))
            except OSError:  # of this client only
                self.answers.append(None)
                client.close()
                continue
            threading.Thread(target=self.pump, args=(client, server, self.flights[-1]), daemon=True).start()
            self.answers.append(bytearray() if self.keeps_answers else None)
            threading.Thread(target=self.pump, args=(server, client, self.answers[-1]), daemon=True).start()

    @staticmethod
    def keep(source, record):
        while True:
            data = source.recv(65536)
            record += data
            if not data:
                return

    @staticmethod
    def pump(source, sink, record):
        try:
            while True:
                data = source.recv(65536)
                if record is not None:
                    record += data
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(data)
        except OSError:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_RDWR)


# ---- origins that speak TLS

class TlsConnection(Connection):
    """A connection of a TLS origin: .name is what the client asked for, .is_resumed, .alpn, .client (its subject)."""

    name = alpn = client = failure = None
    is_resumed = False
    prelude = b""

    def serve(self):
        try:
            if self.origin.proxy_header:
                self.prelude = self.origin.proxy_header(self.socket)
            self.socket.settimeout(15 * scale())
            sock = self.origin.tls.wrap_socket(self.socket, server_side=True)
            self.client = sock.getpeercert(True) if self.origin.tls.verify_mode else None
        except (OSError, ValueError) as error:
            self.failure = error
            self.end = "handshake"
            self.socket.close()
            return
        self.socket = sock
        self.alpn, self.is_resumed = sock.selected_alpn_protocol(), sock.session_reused
        super().serve()

    def close(self):
        """With close_notify, unless the peer is gone."""
        if not self.end and isinstance(self.socket, ssl.SSLSocket):
            with contextlib.suppress(OSError, ValueError):
                self.socket.settimeout(2 * scale())
                self.socket.unwrap()
        super().close()


class TlsOrigin(Origin):
    """Origin over TLS."""

    connection_class = TlsConnection

    def __init__(self, t, pair, ca=None, alpn=None, version=None, proxy_header=None, **keys):
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(pair.cert, pair.key)
        self.names = []
        self.tls.sni_callback = lambda sock, name, tls: self.names.append(name)
        self.proxy_header = proxy_header
        if ca:  # clients must show a certificate
            self.tls.load_verify_locations(ca.cert)
            self.tls.verify_mode = ssl.CERT_REQUIRED
        if alpn:
            self.tls.set_alpn_protocols(alpn)
        if version:
            self.tls.minimum_version = self.tls.maximum_version = getattr(ssl.TLSVersion, "TLSv" + version.replace(".", "_"))
        super().__init__(**keys)
        t.closers.append(self.close)
