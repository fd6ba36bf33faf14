# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""The REST API of Elasticsearch with nothing but what Ansible brings, for hosts that have no other Python library."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import typing as t
import urllib.error
from urllib.parse import urlencode

from ansible.module_utils.urls import ConnectionError as NotConnected
from ansible.module_utils.urls import open_url

from .._core.argspec import ArgumentSpec
from .._core.errors import AnswerError, AuthError, ConfigError, Unreachable
from .._core.secrets import excerpt, secret_option

TRIES = 5
BUSY = (429, 502, 503, 504)
# What may be sent again: a second PUT or DELETE of the same leaves what the first one left.
REPEATABLE = ("GET", "PUT", "DELETE")


class Unsupported(ConfigError):
    """This Elasticsearch has no such API."""


def admin() -> ArgumentSpec:
    """How to reach Elasticsearch as a user who manages it (doc fragment C(elasticsearch_admin))."""
    return ArgumentSpec(
        {
            "elasticsearch_url": {"type": "str", "required": True},
            "elasticsearch_ca_path": {"type": "path"},
            "elasticsearch_username": {"type": "str", "required": True},
            "elasticsearch_password": {"type": "str", "no_log": True},
            "elasticsearch_password_file": {"type": "path", "no_log": False},
            "timeout": {"type": "int", "default": 30},
        },
        mutually_exclusive=[("elasticsearch_password", "elasticsearch_password_file")],
        required_one_of=[("elasticsearch_password", "elasticsearch_password_file")],
    )


class Api:
    """One Elasticsearch, spoken to as one user. ``secrets`` never show in what is raised."""

    def __init__(
        self, params: dict, secrets: t.Iterable[str] = (), sleep: t.Callable[[float], None] = time.sleep
    ) -> None:
        self._url = params["elasticsearch_url"].rstrip("/")
        if not self._url.startswith("https://"):
            raise ConfigError(f"elasticsearch_url is {self._url}: give an https address, passwords are sent there.")
        if params["timeout"] < 1:
            raise ConfigError(f"timeout is {params['timeout']}: give at least 1 second.")
        self.username = params["elasticsearch_username"]
        self._password = secret_option(params, "elasticsearch_password", "password of Elasticsearch") or ""
        if not self._password:
            raise ConfigError("elasticsearch_password is empty: give the password, or elasticsearch_password_file.")
        self._ca_path, self._timeout, self._sleep = params["elasticsearch_ca_path"], params["timeout"], sleep
        self._secrets = (self._password, *secrets)

    def get(self, path: str, **query: str) -> dict | None:
        """What is there, or None."""
        return self.call("GET", path, query=query, missing=True)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        query: t.Mapping[str, str] | None = None,
        missing: bool = False,
    ) -> t.Any:
        """The answer to one call; None for 404 where something may be ``missing``. Raises SocError.

        What may be repeated is repeated a few times when Elasticsearch is busy or cannot be reached. Nothing else is.
        """
        status, answer = self._send(method, path, body, query)
        if 200 <= status < 300:
            return answer
        if status == 404 and missing:
            return None
        reason = self.excerpt(_reason(answer))
        if status == 405 or "no handler found for uri" in reason or "No processor type exists" in reason:
            raise Unsupported(f"This Elasticsearch cannot do {method} {path}: {reason}", reason=reason)
        if status in (401, 403):
            who = (
                f"does not know {self.username} with this password"
                if status == 401
                else f"does not let {self.username} do this"
            )
            raise AuthError(f"Elasticsearch {who} ({method} {path}): {reason}", status=status)
        raise AnswerError(f"Elasticsearch refuses {method} {path} (status {status}): {reason}", status=status)

    def identity(self, authorization: str) -> dict | None:
        """Who Elasticsearch sees behind the header ``authorization``; None when it lets nobody in with it."""
        status, answer = self._send("GET", "/_security/_authenticate", headers={"Authorization": authorization})
        if status == 401:
            return None
        if status != 200:
            raise AnswerError(
                f"Elasticsearch does not say who logs in (status {status}): {self.excerpt(_reason(answer))}"
            )
        return answer

    def excerpt(self, text: str) -> str:
        """Somebody's text for a message."""
        return excerpt(text, self._secrets, 300)

    def _send(
        self,
        method: str,
        path: str,
        body: object = None,
        query: t.Mapping[str, str] | None = None,
        headers: dict | None = None,
    ) -> tuple[int, t.Any]:
        """(status, decoded answer), whatever the status. Raises Unreachable and AnswerError."""
        url = f"{self._url}{path}" + (f"?{urlencode(query)}" if query else "")
        login = (
            {} if headers else {"url_username": self.username, "url_password": self._password, "force_basic_auth": True}
        )
        for attempt in range(1, TRIES + 1):
            last = attempt == TRIES or method not in REPEATABLE
            try:
                status, content = self._open(url, method, body, headers or {}, login)
            except (OSError, NotConnected, http.client.HTTPException) as exc:
                cause = getattr(exc, "reason", exc)
                if last or isinstance(cause, ssl.SSLCertVerificationError | FileNotFoundError):
                    raise self._unreachable(cause) from None
            else:
                if last or status not in BUSY:
                    if status in BUSY:
                        raise Unreachable(
                            f"Elasticsearch at {self._url} is too busy (status {status} to {method} {path}); run again later."
                        )
                    return status, self._decoded(content, status)
            self._sleep(0.5 * 2 ** (attempt - 1))
        raise AssertionError("not reached")

    def _open(self, url: str, method: str, body: object, headers: dict, login: dict) -> tuple[int, bytes]:
        data = None if body is None else json.dumps(body).encode()
        options = {
            "method": method,
            "data": data,
            "headers": {
                "Accept": "application/json",
                **({} if data is None else {"Content-Type": "application/json"}),
                **headers,
            },
            "timeout": self._timeout,
            "ca_path": self._ca_path,
            "follow_redirects": "none",
            # Neither a proxy nor a .netrc of whoever runs this has a say in where the password goes.
            "use_proxy": False,
            "use_netrc": False,
            **login,
        }
        try:
            with open_url(url, **options) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as exc:
            return exc.code, exc.read()

    def _decoded(self, content: bytes, status: int) -> t.Any:
        try:
            return json.loads(content or b"{}")
        except ValueError:
            text = self.excerpt(content.decode("utf-8", "replace"))
            raise AnswerError(f"What answers at {self._url} (status {status}) is not Elasticsearch: {text}") from None

    def _unreachable(self, cause: object) -> Unreachable:
        if isinstance(cause, ssl.SSLCertVerificationError):
            told = f"its certificate is not trusted ({cause.verify_message}): give elasticsearch_ca_path the authority that signed it"
        elif isinstance(cause, FileNotFoundError):
            told = f"the file {self._ca_path} of elasticsearch_ca_path is not there"
        else:
            told = f"{self.excerpt(str(cause))}: see whether it runs and listens there"
        return Unreachable(f"Elasticsearch at {self._url} cannot be reached: {told}.")


def _reason(answer: t.Any) -> str:
    """What an error answer gives as its reason, the innermost cause included."""
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    if not isinstance(error, dict):
        return str(error)
    told = [str(error.get("reason") or error.get("type") or error)]
    while isinstance(error.get("caused_by"), dict):
        error = error["caused_by"]
        told.append(str(error.get("reason")))
    return ": ".join(dict.fromkeys(told))
