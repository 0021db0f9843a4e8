# SPDX-License-Identifier: GPL-2.0-only
# test_sockmap_clients.py - tunnels in the kernel between programs that others wrote: websockets, curl, openssl, Redis.
import json
import os
import socket
import subprocess

from lib import check, check_eq, check_in, wait_for
from lib.case import scale
from lib.origin import pattern
from lib.tls import Authority, TlsOrigin, s_client
from test_sockmap import FORCED, by_kernel, in_kernel, is_over, sockmap_lines

PYTHON = "/usr/bin/python3"  # Debian's, whose library it is

SERVER = '''
import asyncio, sys, websockets

async def echo(ws, *_):
    async for message in ws:
        await ws.send(message)

async def main():
    server = await websockets.serve(echo, "127.0.0.1", int(sys.argv[1]), max_size=1 << 24)
    print("ready", flush=True)
    await server.wait_closed()

asyncio.run(main())
'''

CLIENT = '''
import asyncio, hashlib, sys, websockets

async def main():
    count = 0
    async with websockets.connect("ws://127.0.0.1:%s/chat" % sys.argv[1], max_size=1 << 24, compression=None) as ws:
        print("open", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        for size in (0, 1, 125, 126, 65535, 65536, 1000000):
            message = (hashlib.sha512(b"%d" % size).digest() * (size // 64 + 1))[:size]
            await ws.send(message)
            assert await ws.recv() == message, size
            count += size
        await ws.send("text \\u20ac")
        assert await ws.recv() == "text \\u20ac"
        for i in range(300):
            await ws.send("message %d" % i)
            assert await ws.recv() == "message %d" % i
        pong = await ws.ping(b"are you there")
        await asyncio.wait_for(pong, 5)
        assert ws.response_headers["upgrade"].lower() == "websocket"
    assert ws.close_code == 1000, ws.close_code
    print("ok", count)

asyncio.run(main())
'''


def ended(process, data=b"", timeout=30):
    """What it says until its end, which is a good one."""
    said, _ = process.communicate(data, timeout * scale())
    check_eq(process.returncode, 0, "%s: %s" % (process.args[0], said[-800:].decode("utf-8", "replace")))
    return said


def run(*words, data=b""):
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        return ended(process, data)
    finally:
        process.kill()


def spawn(t, *words):
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def end():
        process.kill()
        process.wait()
    t.closers.append(end)
    return process


def most_by_kernel(s, least):
    """The tunnels are over; so many bytes went by sockmap, and hardly any another way."""
    is_over(s)
    moved = by_kernel(s)
    check(moved >= least, "only %d bytes by sockmap, wanted %d: %s", moved, least, sockmap_lines(s))
    check(moved > 0.8 * s.metric("tunnel_bytes_total"), "%d of %d bytes by sockmap", moved, s.metric("tunnel_bytes_total"))


def test_websocket_by_a_client_library(t):
    port = t.port()
    server = spawn(t, PYTHON, "-c", SERVER, str(port))
    check_eq(server.stdout.readline(), b"ready\n")
    s = t.sentinel("127.0.0.1:%d" % port, route="websocket #true", top=FORCED)
    client = spawn(t, PYTHON, "-c", CLIENT, str(s.port))
    check_eq(client.stdout.readline(), b"open\n")
    in_kernel(s)
    check_eq(ended(client, b"go\n").split(), [b"ok", b"1131323"])
    most_by_kernel(s, 2 * 1000000)
    line = json.loads(s.access_lines()[-1])
    check_eq((line["status"], line["path"]), (101, "/chat"))
    check(line["bytes_received_sockmap"] > 1000000 and line["bytes_sent_sockmap"] > 1000000, "%r", line)


def test_connect_by_curl(t):
    """curl asks the proxy for a tunnel, and speaks HTTP through it, several requests on it."""
    inner = t.origin()
    inner.on("inner.example:80", lambda connection, request: connection.send("HTTP/1.1 200 Connected\r\n\r\n"))
    s = t.sentinel(inner, routes='route "c" { matches { method "CONNECT"; }; upstream "o"; allow-connect #true; }', top=FORCED)
    url = "http://inner.example:80/bytes/%d"
    got = run("curl", "-sS", "--proxytunnel", "--proxy", "http://127.0.0.1:%d" % s.port, "--limit-rate", "3M",
              url % 1000000, url % 1000000, url % 500000)
    check_eq(got == pattern(1000000) * 2 + pattern(500000), True, "%d bytes" % len(got))
    body = t.write("body", pattern(300000).hex())
    got = run("curl", "-sS", "--proxytunnel", "--proxy", "http://127.0.0.1:%d" % s.port, "--limit-rate", "2M",
              "--data-binary", "@" + body, "http://inner.example:80/echo")
    check_eq(got.decode() == pattern(300000).hex(), True, "%d bytes" % len(got))
    is_over(s)
    check(by_kernel(s) > 2000000, "%s", sockmap_lines(s))
    line = json.loads(s.access_lines(2)[-1])
    check(line["bytes_received_sockmap"] > 300000, "%r", line)


def test_tls_passthrough_by_openssl(t):
    ca = Authority(t)
    o = TlsOrigin(t, ca.issue("a", ["a.example"]), alpn=["http/1.1"])
    s = t.sentinel(o, listener='protocol "tls-passthrough"', top=FORCED)
    a = s_client(s.port, "-CAfile", ca.cert, "-verify_hostname", "a.example", "-verify_return_error")
    check_eq((a.status, a.has("Verify return code: 0 (ok)")), (200, True))
    process = subprocess.Popen(["openssl", "s_client", "-quiet", "-connect", "127.0.0.1:%d" % s.port, "-servername",
                                "a.example", "-CAfile", ca.cert], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
    wait_for(lambda: s.metric("sockmap_tunnels") == 1, lambda: "not in the kernel: %s" % sockmap_lines(s))
    process.stdin.write(b"GET /bytes/2000000 HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
    process.stdin.flush()
    head, _, body = process.stdout.read().partition(b"\r\n\r\n")
    process.stdin.close()
    process.wait()
    check_in(b" 200 ", head)
    check_eq(body == pattern(2000000), True, "%d bytes" % len(body))
    is_over(s)
    check(by_kernel(s) > 1600000, "%s", sockmap_lines(s))


def test_redis_over_plain_tcp(t):
    port = t.port()
    redis = spawn(t, "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                  "--dir", t.dir, "--daemonize", "no")

    def answers():
        check(redis.poll() is None, "redis-server ended")
        return socket.socket().connect_ex(("127.0.0.1", port)) == 0
    wait_for(answers, "redis-server does not listen")
    s = t.sentinel("127.0.0.1:%d" % port, listener='protocol "tcp"\ndefault-route "all"', top=FORCED)

    def cli(*words, data=b""):
        return run("redis-cli", "-h", "127.0.0.1", "-p", str(s.port), *words, data=data)

    check_eq(cli("ping").strip(), b"PONG")
    is_over(s)
    client = spawn(t, "redis-cli", "-h", "127.0.0.1", "-p", str(s.port))
    client.stdin.write(b"PING\n")
    client.stdin.flush()
    in_kernel(s)
    value = pattern(200000).hex()
    commands = ["SET key:%d %d" % (i, i * i) for i in range(500)] + [
        "SET big %s" % value, "GET big"] + ["GET key:%d" % i for i in range(500)] + ["INCR n"] * 100
    lines = ended(client, "\n".join(commands).encode()).decode().splitlines()
    lines = [l for l in lines if l != "OK"]
    check_eq(lines[-601:] == [value] + [str(i * i) for i in range(500)] + [str(i) for i in range(1, 101)], True,
             "%r" % lines[-3:])
    is_over(s)
    check(by_kernel(s) > 800000, "%s", sockmap_lines(s))
    subscriber = spawn(t, "redis-cli", "-h", "127.0.0.1", "-p", str(s.port), "subscribe", "news")

    def hears(word):
        seen = b""
        while word not in seen:
            piece = os.read(subscriber.stdout.fileno(), 4096)
            check(piece, "the subscriber ended")
            seen += piece

    hears(b"news")  # its subscription is confirmed
    in_kernel(s)
    before = by_kernel(s)
    check_eq(cli("publish", "news", "extra").strip(), b"1")
    hears(b"extra")
    wait_for(lambda: by_kernel(s) > before, "the news did not come by sockmap")
    subscriber.kill()
