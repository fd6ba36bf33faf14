# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands behind the proxy on port 8000: it shows the headers that it got, becomes a websocket, and says who is let in."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Behind(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 101:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path == "/oauth2/auth":
            if self.headers.get("Cookie") == "session=good":
                self.answer(202, {"X-Auth-Request-User": "an", "Set-Cookie": "session=newer"})
            else:
                self.answer(401, {})
        elif self.headers.get("Upgrade") == "websocket":
            self.answer(101, {"Upgrade": "websocket", "Connection": "Upgrade"})
            self.wfile.write(self.rfile.read(5))  # an echo of what comes after the upgrade
            self.close_connection = True
        else:
            shown = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
            self.answer(200, {"X-Powered-By": "something", "X-Frame-Options": "ALLOWALL"}, shown)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, {})


ThreadingHTTPServer(("127.0.0.1", 8000), Behind).serve_forever()
