# SPDX-License-Identifier: GPL-2.0-only
# archive.py - kernels of Debian's archive: resolved by apt in a folder of its own, downloaded, verified, unpacked.
"""apt checks the signature of each suite's index and the hash of each package against it; the machine's own apt lists
and installed packages are not touched.  Mirror, proxy and keys are those of the machine."""
import collections
import hashlib
import os
import re
import subprocess
import time

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
INDEX_AGE_S = 12 * 3600
UNUSED_AGE_S = 30 * 24 * 3600  # packages that nobody asked for in so long are removed
PART = re.compile(r"\b(linux-(?:image|binary|modules|base)-\S+) \(= ([^)]+)\)")
APT_TIMEOUT_S = 300
NETWORK_TIMEOUT_S = 20  # of apt, for one try: without an answer the failure is to be told soon

Row = collections.namedtuple("Row", "name suites package is_needed")


class Missing(Exception):
    """A kernel is not to be had, and why."""


def rows_read(path):
    rows = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            words = line.split("#")[0].split()
            if words:
                name, suites, package, otherwise = words
                assert otherwise in ("fail", "skip"), line
                rows.append(Row(name, suites.split(","), package, otherwise == "fail"))
    return rows


def run(command):
    """What a command prints; Missing with its last words if it fails."""
    env = dict(os.environ, LC_ALL="C", DEBIAN_FRONTEND="noninteractive")
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                              env=env, timeout=APT_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise Missing("%s: no end after %d s" % (command[0], APT_TIMEOUT_S)) from None
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
        # apt's last words are that something failed, those before say what.
        telling = [line for line in lines if "Failed to fetch" in line or "Could not" in line] or lines[-1:]
        raise Missing("%s: %s" % (command[0], telling[0] if telling else "exit code %d" % done.returncode))
    return done.stdout.decode("utf-8", "replace")


def mirrors():
    """(URI of the main archive, URI of the security archive) as this machine's apt knows them."""
    def look():
        text = run(["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Identifier: Packages"])
        found = {}
        for line in text.splitlines():
            origin, label, uri = line.split("|", 2)
            if origin == "Debian":
                found.setdefault(label, uri)
        return found.get("Debian"), found.get("Debian-Security")
    main, security = look()
    if not main or not security:
        run(["apt-get", "update", "-qq"])
        main, security = look()
    if not main or not security:
        raise Missing("apt knows no Debian and Debian-Security archive here")
    return main, security


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


class Archive:
    """The suites of one row, as an apt of their own below `cache`."""

    def __init__(self, cache, row):
        self.row = row
        self.debs = os.path.join(cache, "debs")
        self.folder = os.path.join(cache, "apt", row.name)
        self.stamp = os.path.join(self.folder, "stamp")
        for name in ("lists/partial", "cache/archives/partial", "state"):
            os.makedirs(os.path.join(self.folder, name), exist_ok=True)
        os.makedirs(self.debs, exist_ok=True)
        self.note = ""

    def apt(self, *words):
        settings = {"Dir::Etc::SourceList": "sources.list", "Dir::Etc::SourceParts": "none", "Dir::State": "state",
                    "Dir::State::lists": "lists", "Dir::Cache": "cache"}
        command = [words[0]]
        for key, value in settings.items():
            command += ["-o", "%s=%s" % (key, os.path.join(self.folder, value))]
        command += ["-o", "Dir::State::status=/dev/null", "-o", "APT::Architecture=amd64", "-o",
                    "APT::Architectures::=amd64", "-o", "APT::Sandbox::User=root", "-o", "APT::Update::Error-Mode=any",
                    "-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false", "-o", "Acquire::Retries=2"]
        for scheme in ("http", "https"):
            command += ["-o", "Acquire::%s::Timeout=%d" % (scheme, NETWORK_TIMEOUT_S)]
        return run(command + list(words[1:]))

    def update(self, is_forced=False):
        """Fetches the indexes unless they are fresh.  Older ones serve, with a note, when there is no network."""
        if not is_forced and os.path.exists(self.stamp) and 0 <= time.time() - os.path.getmtime(self.stamp) < INDEX_AGE_S:
            return
        try:
            main, security = mirrors()
            with open(os.path.join(self.folder, "sources.list"), "w", encoding="utf-8") as file:
                for suite in self.row.suites:
                    uri = security if suite.endswith("-security") else main
                    file.write("deb [signed-by=%s] %s %s main\n" % (KEYRING, uri, suite))
            self.apt("apt-get", "update", "-qq")
        except Missing as why:
            if not os.path.exists(self.stamp):
                raise
            self.note = "index of %s, no newer one: %s" % (
                time.strftime("%Y-%m-%d", time.localtime(os.path.getmtime(self.stamp))), why)
            return
        with open(self.stamp, "w", encoding="utf-8"):
            pass

    def fields(self, package, version=None):
        """The control fields of the newest, or of this, version of a package."""
        name = package + ("=" + version if version else "")
        text = self.apt("apt-cache", "show", "--no-all-versions", name)
        return dict(line.split(": ", 1) for line in text.split("\n\n")[0].splitlines() if re.match(r"\S+: ", line))

    def parts(self):
        """[control fields] of the packages that hold the kernel and its modules."""
        meta = self.fields(self.row.package)
        waiting, seen, parts = PART.findall(meta.get("Depends", "")), set(), []
        while waiting:
            name, version = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            fields = self.fields(name, version)
            parts.append(fields)
            waiting += PART.findall(fields.get("Depends", "") + ", " + fields.get("Pre-Depends", ""))
        if not parts:
            raise Missing("%s depends on no kernel" % self.row.package)
        return parts

    def fetch(self, fields):
        """The path of a package's file: from the cache if its hash is the index's, else downloaded."""
        path = os.path.join(self.debs, os.path.basename(fields["Filename"]))
        if os.path.exists(path) and sha256(path) == fields["SHA256"]:
            return path
        before = os.getcwd()
        os.chdir(self.debs)
        try:
            self.apt("apt-get", "download", "-qq", "%s=%s" % (fields["Package"], fields["Version"]))
        finally:
            os.chdir(before)
        escaped = os.path.join(self.debs, "%s_%s_amd64.deb" % (fields["Package"], fields["Version"].replace(":", "%3a")))
        if not os.path.exists(escaped):
            raise Missing("apt-get download left no %s" % escaped)
        if escaped != path:
            os.replace(escaped, path)
        if sha256(path) != fields["SHA256"]:
            os.unlink(path)
            raise Missing("%s has another hash than the archive's index" % path)
        return path


def kernel_get(cache, row, target):
    """Unpacks a row's kernel into the empty folder `target`; (version for people, note)."""
    archive = Archive(cache, row)
    archive.update()
    try:
        parts = archive.parts()
        paths = [archive.fetch(fields) for fields in parts]
    except Missing:  # an index of this morning may name what is gone by now
        archive.update(is_forced=True)
        parts = archive.parts()
        paths = [archive.fetch(fields) for fields in parts]
    for path in paths:
        run(["dpkg-deb", "-x", path, target])
        os.utime(path)
    for name in os.listdir(archive.debs):
        path = os.path.join(archive.debs, name)
        if time.time() - os.path.getmtime(path) > UNUSED_AGE_S:
            os.unlink(path)
    return "%s %s" % (row.package, parts[0]["Version"]), archive.note
