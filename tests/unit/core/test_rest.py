# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP client against answers in a fixed order. Faults of a real server are in the integration tests."""

from __future__ import annotations

import typing as t
from email.utils import formatdate
from pathlib import Path

import pytest
import requests
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import (
    AnswerError,
    AuthError,
    ConfigError,
    Unreachable,
)
from ansible_collections.netcure.soc.plugins.module_utils._core.rest import Http, Retries

URL = "https://vendor.example/api"


class Raw:
    def __init__(self, headers: dict) -> None:
        self.headers = headers


class Answer:
    def __init__(self, status: int, body: bytes = b"{}", headers: dict | None = None, cut: bool = False) -> None:
        self.status_code, self._body, self._cut, self.url = status, body, cut, URL
        self.raw = Raw(headers or {})

    def iter_content(self, _size: int) -> t.Iterator[bytes]:
        yield self._body
        if self._cut:
            raise requests.exceptions.ChunkedEncodingError("Connection broken: IncompleteRead")

    def close(self) -> None:
        pass


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    return slept


def client(monkeypatch: pytest.MonkeyPatch, *answers: t.Any, **options: t.Any) -> tuple[Http, list[dict]]:
    """A client whose calls get ``answers`` in this order, and the list of calls."""
    http, calls, queue = Http(**options), [], list(answers)

    def request(method: str, url: str, **kwargs: t.Any) -> Answer:
        calls.append({"method": method, "url": url, **kwargs})
        answer = queue.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(http._session, "request", request)
    return http, calls


def test_a_good_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    http, calls = client(
        monkeypatch,
        Answer(200, b'{"a": 1}'),
        headers=lambda: {"Authorization": "Bearer x"},
        ca_path=__file__,
        timeout=7,
    )
    assert http.json("GET", URL, params={"page": 1}) == {"a": 1}
    call = calls[0]
    assert call["headers"]["Authorization"] == "Bearer x"
    assert (call["verify"], call["timeout"], call["allow_redirects"], call["params"]) == (
        __file__,
        7,
        False,
        {"page": 1},
    )


def test_a_netrc_of_the_host_does_not_replace_the_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine vendor.example login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    http, sent = Http(lambda: {"Authorization": "Bearer ours"}), []

    def send(request: requests.PreparedRequest, **_options: t.Any) -> t.Any:
        sent.append(request.headers["Authorization"])
        raise requests.exceptions.ConnectionError("far enough")

    monkeypatch.setattr(http._session, "send", send)
    with pytest.raises(Unreachable):
        http.json("POST", URL, body={})
    assert sent == ["Bearer ours"]


def test_tls_is_verified_and_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    http, calls = client(monkeypatch, Answer(200))
    http.json("GET", URL)
    assert calls[0]["verify"] is True
    with pytest.raises(ConfigError, match="not an https address"):
        http.json("GET", "http://vendor.example/api")


@pytest.mark.parametrize(
    "fault",
    [
        Answer(500, b"<html><title>Server Error</title>"),
        Answer(503),
        Answer(200, b'{"a": '),
        Answer(200, b'{"a"', cut=True),
        requests.exceptions.ReadTimeout("read timed out"),
        requests.exceptions.ConnectionError("refused"),
    ],
)
def test_faults_are_tried_again(monkeypatch: pytest.MonkeyPatch, waits: list[float], fault: t.Any) -> None:
    http, calls = client(monkeypatch, fault, fault, Answer(200, b"[]"))
    assert http.json("GET", URL) == []
    assert len(calls) == 3
    assert len(waits) == 1  # the first repetition comes at once, later ones wait


def test_what_may_not_be_repeated_is_sent_once(monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> None:
    http, calls = client(monkeypatch, Answer(500), Answer(200))
    with pytest.raises(Unreachable):
        http.json("POST", URL, body={})
    assert (len(calls), waits) == (1, [])
    http, calls = client(monkeypatch, Answer(500), Answer(200))
    http.json("POST", URL, body={}, repeatable=True)
    assert len(calls) == 2


def test_gives_up_with_a_sentence(monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> None:
    http, calls = client(monkeypatch, *[Answer(502, b"<html><head><title>Bad\n Gateway</title>")] * 4)
    with pytest.raises(
        Unreachable, match=r"gave status 502: Bad Gateway after 4 tries. The next run goes on from here\."
    ):
        http.json("GET", URL)
    assert len(calls) == 4


@pytest.mark.parametrize("value", ["7", lambda: formatdate(__import__("time").time() + 8, usegmt=True)])
def test_retry_after_in_both_forms(monkeypatch: pytest.MonkeyPatch, waits: list[float], value: t.Any) -> None:
    header = value() if callable(value) else value
    http, _calls = client(monkeypatch, Answer(429, headers={"Retry-After": header}), Answer(200))
    http.json("GET", URL)
    assert 6 <= waits[0] <= 8


def test_a_retry_after_that_says_nothing_is_ignored(monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> None:
    http, calls = client(monkeypatch, Answer(503, headers={"Retry-After": "soon"}), Answer(200))
    http.json("GET", URL)
    assert len(calls) == 2


def test_retry_after_is_capped(monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> None:
    http, _calls = client(
        monkeypatch, Answer(429, headers={"Retry-After": "86400"}), Answer(200), retries=Retries(longest=20)
    )
    http.json("GET", URL)
    assert waits == [20]


def test_waits_grow_with_jitter(monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> None:
    http, _calls = client(monkeypatch, *[Answer(503)] * 3, Answer(200), retries=Retries(total=3, backoff=1))
    http.json("GET", URL)
    # urllib3: backoff * 2 ** (number of faults - 1) plus up to one backoff of jitter, and none at all after the first.
    assert len(waits) == 2
    assert 2 <= waits[0] <= 3 and 4 <= waits[1] <= 5


def test_a_new_token_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = ["old"]
    http, calls = client(
        monkeypatch,
        Answer(401),
        Answer(200),
        headers=lambda: {"Authorization": tokens[0]},
        renew=lambda _failed: bool(tokens.__setitem__(0, "new")) or True,
    )
    http.json("GET", URL)
    assert [call["headers"]["Authorization"] for call in calls] == ["old", "new"]
    http, calls = client(monkeypatch, Answer(401), Answer(401), renew=lambda _failed: True)
    with pytest.raises(AuthError):
        http.json("GET", URL)
    assert len(calls) == 2


def test_refusals_are_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    for status, kind in ((403, AuthError), (404, AnswerError), (302, AnswerError), (400, AnswerError)):
        http, calls = client(monkeypatch, Answer(status, b"<title>Not Found</title>"))
        with pytest.raises(kind, match=f"status {status}: Not Found"):
            http.json("GET", URL)
        assert len(calls) == 1


def test_no_secret_in_any_message(monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> None:
    for answer in (
        Answer(403, b"token " + b"s3cret" * 100 + b" is bad"),
        Answer(404, b"s3cret"),
        requests.exceptions.ConnectionError("s3cret"),
    ):
        http, _calls = client(monkeypatch, *[answer] * 4, secrets=lambda: ("s3cret" * 100, "s3cret"))
        with pytest.raises((AuthError, AnswerError, Unreachable)) as caught:
            http.json("GET", URL + "?key=s3cret")
        assert "s3cret" not in caught.value.message
        assert "s3cret" not in str(caught.value.as_dict())
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_an_answer_without_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(Answer):
        def iter_content(self, _size: int) -> t.Iterator[bytes]:
            while True:
                yield b"x" * (1 << 20)

    http, _calls = client(monkeypatch, Endless(200))
    with pytest.raises(AnswerError, match="more than 64 MiB"):
        http.json("GET", URL)
