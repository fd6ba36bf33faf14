# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that takes bulk requests and does nothing with them, so that the client's cost alone is measured."""

from __future__ import annotations

import http.server
import sys
import zlib


class Sink(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        left, lines = int(self.headers["Content-Length"]), 0
        inflate = zlib.decompressobj(31) if self.headers.get("Content-Encoding") == "gzip" else None
        while left:
            chunk = self.rfile.read(min(left, 1 << 20))
            left -= len(chunk)
            lines += (inflate.decompress(chunk) if inflate else chunk).count(b"\n")
        items = b",".join([b'{"create":{"status":201}}'] * (lines // 2))
        answer = b'{"errors":false,"items":[' + items + b"]}"
        self.send_response(200)
        self.send_header("X-Elastic-Product", "Elasticsearch")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_arguments: object) -> None:
        pass


def main() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
