# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import ssl
import typing as t
import urllib.error
from http.client import RemoteDisconnected

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import (
    AnswerError,
    AuthError,
    ConfigError,
    Unreachable,
)
from ansible_collections.netcure.soc.plugins.module_utils._deploy import rest
from ansible_collections.netcure.soc.plugins.module_utils._deploy.rest import Api, Unsupported

OPTIONS = {
    "elasticsearch_url": "https://es.example:9200/",
    "elasticsearch_ca_path": "/nowhere/ca.crt",
    "elasticsearch_username": "admin",
    "elasticsearch_password": "the-password",
    "elasticsearch_password_file": None,
    "timeout": 5,
}


class Answer(io.BytesIO):
    status = 200


class Server:
    """Gives its answers in order, and remembers what it was asked."""

    def __init__(self, *answers: t.Any) -> None:
        self.answers, self.asked, self.options = list(answers), [], {}

    def __call__(self, url: str, **options: t.Any) -> Answer:
        self.asked.append((options["method"], url))
        self.options = options
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, body = answer
        if status >= 300:
            raise urllib.error.HTTPError(url, status, "", {}, io.BytesIO(body))
        return Answer(body)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., tuple[Api, Server, list]]:
    def make(*answers: t.Any) -> tuple[Api, Server, list]:
        server, waits = Server(*answers), []
        monkeypatch.setattr(rest, "open_url", server)
        return Api(OPTIONS, ("of-a-user",), waits.append), server, waits

    return make


BUSY = (503, b'{"error": {"type": "cluster_block_exception"}}')


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "trouble", [BUSY, (429, b""), ConnectionResetError(), urllib.error.URLError(TimeoutError()), RemoteDisconnected()]
)
def test_what_may_be_repeated_is(api: t.Callable, method: str, trouble: t.Any) -> None:
    elastic, server, waits = api(trouble, trouble, (200, b'{"a": 1}'))
    assert elastic.call(method, "/x", {}) == {"a": 1}
    assert server.asked == [(method, "https://es.example:9200/x")] * 3
    assert waits == [0.5, 1]


def test_it_gives_up(api: t.Callable) -> None:
    elastic, server, waits = api(*[BUSY] * 5)
    with pytest.raises(Unreachable, match="is too busy"):
        elastic.get("/x")
    assert len(server.asked) == 5 and sum(waits) < 10
    elastic, _server, _waits = api(*[ConnectionRefusedError(111, "Connection refused")] * 5)
    with pytest.raises(Unreachable, match="Connection refused: see whether it runs"):
        elastic.get("/x")


@pytest.mark.parametrize("trouble", [BUSY, ConnectionResetError()])
def test_a_post_is_not_repeated(api: t.Callable, trouble: t.Any) -> None:
    elastic, server, waits = api(trouble)
    with pytest.raises(Unreachable):
        elastic.call("POST", "/x", {})
    assert len(server.asked) == 1 and not waits


def test_a_certificate_that_is_not_trusted_is_not_tried_again(api: t.Callable) -> None:
    fault = ssl.SSLCertVerificationError()
    fault.verify_message = "self-signed certificate"
    elastic, server, _waits = api(urllib.error.URLError(fault))
    with pytest.raises(Unreachable, match="not trusted.*elasticsearch_ca_path"):
        elastic.get("/x")
    assert len(server.asked) == 1
    elastic, _server, _waits = api(FileNotFoundError(2, "No such file"))
    with pytest.raises(Unreachable, match="/nowhere/ca.crt of elasticsearch_ca_path is not there"):
        elastic.get("/x")


@pytest.mark.parametrize(
    ("status", "body", "kind", "told"),
    [
        (400, b'{"error": {"reason": "no", "caused_by": {"reason": "since"}}}', AnswerError, "status 400.*no: since"),
        (401, b'{"error": {"reason": "no"}}', AuthError, "does not know admin"),
        (403, b'{"error": {"reason": "no"}}', AuthError, "does not let admin"),
        (400, b'{"error": "no handler found for uri [/x] and method [GET]"}', Unsupported, "cannot do"),
        (405, b'{"error": "Incorrect HTTP method"}', Unsupported, "cannot do"),
        (404, b'{"error": "gone"}', AnswerError, "status 404"),
        (200, b"<html>", AnswerError, "is not Elasticsearch"),
        (400, b"[1]", AnswerError, "status 400"),
    ],
)
def test_refusals_are_sentences(api: t.Callable, status: int, body: bytes, kind: type, told: str) -> None:
    elastic, _server, _waits = api((status, body))
    with pytest.raises(kind, match=told):
        elastic.call("PUT", "/x", {})


def test_secrets_are_not_in_what_is_told(api: t.Callable) -> None:
    elastic, _server, _waits = api((400, b'{"error": {"reason": "the-password and of-a-user are wrong"}}'))
    with pytest.raises(AnswerError) as caught:
        elastic.call("PUT", "/x", {})
    assert "the-password" not in caught.value.message and "of-a-user" not in caught.value.message


def test_missing_is_none_and_nobody_logs_in(api: t.Callable) -> None:
    elastic, server, _waits = api((404, b"{}"), (401, b"{}"), (200, b'{"username": "x"}'))
    assert elastic.get("/x", a="b c") is None
    assert server.asked[0][1] == "https://es.example:9200/x?a=b+c"
    assert server.options["url_password"] == "the-password"
    assert elastic.identity("Basic x") is None
    assert elastic.identity("Basic x") == {"username": "x"}
    assert "url_password" not in server.options and server.options["headers"]["Authorization"] == "Basic x"
    assert server.options["use_proxy"] is False and server.options["follow_redirects"] == "none"


@pytest.mark.parametrize(
    "options", [{"elasticsearch_url": "http://es.example"}, {"timeout": 0}, {"elasticsearch_password": ""}]
)
def test_what_cannot_work_is_refused(options: dict) -> None:
    with pytest.raises(ConfigError):
        Api({**OPTIONS, **options})
