# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bulk and its repetitions against answers in a fixed order. The real Elasticsearch is in the integration tests."""

from __future__ import annotations

import gzip
import typing as t
from types import SimpleNamespace

import elasticsearch
import pytest
from ansible_collections.netcure.soc.plugins.module_utils._core.elastic import Elastic, connect, split_operations
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import (
    AnswerError,
    AuthError,
    ConfigError,
    Unreachable,
)

PAYLOAD = b'{"create":{"_id":"1"}}\n{"a":1}\n{"delete":{"_id":"2"}}\n{"index":{"_id":"3"}}\n{"a":3}\n'


def api_error(status: int) -> elasticsearch.ApiError:
    return elasticsearch.ApiError("message", SimpleNamespace(status=status), {"error": "s3cret"})


class Client:
    def __init__(self, *answers: t.Any) -> None:
        self.answers, self.sent = list(answers), []

    def perform_request(self, method: str, path: str, *, body: bytes, **_kwargs: t.Any) -> t.Any:
        self.sent.append(body)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        items = [
            {"index": {"status": status, **({"error": {"type": "t", "reason": "r"}} if status >= 300 else {})}}
            for status in answer
        ]
        return SimpleNamespace(body={"errors": any(status >= 300 for status in answer), "items": items})


def test_the_outcome_is_in_the_order_of_the_operations() -> None:
    outcome = Elastic(Client([201, 404, 409])).bulk(PAYLOAD)
    assert outcome.statuses == [201, 404, 409]
    assert outcome.reasons == {1: "t: r", 2: "t: r"}


def test_without_a_refusal_all_of_it_was_taken() -> None:
    outcome = Elastic(Client([201, 200, 200])).bulk(PAYLOAD)
    assert (outcome.statuses, outcome.reasons) == ([200, 200, 200], {})


def test_a_body_that_is_compressed() -> None:
    client = Client([201, 200, 200])
    Elastic(client, compress=True).bulk(PAYLOAD)
    assert gzip.decompress(client.sent[0]) == PAYLOAD


def test_only_what_was_too_much_is_sent_again() -> None:
    waits: list[float] = []
    client = Client([201, 429, 429], [503, 200], [200])
    outcome = Elastic(client, sleep=waits.append).bulk(PAYLOAD)
    assert outcome.statuses == [201, 200, 200]
    assert client.sent[1:] == [b'{"delete":{"_id":"2"}}\n{"index":{"_id":"3"}}\n{"a":3}\n', b'{"delete":{"_id":"2"}}\n']
    assert len(waits) == 2
    assert outcome.reasons == {}


def test_a_call_that_failed_as_a_whole_is_sent_again() -> None:
    client = Client(api_error(429), elasticsearch.ConnectionTimeout("slow"), [201, 200, 201])
    assert Elastic(client, sleep=lambda _seconds: None).bulk(PAYLOAD).statuses == [200, 200, 200]


def test_gives_up_with_a_sentence() -> None:
    with pytest.raises(Unreachable, match="did not take 3 operations after 8 tries"):
        Elastic(Client(*[[429, 429, 429]] * 8), sleep=lambda _seconds: None).bulk(PAYLOAD)
    refused = elasticsearch.ConnectionError("refused", errors=(elasticsearch.ConnectionError("refused"),) * 3)
    with pytest.raises(Unreachable, match="cannot be reached: refused[.] Check") as caught:
        Elastic(Client(*[refused] * 8), sleep=lambda _seconds: None).bulk(PAYLOAD)
    assert caught.value.message.count("refused") == 1


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AuthError), (403, AuthError), (400, AnswerError), (413, AnswerError)]
)
def test_refusals_are_not_repeated_and_name_no_secret(status: int, kind: type) -> None:
    client = Client(api_error(status))
    with pytest.raises(kind) as caught:
        Elastic(client, secrets=("s3cret",)).bulk(PAYLOAD)
    assert len(client.sent) == 1
    assert "s3cret" not in caught.value.message


def test_operations_are_cut_where_they_end() -> None:
    assert split_operations(PAYLOAD) == [
        b'{"create":{"_id":"1"}}\n{"a":1}\n',
        b'{"delete":{"_id":"2"}}\n',
        b'{"index":{"_id":"3"}}\n{"a":3}\n',
    ]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"elasticsearch_url": "http://x"}, "give an https address"),
        ({"elasticsearch_username": "u"}, "elasticsearch_username needs"),
        (
            {"elasticsearch_api_key": "k", "elasticsearch_ca_path": "/none"},
            "file /none of elasticsearch_ca_path is not there",
        ),
        ({"elasticsearch_api_key_file": "/none"}, "API key of Elasticsearch cannot be read from /none"),
    ],
)
def test_options_that_cannot_work(options: dict, sentence: str) -> None:
    names = ("url", "ca_path", "api_key", "api_key_file", "username", "password", "password_file", "timeout")
    params = {
        **dict.fromkeys(f"elasticsearch_{name}" for name in names),
        "elasticsearch_url": "https://x",
        "elasticsearch_timeout": 60,
    }
    params.update(options)
    with pytest.raises(ConfigError, match=sentence):
        connect(params)
