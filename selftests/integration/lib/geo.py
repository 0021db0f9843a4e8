# SPDX-License-Identifier: GPL-2.0-only
# geo.py - geo databases for tests: MaxMind's and IP2Location's formats from a list of prefixes.
import ipaddress
import os
import struct


def _bits(prefix):
    """The path from the root of an IPv6 tree; IPv4 is at ::/96."""
    net = ipaddress.ip_network(prefix)
    packed = net.network_address.packed
    length = net.prefixlen
    if net.version == 4:
        packed, length = bytes(12) + packed, length + 96
    number = int.from_bytes(packed, "big")
    return [number >> (127 - i) & 1 for i in range(length)]


def _text(text):
    return bytes([0x40 | len(text)]) + text.encode()


def _number(control, size, value):
    return bytes([control | size]) + (b"\x02" if control == 0 else b"") + value.to_bytes(size, "big")


def _record(country, asn):
    out = bytes([0xe0 | (bool(country) + bool(asn))])
    if country:
        out += _text("country") + b"\xe1" + _text("iso_code") + _text(country)
    if asn:
        out += _text("autonomous_system_number") + _number(0xc0, 4, asn)
    return out


LOOP = object()  # instead of a country: a part of the tree that has no end


def mmdb(places, build=1700000000):
    """places: {"10.0.0.0/8": "DE", "10.1.0.0/16": ("FR", 64500)}; later ones replace what was there."""
    nodes = [[None, None]]
    records = {}
    for prefix, place in places.items():
        key = place if isinstance(place, tuple) else (place, 0)
        if place is not LOOP:
            records.setdefault(key, len(records))
        path, at = _bits(prefix), 0
        for bit in path[:-1]:
            child = nodes[at][bit]
            if not isinstance(child, int):
                nodes.append([child, child])
                nodes[at][bit] = child = len(nodes) - 1
            at = child
        if place is LOOP:
            nodes.append([len(nodes)] * 2)
            key = len(nodes) - 1
        nodes[at][path[-1]] = key
    data, offsets = b"", {}
    for key in records:
        offsets[key] = len(data)
        data += _record(*key)
    count = len(nodes)

    def value(child):
        if child is None:
            return count
        return child if isinstance(child, int) else count + 16 + offsets[child]

    tree = b"".join(struct.pack(">II", value(left), value(right)) for left, right in nodes)
    fields = [("binary_format_major_version", _number(0xa0, 2, 2)), ("binary_format_minor_version", _number(0xa0, 2, 0)),
              ("build_epoch", _number(0, 8, build)), ("database_type", _text("Test-City")), ("description", b"\xe0"),
              ("ip_version", _number(0xa0, 2, 6)), ("languages", b"\x00\x04"), ("node_count", _number(0xc0, 4, count)),
              ("record_size", _number(0xa0, 2, 32))]
    meta = b"\xab\xcd\xefMaxMind.com" + bytes([0xe0 | len(fields)]) + b"".join(_text(k) + v for k, v in fields)
    return tree + bytes(16) + data + meta


def ip2location(ranges):
    """ranges: [("0.0.0.0", "-"), ("10.0.0.0", "DE"), ...] in order, IPv4 only."""
    rows_end = 64 + 8 * len(ranges)
    strings, at = b"", {}
    for _, country in ranges:
        if country not in at:
            at[country] = rows_end + len(strings)
            strings += bytes([len(country)]) + country.encode()
    rows = b"".join(ipaddress.ip_address(a).packed[::-1] + struct.pack("<I", at[c]) for a, c in ranges)
    header = bytearray(64)
    header[0:5] = bytes([1, 2, 26, 11, 27])
    struct.pack_into("<II", header, 5, len(ranges), 65)
    header[29] = 1
    struct.pack_into("<I", header, 31, rows_end + len(strings))
    return bytes(header) + rows + strings


def write(path, data):
    """As an operator should: a new file, then its name."""
    with open(path + ".new", "wb") as file:
        file.write(data)
    os.rename(path + ".new", path)
    return path
