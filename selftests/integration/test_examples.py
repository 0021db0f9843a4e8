# SPDX-License-Identifier: GPL-2.0-only
# test_examples.py - the examples, and the configurations in the documents, are right.
import glob
import os
import re
import shutil
import subprocess

from lib import check, check_eq
from lib.case import scale
from lib.geo import mmdb, write
from lib.tls import Authority

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
FOLDER = "/etc/sentinel/tls"  # of every certificate that an example names
DATABASES = "/etc/sentinel/geo"  # of every geo database
FENCED = re.compile(r"^```\w*\n(.*?)^```$", re.M | re.S)
ROUTE = 'routes { route "all" { matches { path-prefix "/" }; builtin-handler "status" } }\n'
HARMLESS = re.compile(r"there is no interface \"\w+\" now")


def with_certificates(t, ca, text):
    """The text with files that exist; of NAME-ca.pem an authority, of NAME.pem and NAME.key a pair, NAME-rsa of RSA."""
    for name in set(re.findall(DATABASES + r"/([\w-]+\.mmdb)", text)):
        write(t.path(name), mmdb({"198.51.100.0/24": "DE"}))
    for name in sorted(set(re.findall(FOLDER + r"/([\w-]+)\.(?:pem|key)", text))):
        if os.path.exists(t.path(name + ".pem")):
            continue
        if name.endswith("-ca"):
            shutil.copy(ca.cert, t.path(name + ".pem"))
            continue
        pair = ca.issue(name, [name + ".example.com"], kind="rsa" if name.endswith("-rsa") else "ecdsa")
        shutil.copy(pair.cert, t.path(name + ".pem"))
        shutil.copy(pair.key, t.path(name + ".key"))
    return text.replace(FOLDER, t.dir).replace(DATABASES, t.dir)


def check_config(t, what, text):
    path = t.write("example.kdl", text)
    done = subprocess.run([t.binary, "check", "-c", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20 * scale())
    out = done.stdout.decode()
    check_eq(done.returncode, 0, "%s: %s" % (what, out))
    warnings = [x for x in out.splitlines() if " warning: " in x and not HARMLESS.search(x)]
    check(not warnings, "%s: %s", what, out)


def test_examples_check(t):
    files = sorted(glob.glob(os.path.join(ROOT, "config/examples/*.kdl")))
    check(len(files) >= 7, "%r", files)
    ca = Authority(t)
    for path in files:
        with open(path, encoding="utf-8") as file:
            check_config(t, os.path.basename(path), with_certificates(t, ca, file.read()))


def test_configurations_in_documents_check(t):
    ca, count = Authority(t), 0
    for path in [os.path.join(ROOT, "README.md")] + sorted(glob.glob(os.path.join(ROOT, "docs/*.md"))):
        with open(path, encoding="utf-8") as file:
            blocks = [b for b in FENCED.findall(file.read()) if re.search(r"^listeners \{", b, re.M)]
        for block in blocks:
            whole = block if "routes {" in block else block + ROUTE  # a part is shown without what is like above
            check_config(t, os.path.basename(path), with_certificates(t, ca, whole))
        count += len(blocks)
    check(count >= 2, "%d configurations were found", count)
