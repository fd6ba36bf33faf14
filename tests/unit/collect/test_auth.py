# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import concurrent.futures
import threading
import time
import typing as t
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._collect.auth import (
    BearerFile,
    ClientCredentials,
    open_credentials,
)
from ansible_collections.netcure.soc.plugins.module_utils._collect.profiles import guardian360
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import (
    AnswerError,
    AuthError,
    ConfigError,
    Unreachable,
)

URL = "https://vendor.example/oauth/token"
AUTH = guardian360.PROFILE["auth"]


class Endpoint:
    """Gives the tokens t1, t2, ... or what ``answers`` says, and remembers how it was asked."""

    def __init__(self, *answers: t.Any, lifetime: t.Any = 3600, seconds: float = 0) -> None:
        self.answers, self.lifetime, self.seconds = list(answers), lifetime, seconds
        self.calls: list[tuple] = []
        self.secrets: t.Callable[[], tuple[str, ...]] = tuple

    def open(self, secrets: t.Callable[[], tuple[str, ...]]) -> t.Any:
        self.secrets = secrets
        return self

    def form(self, url: str, fields: dict, basic: tuple[str, str] | None = None) -> t.Any:
        self.calls.append((url, dict(fields), basic))
        number = len(self.calls)
        time.sleep(self.seconds)
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        return {"token_type": "Bearer", "access_token": f"t{number}", "expires_in": self.lifetime}


class Watch:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 20, 9, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def watch() -> Watch:
    return Watch()


def client(endpoint: Endpoint, watch: Watch, **options: t.Any) -> ClientCredentials:
    return ClientCredentials(endpoint.open, URL, ("soc", "s3cr&t"), clock=watch, **options)


def token(credentials: t.Any) -> str:
    return credentials.headers()["Authorization"].removeprefix("Bearer ")


class TestBearerFile:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        path = tmp_path / "token"
        path.write_text("old\n")
        return path

    def test_token_and_key_are_sent_and_kept_secret(self, file: Path) -> None:
        credentials = BearerFile(str(file), "key", "Api-Key")
        assert credentials.headers() == {"Authorization": "Bearer old", "Api-Key": "key"}
        assert set(credentials.secrets()) == {"old", "key"}
        assert BearerFile(str(file), None, "Api-Key").headers() == {"Authorization": "Bearer old"}

    def test_a_new_token_in_the_file_is_worth_a_second_try(self, file: Path) -> None:
        credentials = BearerFile(str(file), None, "Api-Key")
        failed = credentials.headers()
        assert credentials.renew(failed) is False
        file.write_text("new\n")
        assert credentials.renew(failed) is True
        assert token(credentials) == "new"
        assert set(credentials.secrets()) == {"old", "new"}, "an answer may still quote the old one"

    def test_who_was_refused_with_the_token_of_before_tries_again(self, file: Path) -> None:
        credentials = BearerFile(str(file), None, "Api-Key")
        one, other = credentials.headers(), credentials.headers()
        file.write_text("new\n")
        assert credentials.renew(one)
        file.unlink()  # it would be told if it were read again
        assert credentials.renew(other)

    @pytest.mark.parametrize("content", ["", "hush\nhush\n", "\u201chush\u201d\n"])
    def test_a_file_without_a_token_is_refused(self, file: Path, content: str) -> None:
        file.write_text(content, encoding="utf-8")
        with pytest.raises(ConfigError) as refusal:
            BearerFile(str(file), None, "Api-Key")
        assert "hush" not in refusal.value.message


class TestClientCredentials:
    def test_the_token_is_fetched_once_and_when_it_is_needed(self, watch: Watch) -> None:
        endpoint = Endpoint()
        credentials = client(endpoint, watch, api_key="key", api_key_header="X-Key")
        assert endpoint.calls == []
        assert credentials.headers() == {"Authorization": "Bearer t1", "X-Key": "key"}
        assert token(credentials) == "t1"
        form = {"grant_type": "client_credentials", "client_id": "soc", "client_secret": "s3cr&t"}
        assert endpoint.calls == [(URL, form, None)]

    def test_basic_style_keeps_the_secret_out_of_the_form(self, watch: Watch) -> None:
        endpoint = Endpoint()
        client(endpoint, watch, style="basic", scope="api-access").headers()
        form = {"grant_type": "client_credentials", "scope": "api-access"}
        assert endpoint.calls == [(URL, form, ("soc", "s3cr&t"))]

    def test_it_is_replaced_a_minute_before_it_expires(self, watch: Watch) -> None:
        credentials = client(Endpoint(lifetime=3600), watch)
        assert token(credentials) == "t1"
        watch.move(3539)
        assert token(credentials) == "t1"
        watch.move(1)
        assert token(credentials) == "t2"
        watch.move(3539)
        assert token(credentials) == "t2"

    def test_a_short_life_is_used_to_its_half(self, watch: Watch) -> None:
        credentials = client(Endpoint(lifetime="30"), watch)
        assert token(credentials) == "t1"
        watch.move(14)
        assert token(credentials) == "t1"
        watch.move(1)
        assert token(credentials) == "t2"

    @pytest.mark.parametrize("lifetime", [None, "soon", [], float("nan"), 1e300])
    def test_without_a_lifetime_it_is_used_until_it_is_refused(self, watch: Watch, lifetime: t.Any) -> None:
        credentials = client(Endpoint(lifetime=lifetime), watch)
        failed = credentials.headers()
        watch.move(10**7)
        assert token(credentials) == "t1"
        assert credentials.renew(failed) is True
        assert token(credentials) == "t2"

    def test_the_same_token_again_is_not_worth_a_second_try(self, watch: Watch) -> None:
        same = {"access_token": "t", "expires_in": 3600}
        credentials = client(Endpoint(same, same), watch)
        assert credentials.renew(credentials.headers()) is False

    def test_many_threads_that_are_refused_at_once_fetch_one_token(self, watch: Watch) -> None:
        endpoint, together = Endpoint(seconds=0.02), threading.Barrier(8)
        credentials = client(endpoint, watch)

        def refused(_number: int) -> tuple[str, bool, str]:
            before = credentials.headers()
            together.wait(10)
            return before["Authorization"], credentials.renew(before), token(credentials)

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            outcomes = set(pool.map(refused, range(8)))
        assert outcomes == {("Bearer t1", True, "t2")}
        assert len(endpoint.calls) == 2

    def test_every_form_of_the_secrets_is_redacted_also_of_the_token_of_before(self, watch: Watch) -> None:
        endpoint = Endpoint()
        credentials = client(endpoint, watch, api_key="key", api_key_header="X-Key")
        credentials.renew(credentials.headers())
        pair = base64.b64encode(b"soc:s3cr&t").decode()
        assert {"key", "s3cr&t", "s3cr%26t", pair, "t1", "t2"} == set(credentials.secrets())
        assert endpoint.secrets() == credentials.secrets()

    @pytest.mark.parametrize(
        "refusal",
        [
            AuthError("status 401: invalid_client", status=401),
            AnswerError("status 400: invalid_client", status=400),
        ],
    )
    def test_a_client_that_is_refused_is_told_what_to_check(self, watch: Watch, refusal: Exception) -> None:
        endpoint = Endpoint(refusal)
        credentials = client(endpoint, watch)
        for _again in range(3):
            with pytest.raises(AuthError, match=r"no token for this client .*Check client_id") as told:
                credentials.headers()
            assert told.value.details["status"] in (400, 401)
        assert len(endpoint.calls) == 1, "a client that knocks again and again is locked out"

    @pytest.mark.parametrize("trouble", [Unreachable("gone"), AnswerError("status 404: x", status=404)])
    def test_other_trouble_keeps_its_own_sentence(self, watch: Watch, trouble: Exception) -> None:
        with pytest.raises(type(trouble)) as told:
            client(Endpoint(trouble), watch).headers()
        assert told.value is trouble

    def test_trouble_is_not_for_good(self, watch: Watch) -> None:
        credentials = client(Endpoint(Unreachable("gone")), watch)
        with pytest.raises(Unreachable):
            credentials.headers()
        assert token(credentials) == "t2"

    @pytest.mark.parametrize("answer", [[], {}, {"access_token": ""}, {"access_token": 7}, {"access_token": "a\nb"}])
    def test_an_answer_without_a_token_is_told(self, watch: Watch, answer: t.Any) -> None:
        with pytest.raises(AnswerError, match="without an access_token"):
            client(Endpoint(answer), watch).headers()


class TestOpen:
    def open(self, params: dict, auth: dict | None = None, endpoint: Endpoint | None = None) -> t.Any:
        make = (endpoint or Endpoint()).open
        return open_credentials(AUTH if auth is None else auth, "Api-Key", params, make, "https://vendor.example/")

    def test_what_is_given_decides(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("secret-in-a-file\n")
        file = str(tmp_path / "file")
        assert isinstance(self.open({"token_file": file, "client_id": None, "api_key": "k"}), BearerFile)
        endpoint = Endpoint()
        credentials = self.open({"client_id": " soc ", "client_secret_file": file}, endpoint=endpoint)
        assert credentials.headers() == {"Authorization": "Bearer t1"}
        ((url, form, _basic),) = endpoint.calls
        assert (url, form["client_id"], form["client_secret"]) == (URL, "soc", "secret-in-a-file")

    def test_the_profile_says_how_the_client_is_known(self) -> None:
        endpoint = Endpoint()
        auth = {"path": "/token", "style": "basic", "scope": "api-access"}
        params = {"client_id": "soc", "client_secret": "s", "api_key": "k"}
        assert self.open(params, auth, endpoint).headers()["Api-Key"] == "k"
        form = {"grant_type": "client_credentials", "scope": "api-access"}
        assert endpoint.calls == [("https://vendor.example/token", form, ("soc", "s"))]

    @pytest.mark.parametrize(
        ("params", "sentence"),
        [
            ({}, "No credentials are given: set token_file, or client_id"),
            ({"token_file": "/t", "client_id": "soc"}, "Both token_file and client_id"),
            ({"token_file": "/t", "client_secret": "s"}, "Both token_file and client_id"),
            ({"client_id": "soc"}, "client_id is given without client_secret_file"),
            ({"client_secret": "hush"}, "client_secret is given without client_id"),
        ],
    )
    def test_neither_both_and_half_are_refused(self, params: dict, sentence: str) -> None:
        with pytest.raises(ConfigError, match=sentence) as refusal:
            self.open(params)
        assert "hush" not in refusal.value.message

    @pytest.mark.parametrize(
        ("auth", "sentence"),
        [({}, "no address that gives tokens"), ({"path": "/t", "style": "jwt"}, "has style 'jwt'")],
    )
    def test_a_profile_that_cannot_work_is_refused(self, auth: dict, sentence: str) -> None:
        with pytest.raises(ConfigError, match=sentence):
            self.open({"client_id": "soc", "client_secret": "s"}, auth)

    def test_a_secret_that_no_header_takes_is_refused_for_basic(self) -> None:
        params = {"client_id": "soc", "client_secret": "pass\u2019word"}
        assert isinstance(self.open(params), ClientCredentials)
        with pytest.raises(ConfigError, match="characters that no key has") as refusal:
            self.open(params, {"path": "/t", "style": "basic"})
        assert "word" not in refusal.value.message.replace("password", "")
