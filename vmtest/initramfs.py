# SPDX-License-Identifier: GPL-2.0-only
# initramfs.py - the whole machine as cpio archives: programs of this host with their libraries, and kernel modules.
"""Nothing here takes root.  Files keep their paths, so that a program finds what it was linked with; the kernel reads
archives one after the other, so the userland is made once and each kernel's modules are appended."""
import lzma
import os
import re
import shutil
import stat
import subprocess

# Programs that the suites call, with the libraries that they are linked with.
PYTHON_PROGRAM = os.path.realpath("/usr/bin/python3")  # Debian's, whatever PATH has first
PROGRAMS = ["/bin/dash", "/usr/sbin/ip", "/usr/sbin/tc", "/usr/sbin/bpftool", "/usr/bin/curl", "/usr/bin/openssl",
            PYTHON_PROGRAM, "/usr/bin/unshare", "/usr/bin/nsenter", "/usr/bin/setarch", "/usr/bin/prlimit"]
BUSYBOX = "/bin/busybox"
# What no program is linked with, but opens: libxdp's dispatcher, and libgcc for the end of threads.
OPENED = ["/usr/lib/x86_64-linux-gnu/bpf/xdp-dispatcher.o", "/lib/x86_64-linux-gnu/libgcc_s.so.1",
          "/etc/ssl/openssl.cnf", "/usr/lib/ssl/openssl.cnf", "/etc/protocols", "/etc/services"]
PYTHON = "/usr/lib/" + os.path.basename(PYTHON_PROGRAM)
PYTHON_LEFT_OUT = {"test", "idlelib", "lib2to3", "ensurepip", "tkinter", "turtledemo", "pydoc_data", "distutils",
                   "venv", "site-packages", "dist-packages"}
PYTHON_PACKAGES = ["h2", "hpack", "hyperframe"]
# For the kernel's own modprobe, with what they depend on; some are built in, or have another name, in some kernels.
MODULES = ["veth", "tun", "tls", "sch_ingress", "cls_bpf", "8021q", "tcp_diag", "unix_diag", "aesni_intel", "gcm",
           "ctr", "ghash_clmulni_intel", "ghash_generic", "cryptd", "chacha20poly1305", "chacha", "chacha_generic", "chacha_x86_64",
           "poly1305_generic", "poly1305_x86_64"]
ETC = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    "group": "root:x:0:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "resolv.conf": "nameserver 127.0.0.1\n",
    "hostname": "vm\n",
}


class Unknown(Exception):
    """A kernel's package is not laid out as any that this file knows."""


class Cpio:
    """Writes the `newc` format, everything owned by root."""

    def __init__(self, path):
        self.file = open(path, "wb")
        self.names = set()
        self.inode = 0

    def entry(self, name, mode, content=b"", device=(0, 0), mtime=0):
        if name in self.names:
            return
        self.names.add(name)
        self.inode += 1
        encoded = name.encode() + b"\0"
        head = "070701" + "".join("%08X" % n for n in (
            self.inode, mode, 0, 0, 1, mtime, len(content), 0, 0, device[0], device[1], len(encoded), 0))
        for part in (head.encode() + encoded, content):
            self.file.write(part + b"\0" * (-len(part) % 4))

    def folder(self, name, mode=0o755):
        if name and name not in self.names:
            self.folder(os.path.dirname(name))
            self.entry(name, stat.S_IFDIR | mode)

    def data(self, name, content, mode=0o644, mtime=0):
        self.folder(os.path.dirname(name))
        self.entry(name, stat.S_IFREG | mode, content, mtime=mtime)

    def link(self, name, to):
        self.folder(os.path.dirname(name))
        self.entry(name, stat.S_IFLNK | 0o777, to.encode())

    def copy(self, source, name):
        """With its time: Python compiles anew what is not as old as its cached form says."""
        with open(source, "rb") as file:
            self.data(name, file.read(), 0o755 if os.access(source, os.X_OK) else 0o644, int(os.stat(source).st_mtime))

    def tree(self, source, name, left_out=()):
        for folder, folders, files in os.walk(source):
            folders[:] = sorted(f for f in folders if f not in left_out)
            inside = os.path.join(name, os.path.relpath(folder, source)).rstrip("./")
            for file in sorted(files):
                self.copy(os.path.join(folder, file), os.path.join(inside, file))

    def close(self):
        self.entry("TRAILER!!!", 0)
        self.file.close()


def libraries(program):
    """Paths of the shared libraries and of the loader, as the loader finds them."""
    done = subprocess.run(["ldd", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = done.stdout.decode()
    if "not found" in text:
        raise RuntimeError("%s: %s" % (program, text))
    return re.findall(r"(/\S+) \(0x", text)


def strip_copy(program, folder):
    """The program without what only a debugger reads: unit tests are many."""
    copy = os.path.join(folder, "stripped")
    subprocess.run(["strip", "-g", "-o", copy, program], check=True)
    return copy


def python_add(cpio):
    cpio.tree(PYTHON, PYTHON.strip("/"), PYTHON_LEFT_OUT)
    for package in PYTHON_PACKAGES:
        cpio.tree("/usr/lib/python3/dist-packages/" + package, "usr/lib/python3/dist-packages/" + package)
    for name in sorted(os.listdir(PYTHON + "/lib-dynload")):
        for library in libraries(os.path.join(PYTHON, "lib-dynload", name)):
            cpio.copy(library, library.strip("/"))
    cpio.link("usr/bin/python3", os.path.basename(PYTHON_PROGRAM))


def userland_write(path, scratch, init, programs, copies):
    """`programs` (with their libraries) and `copies` (files, folders): {path here: path below /sentinel}."""
    cpio = Cpio(path)
    # Debian has one /usr: the same links here, before anything goes below them.
    for name in ("bin", "sbin", "lib", "lib64"):
        cpio.folder("usr/" + name)
        cpio.link(name, "usr/" + name)
    for name in ("proc", "sys", "dev", "root", "run", "var"):
        cpio.folder(name)
    cpio.folder("tmp", 0o1777)
    cpio.link("var/run", "/run")
    cpio.entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    for name, text in ETC.items():
        cpio.data("etc/" + name, text.encode())
    needed = set()
    for program in PROGRAMS:
        needed.update(libraries(program))
        cpio.copy(program, usr_name(program))
    # Not busybox, whose shell takes its own `ip` before the one of PATH.
    cpio.link("usr/bin/sh", "dash")
    for program, name in sorted(programs.items()):
        needed.update(libraries(program))
        cpio.copy(strip_copy(program, scratch), "sentinel/" + name)
    python_add(cpio)
    for source in sorted(needed) + OPENED:
        cpio.copy(source, usr_name(source))
    cpio.copy(BUSYBOX, "usr/bin/busybox")
    for applet in subprocess.run([BUSYBOX, "--list"], stdout=subprocess.PIPE, check=True).stdout.decode().split():
        if "usr/sbin/" + applet not in cpio.names:  # entry() leaves the programs above in place
            cpio.link("usr/bin/" + applet, "busybox")
    cpio.link("usr/sbin/modprobe", "/usr/bin/busybox")
    for source, name in sorted(copies.items()):
        if os.path.isdir(source):
            cpio.tree(source, "sentinel/" + name, {"__pycache__"})
        else:
            cpio.copy(source, "sentinel/" + name)
    cpio.copy(init, "init")
    cpio.close()


def usr_name(path):
    """A path without links of the root folder: /lib/x -> usr/lib/x."""
    name = path.strip("/")
    return name if name.split("/")[0] in ("usr", "etc") else "usr/" + name


def module_name(path):
    return re.sub(r"\.ko(\.xz|\.gz|\.zst)?$", "", os.path.basename(path)).replace("-", "_")


def module_read(path):
    with open(path, "rb") as file:
        content = file.read()
    if path.endswith(".xz"):
        return lzma.decompress(content)
    if not path.endswith(".ko"):
        raise Unknown("%s: a compression that is not known here" % path)
    return content


def kernel_find(folder):
    """(path of the kernel, folder of its modules, its release)"""
    for base in ("lib/modules", "usr/lib/modules"):
        base = os.path.join(folder, base)
        for release in sorted(os.listdir(base)) if os.path.isdir(base) else []:
            for image in (os.path.join(folder, "boot/vmlinuz-" + release), os.path.join(base, release, "vmlinuz")):
                if os.path.exists(image):
                    return image, os.path.join(base, release), release
    raise Unknown("%s: no kernel with modules" % folder)


def modules_write(path, scratch, modules, release):
    """The modules of MODULES that this kernel does not have built in, uncompressed, with their index."""
    found = {}
    for folder, _, files in os.walk(modules):
        for name in files:
            if re.search(r"\.ko(\.\w+)?$", name):
                found[module_name(name)] = os.path.join(folder, name)
    with open(os.path.join(modules, "modules.builtin"), encoding="utf-8") as file:
        builtin = {module_name(line.strip()) for line in file}
    staged = os.path.join(scratch, "lib/modules", release)
    shutil.rmtree(os.path.join(scratch, "lib"), ignore_errors=True)
    os.makedirs(staged)
    waiting, seen = list(MODULES), set()
    while waiting:
        name = waiting.pop()
        if name in seen or name in builtin or name not in found:
            continue
        seen.add(name)
        content = module_read(found[name])
        with open(os.path.join(staged, name + ".ko"), "wb") as file:
            file.write(content)
        for names in re.findall(rb"\0depends=([^\0]*)", content):
            waiting += [n.decode().replace("-", "_") for n in names.split(b",") if n]
    subprocess.run([BUSYBOX, "depmod", "-b", scratch, release], check=True)
    cpio = Cpio(path)
    cpio.folder("usr/lib")
    cpio.tree(staged, "usr/lib/modules/" + release)
    cpio.close()
