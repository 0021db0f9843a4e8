# SPDX-License-Identifier: GPL-2.0-only
# network.py - a loopback of the bench's own, so that settings of the host do not change what is compared.
"""Above all the congestion control: on a host with BBR its pacing arms a timer for every burst, which on loopback costs
more than many a thing that is measured (splice(2) is half the price of copying with cubic, and equal with BBR).  Here
every connection has cubic, Linux's and Debian's default, whatever the host uses."""
import os
import subprocess
import sys

CONGESTION_CONTROL = "cubic"
MARK = "SENTINEL_BENCH_NETWORK"


def isolate():
    """Starts this program once more in a network namespace with nothing but a loopback; returns what to print of it."""
    if os.environ.get(MARK):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        for prefix in ("127.0.0.0/8", "127.0.0.1"):
            # By route and not by sysctl, which a namespace may only set to what the host allows to everybody.
            subprocess.run(["ip", "route", "replace", "local", prefix, "dev", "lo", "proto", "kernel", "scope", "host", "src",
                            "127.0.0.1", "table", "local", "congctl", CONGESTION_CONTROL], check=True)
        return "network: a namespace of its own, congestion control %s" % CONGESTION_CONTROL
    if os.geteuid() != 0:
        with open("/proc/sys/net/ipv4/tcp_congestion_control", encoding="ascii") as file:
            return "network: the host's loopback (not root), congestion control %s" % file.read().strip()
    os.environ[MARK] = "1"
    os.execvp("unshare", ["unshare", "--net", sys.executable] + sys.argv)
    return None  # not reached: execvp raises when it fails
