# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CyberAlarm's search over HTTPS, with as many alarms as are asked for: those of a week, again and again under new ids.

Run as ``python -m tests.benchmarks.vendor CA_FILE RECORDS``; writes its authority to CA_FILE and prints its port.
"""

from __future__ import annotations

import http.server
import ssl
import sys
from datetime import UTC, datetime, timedelta

import orjson
import trustme

from lab.world import World

PAGE = 500
END = datetime(2026, 11, 9, 9, tzinfo=UTC)


def templates() -> list[dict]:
    """The alarms of a week that are collected."""
    world = World(seed=1, per_day=500, start=END - timedelta(days=7), now=END)
    return [record.body for record in world.log("cyberalarm", "logs") if record.body["level"] < 4]


class Search(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    alarms: list[dict] = []
    total = 0

    def do_POST(self) -> None:
        asked = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
        first = int((asked.get("search_after") or [0])[0])
        hits = [self.hit(number) for number in range(first, min(first + PAGE, self.total))]
        answer = orjson.dumps({"total": len(hits), "hits": hits})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def hit(self, number: int) -> dict:
        moment = END + timedelta(milliseconds=number - self.total)
        fresh = {"id": f"al-{number:08d}", "timestamp": moment.isoformat(timespec="milliseconds")}
        return {"sort": [number + 1, fresh["id"]], "_source": {**self.alarms[number % len(self.alarms)], **fresh}}

    def log_message(self, *_arguments: object) -> None:
        pass


def main() -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(sys.argv[1])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    Search.alarms, Search.total = templates(), int(sys.argv[2])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Search)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
