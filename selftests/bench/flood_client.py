# SPDX-License-Identifier: GPL-2.0-only
# flood_client.py - a client of `flood` that wants to be served: open loop, a connection for each request.
"""Arguments: SERVER PORT SOURCE COUNT PER_SECOND.  Of SOURCE "A+" each request has the next address, from A on.  Prints
the milliseconds of those that were answered, as JSON; they count from the time that a request was due."""
import ipaddress
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
    first, step = ipaddress.ip_address(source.rstrip("+")), int(source.endswith("+"))
    took, began = [], time.monotonic()
    for i in range(int(count)):
        due = began + i / int(per_second)
        time.sleep(max(0, due - time.monotonic()))
        if ask(server, int(port), str(first + i * step)):
            took.append((time.monotonic() - due) * 1000)
    print(json.dumps(took))


if __name__ == "__main__":
    main()
