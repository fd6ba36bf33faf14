# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that writes and reads all along, as the SOC does: client.py FOLDER CONTAINER...; the password comes by stdin.

It goes on where an earlier one stopped. When FOLDER/stop appears it counts what is there, and leaves what it saw in
FOLDER/seen.json. A request fails when no node takes it within PATIENCE seconds. What it trusts is what the role gave to the
hosts, read again after a handshake that failed, as the host of the SOC has it. A host may be lost, and come back elsewhere.
"""

from __future__ import annotations

import base64
import http.client
import json
import random
import ssl
import subprocess
import sys
import time
from pathlib import Path

INDEX = "soc-test.roll-acme"
PATIENCE = 30
MOST = 3600


class Client:
    def __init__(self, hosts: list[str], password: str) -> None:
        self.hosts = hosts
        self.identity = base64.b64encode(f"soc-admin:{password}".encode()).decode()
        self.turn, self.retries = 0, 0
        self.ports: dict[str, int] = {}
        self.context = ssl.create_default_context()

    def find(self) -> None:
        """Where the hosts listen, and whom to trust: of those that are there."""
        for host in reversed(self.hosts):
            try:
                self.ports[host] = int(_docker("port", host, "9200").split(":")[-1])
                self.context = ssl.create_default_context(cadata=_docker("exec", host, "cat", "/etc/soc/tls/ca.crt"))
            except (subprocess.CalledProcessError, ssl.SSLError, ValueError):
                # It is not there, has no certificates yet, or is stopped.
                self.ports[host] = 0

    def once(self, method: str, path: str, body: object = None) -> tuple[int, dict]:
        connection = http.client.HTTPSConnection(
            "localhost", self.ports[self.hosts[self.turn]], context=self.context, timeout=10
        )
        headers = {"Authorization": f"Basic {self.identity}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"{}")
        finally:
            connection.close()

    def call(self, method: str, path: str, body: object = None, good: tuple[int, ...] = (200, 201)) -> dict | None:
        """What the first node that takes it answers, or None."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                status, answer = self.once(method, path, body)
                if status in good:
                    return answer
            except OSError:
                self.find()
            except (http.client.HTTPException, ValueError):
                pass
            self.retries += 1
            self.turn = (self.turn + 1) % len(self.hosts)
            time.sleep(0.1)
        return None


def _docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.strip()


def main(folder: Path, hosts: list[str]) -> None:
    client, chance = Client(hosts, sys.stdin.readline().rstrip("\n")), random.Random(1)
    client.find()
    failed, wrong = [], []
    count = client.call("GET", f"/{INDEX}/_count", good=(200, 404)) or {}
    written = began = count.get("count", 0)
    end = time.monotonic() + MOST
    while not (folder / "stop").exists() and time.monotonic() < end:
        # A retry of what was taken after all is told that it is there already.
        if client.call("PUT", f"/{INDEX}/_create/{written}", {"number": written}, (201, 409)) is None:
            failed.append(f"write {written}")
        elif written and (found := client.call("GET", f"/{INDEX}/_doc/{(old := chance.randrange(written))}")) is None:
            failed.append(f"read {old}")
        elif written and found["_source"] != {"number": old}:
            wrong.append(old)
        written += 1
        time.sleep(0.05)
    client.call("POST", f"/{INDEX}/_refresh")
    count = client.call("GET", f"/{INDEX}/_count")
    seen = {
        "began": began,
        "written": written,
        "there": (count or {}).get("count"),
        "retries": client.retries,
        "failed": failed,
        "wrong": wrong,
    }
    (folder / "seen.json").write_text(json.dumps(seen), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
