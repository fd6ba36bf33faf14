# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks name servers for a name, and says as JSON which of them answer. It changes nothing.

The first argument is JSON: C(servers), C(name), and whether it goes over C(tls).
"""

from __future__ import annotations

import ipaddress
import json
import secrets
import socket
import ssl
import struct
import sys
from collections.abc import Callable

SECONDS = 3
TRIES = 2
RECORDS = {"A": 1, "AAAA": 28}
REASONS = {1: "does not understand it", 2: "fails", 3: "knows no such name", 5: "refuses"}


def question(name: str, record: int) -> bytes:
    labels = [label.encode("idna") for label in name.rstrip(".").split(".")]
    encoded = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    # One question, recursion desired.
    return (
        struct.pack(">HHHHHH", secrets.randbelow(65536), 0x0100, 1, 0, 0, 0) + encoded + struct.pack(">HH", record, 1)
    )


def over_udp(address: str, asked: bytes) -> bytes:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as wire:
        wire.settimeout(SECONDS)
        # A connected socket hears nobody else, and hears when nothing listens.
        wire.connect((address, 53))
        wire.send(asked)
        while True:
            told = wire.recv(4096)
            if told[:2] == asked[:2]:
                return told


def over_stream(wire: socket.socket, asked: bytes) -> bytes:
    wire.sendall(struct.pack(">H", len(asked)) + asked)
    with wire.makefile("rb") as stream:
        length = struct.unpack(">H", stream.read(2))[0]
        return stream.read(length)


def over_tcp(address: str, asked: bytes) -> bytes:
    with socket.create_connection((address, 53), SECONDS) as wire:
        return over_stream(wire, asked)


def over_tls(address: str, called: str) -> Callable[[bytes], bytes]:
    def ask(asked: bytes) -> bytes:
        context = ssl.create_default_context()
        with (
            socket.create_connection((address, 853), SECONDS) as bare,
            context.wrap_socket(bare, server_hostname=called or address) as wire,
        ):
            return over_stream(wire, asked)

    return ask


def plainly(address: str) -> Callable[[bytes], bytes]:
    def ask(asked: bytes) -> bytes:
        told = over_udp(address, asked)
        cut_off = len(told) > 2 and told[2] & 0x02
        return over_tcp(address, asked) if cut_off else told

    return ask


def reason(name: str, ask: Callable[[bytes], bytes]) -> str:
    """Why the server is of no use, or nothing when it knows an address of ``name``."""
    for record in RECORDS.values():
        told = ask(question(name, record))
        if len(told) < 12:
            return "says something that is no answer"
        flags, _questions, answers = struct.unpack(">HHH", told[2:8])
        if flags & 0x000F:
            return REASONS.get(flags & 0x000F, f"answers with error {flags & 0x000F}")
        if answers:
            return ""
    return "knows no address of it"


def tried(server: str, name: str, tls: bool) -> str:
    address, _sharp, called = server.partition("#")
    try:
        ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "is no IP address"
    said = ""
    for _attempt in range(TRIES):
        try:
            return reason(name, over_tls(address, called) if tls else plainly(address))
        except TimeoutError:
            said = f"does not answer within {SECONDS} seconds"
        except (OSError, struct.error) as error:
            said = f"cannot be asked ({error})"
    return said


def main() -> None:
    wanted = json.loads(sys.argv[1])
    print(json.dumps({server: tried(server, wanted["name"], wanted["tls"]) for server in wanted["servers"]}))


if __name__ == "__main__":
    main()
