# SPDX-License-Identifier: GPL-2.0-only
# flood_client.py - a client of `flood` that wants to be served: open loop, a connection for each request.
"""Arguments: SERVER PORT SOURCE COUNT PER_SECOND.  Of SOURCE "A+" each request has the next address, from A on.  Prints
the milliseconds of those that were answered, as JSON."""
import ipaddress
import json
import socket
import sys
import threading
import time

TIMEOUT_S = 3
REQUEST = b"GET / HTTP/1.1\r\nHost: flood.test\r\nConnection: close\r\n\r\n"


def ask(server, port, source, took):
    """Adds how long it took, if it was answered."""
    start = time.monotonic()
    try:
        with socket.socket() as s:
            s.settimeout(TIMEOUT_S)
            s.bind((source, 0))
            s.connect((server, port))
            s.sendall(REQUEST)
            if s.recv(100).startswith(b"HTTP/1.1 200"):
                took.append((time.monotonic() - start) * 1000)
    except OSError:
        pass


def main():
    server, port, source, count, per_second = sys.argv[1:]
    first, step = ipaddress.ip_address(source.rstrip("+")), int(source.endswith("+"))
    took, threads, began = [], [], time.monotonic()
    for i in range(int(count)):  # one that waits delays no other
        time.sleep(max(0, began + i / int(per_second) - time.monotonic()))
        threads.append(threading.Thread(target=ask, args=(server, int(port), str(first + i * step), took)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    print(json.dumps(took))


if __name__ == "__main__":
    main()
