# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the proxy of this host, as browsers and strangers do, for what its sites promise."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import sys


def ask(
    name: str,
    *lines: str,
    path: str = "/",
    certificate: str = "",
    body: bytes = b"",
    method: str = "GET",
    then: bytes = b"",
    host: str = "",
) -> tuple[int, str, bytes]:
    """Status, headers in small letters, and body of the answer of the site ``name``."""
    context = ssl.create_default_context(cafile="/etc/soc/tls/ca.crt")
    if certificate:
        context.load_cert_chain(certificate + ".crt", certificate + ".key")
    length = (f"Content-Length: {len(body)}",) if body else ()
    request = "\r\n".join(
        [f"{method} {path} HTTP/1.1", f"Host: {host or name}", *(lines or ("Connection: close",)), *length, "", ""]
    )
    with context.wrap_socket(socket.create_connection(("127.0.0.1", 443), 10), server_hostname=name) as door:
        door.sendall(request.encode() + body + then)
        answer = b""
        while piece := door.recv(65536):
            answer += piece
    head, _blank, rest = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode().lower(), rest


def see(what: str, right: bool, told: object = "") -> None:
    if not right:
        sys.exit(f"{what}: {told}")


def headers_at(name: str, *lines: str, **how: str) -> dict[str, str]:
    """The headers that the upstream of ``name`` got."""
    status, _head, body = ask(name, *lines, "Connection: close", **how)
    see(f"{name} lets in", status == 200, status)
    return json.loads(body)


upgrade = ("Connection: Upgrade", "Upgrade: websocket")
for name, taken in (("grafana", True), ("n8n", True), ("kibana", False), ("thehive", False)):
    status, _head, rest = ask(
        f"{name}.example.net",
        *(upgrade if taken else (*upgrade[1:], "Connection: close")),
        then=b"hello" if taken else b"",
    )
    see(
        f"{name} becomes a websocket, or does not",
        (status, rest == b"hello") == ((101, True) if taken else (200, False)),
        status,
    )

got = headers_at("kibana.example.net", "X-Forwarded-For: 192.0.2.9", "X-WEBAUTH-USER: root", "X-Real-IP: 192.0.2.9")
see(
    "who somebody is, the proxy says",
    not any("192.0.2.9" in value for value in got.values()) and "x-webauth-user" not in got,
    got,
)
see("Kibana is told of HTTPS", got["x-forwarded-proto"] == "https" and got["host"] == "kibana.example.net", got)

got = headers_at("grafana.example.net", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
see("a connection becomes a websocket, and nothing else", "upgrade" not in got, got)
got = headers_at("kibana.example.net", path="https://kibana.example.net/", host="n8n.example.net")
see(
    "the upstream is told the name that chose the site",
    (got["host"], got["x-forwarded-host"]) == ("kibana.example.net",) * 2,
    got,
)
got = headers_at("kibana.example.net", host="Kibana.example.net:8443")
see("and the port that the client gave", got["host"] == "Kibana.example.net:8443", got)

status, head, _body = ask("kibana.example.net")
see(
    "headers of the proxy, and not of what is behind it",
    "x-powered-by" not in head and head.count("x-frame-options") == 1,
    head,
)
see("a header of the site's own", "x-frame-options: deny" in ask("n8n.example.net")[1])
see("a body that is too large", ask("small.example.net", body=b"x" * 2000, method="POST")[0] == 413)
see("a body that is not", ask("kibana.example.net", body=b"x" * 2000, method="POST")[0] == 200)

answers = [ask("slow.example.net")[0] for _request in range(6)]
see("too many requests", answers[:2] == [200, 200] and 429 in answers and set(answers) == {200, 429}, answers)
see("a network that is not let in", ask("far.example.net")[0] == 403)

see("no client certificate", ask("clients.example.net")[0] == 400)
got = headers_at("clients.example.net", certificate="/etc/soc/tls/client")
see("the upstream knows whose certificate it is", got["x-ssl-client-verify"] == "SUCCESS", got)
see(
    "a certificate of a server is none of a client",
    ask("clients.example.net", certificate="/etc/soc/tls/http")[0] == 400,
)

# In two parts, or a search for secrets would find this program.
secret = base64.b64encode(b"an:secret" + b"-of-user").decode()
see("no password", ask("guarded.example.net")[0] == 401)
see(
    "a wrong password",
    ask("guarded.example.net", f"Authorization: Basic {base64.b64encode(b'an:no').decode()}", "Connection: close")[0]
    == 401,
)
got = headers_at("guarded.example.net", f"Authorization: Basic {secret}")
see(
    "the upstream gets the user, and not the password",
    got["x-auth-request-user"] == "an" and "authorization" not in got,
    got,
)

status, head, _body = ask("oidc.example.net", path="/app/a?b=c%20d&rd=https://elsewhere")
wanted = "location: https://login.example.net/start?rd=https%3a%2f%2foidc.example.net%2fapp%2fa%3fb%3dc%2520d%26rd%3dhttps%3a%2f%2felsewhere"
see("who is not signed in goes there, and knows the whole way back", status == 302 and wanted in head, head)
see("nobody asks for that address from outside", ask("oidc.example.net", path="/.soc-auth")[0] in (302, 404))
status, head, body = ask("oidc.example.net", "Cookie: session=good", "X-Auth-Request-User: root", "Connection: close")
see("who is signed in is let in", status == 200 and json.loads(body)["x-auth-request-user"] == "an", (status, body))
see("a session that is renewed reaches the browser", "set-cookie: session=newer" in head, head)
