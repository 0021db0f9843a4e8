# SPDX-License-Identifier: GPL-2.0-only
# flood_client.py - a client of `flood` that wants to be served: open loop, a connection for each request.
"""Arguments: SERVER PORT SOURCE COUNT PER_SECOND.  Source "new": each request has an address of its own that nobody has
seen, of 10.81.0.0/16.  Prints the milliseconds of those that were answered, as JSON."""
import json
import socket
import sys
import time

TIMEOUT_S = 3
REQUEST = b"GET / HTTP/1.1\r\nHost: flood.test\r\nConnection: close\r\n\r\n"


def ask(server, port, source):
    """Whether it was answered."""
    try:
        with socket.socket() as s:
            s.settimeout(TIMEOUT_S)
            s.bind((source, 0))
            s.connect((server, port))
            s.sendall(REQUEST)
            return s.recv(100).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def main():
    server, port, source, count, per_second = sys.argv[1:]
    first, took, began = time.time_ns() // 1000000000, [], time.monotonic()
    for i in range(int(count)):
        due = began + i / int(per_second)
        time.sleep(max(0, due - time.monotonic()))
        # The whole /16 is used before an address comes again, in other runs of a minute too.
        number = (first * 997 + i) % 64000
        if ask(server, int(port), "10.81.%d.%d" % (number // 250, 1 + number % 250) if source == "new" else source):
            took.append((time.monotonic() - due) * 1000)
    print(json.dumps(took))


if __name__ == "__main__":
    main()
