# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""JSON over HTTPS on requests: verified TLS, time-outs, retries for what may be repeated, secrets kept out of errors."""

from __future__ import annotations

import dataclasses
import json
import re
import threading
import time
import typing as t
from urllib.parse import urlencode

from .errors import AnswerError, AuthError, ConfigError, Unreachable
from .libraries import need, orjson, requests
from .secrets import excerpt, redact
from .trust import authority

try:
    import urllib3
except ImportError:  # it comes with requests: need("requests") reports it
    urllib3 = None

# A page of 500 alarms is some 0.5 MB. What is a hundred times larger is a fault, and must not fill the memory.
MAX_BODY = 64 * 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Retries:
    """When and how often a call is repeated. ``backoff`` is the first wait in seconds; it doubles, with jitter, up to ``longest``."""

    total: int = 3
    statuses: tuple[int, ...] = (429, 500, 502, 503, 504)
    backoff: float = 0.5
    longest: float = 60.0


@dataclasses.dataclass(frozen=True)
class Seen:
    """One answer as it came: ``seconds`` until the last byte of ``content``."""

    status: int
    headers: t.Mapping[str, str]
    content: bytes
    seconds: float


def _https(url: str) -> None:
    if not url.startswith("https://"):
        raise ConfigError(f"{url} is not an https address: plain http would send the token in the clear.")


def _decoded(content: bytes) -> t.Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        try:
            text = json.dumps(json.loads(content), ensure_ascii=False)
        except (ValueError, RecursionError):
            text = ""
        if not text:
            raise
        return orjson.loads(text.encode("utf-8", "replace"))


def _own_headers(request: t.Any) -> t.Any:
    # Without an auth of ours requests would look into ~/.netrc, and what it finds there would replace our token.
    return request


class Http:
    """One vendor's API. ``headers`` is asked before every call, so that a renewed token is used at once."""

    def __init__(
        self,
        headers: t.Callable[[], dict[str, str]] = dict,
        *,
        secrets: t.Callable[[], tuple[str, ...]] = tuple,
        renew: t.Callable[[dict[str, str]], bool] = lambda _failed: False,
        ca_path: str | None = None,
        timeout: float = 30,
        retries: Retries = Retries(),
    ) -> None:
        """``timeout`` is in seconds.

        ``renew`` is called once after a 401, with the headers that were refused, and says whether there are others to try.
        """
        need("requests", "orjson")
        if timeout <= 0:
            raise ConfigError(f"timeout is {timeout}: give a number of seconds above 0.")
        self._headers, self._secrets, self._renew = headers, secrets, renew
        self._verify = authority(ca_path, "ca_path") or True
        self._timeout, self._retries = timeout, retries
        self._sessions = threading.local()  # requests does not promise that threads may share one

    @property
    def _session(self) -> t.Any:
        if not hasattr(self._sessions, "own"):
            self._sessions.own = requests.Session()
        return self._sessions.own

    def form(self, url: str, fields: dict[str, str], basic: tuple[str, str] | None = None) -> t.Any:
        """The decoded JSON answer to a form, as a token is asked for (RFC 6749, section 4.4); ``basic`` is user and password.

        Raises what json() raises.
        """
        content_type = {"Content-Type": "application/x-www-form-urlencoded"}
        sign = requests.auth.HTTPBasicAuth(*basic) if basic else _own_headers
        return self._exchange(
            url, True, lambda: (content_type, self._send("POST", url, None, urlencode(fields), content_type, sign))
        )

    def json(
        self, method: str, url: str, *, params: object = None, body: object = None, repeatable: bool | None = None
    ) -> t.Any:
        """The decoded JSON answer of one call.

        ``repeatable`` says whether the call may be sent again after a fault; by default a GET may and nothing else.
        A body that was cut off or is not JSON counts as a fault of the transport and is asked for again.
        Raises AuthError (401, 403), AnswerError (other refusals), Unreachable (no good answer after all retries).
        """
        content = None if body is None else orjson.dumps(body)

        def send() -> tuple[dict[str, str], t.Any]:
            headers = {"Content-Type": "application/json", **self._headers()}
            return headers, self._send(method, url, params, content, headers, _own_headers)

        return self._exchange(url, method == "GET" if repeatable is None else repeatable, send)

    def look(self, method: str, url: str, *, params: object = None, body: object = None) -> Seen:
        """One call as it is, once: whatever its status, without retries, redirects or a renewed token.

        Raises ConfigError, Unreachable (no complete answer), AnswerError (an answer that is too large).
        """
        _https(url)
        content = None if body is None else orjson.dumps(body)
        headers = {"Content-Type": "application/json", **self._headers()}
        began = time.monotonic()
        try:
            response = self._send(method, url, params, content, headers, _own_headers)
            answer = self._read(response)
        except requests.exceptions.SSLError as exc:
            raise self._error(
                Unreachable, f"{url} is not trusted: {exc}. Give the authority's certificate as ca_path."
            ) from None
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as exc:
            raise self._error(
                Unreachable, f"{url} gave no complete answer ({exc.__class__.__name__}: {exc})."
            ) from None
        return Seen(response.status_code, response.headers, answer, time.monotonic() - began)

    def _exchange(self, url: str, repeatable: bool, send: t.Callable[[], tuple[dict[str, str], t.Any]]) -> t.Any:
        _https(url)
        policy = urllib3.util.Retry(
            total=self._retries.total if repeatable else 0,
            status_forcelist=self._retries.statuses,
            allowed_methods=None,
            backoff_factor=self._retries.backoff,
            backoff_jitter=self._retries.backoff,
            backoff_max=self._retries.longest,
            retry_after_max=int(self._retries.longest),
        )
        renewed = False
        while True:
            response, content, fault = None, b"", None
            try:
                headers, response = send()
                content = self._read(response)
                if response.status_code == 401 and not renewed and self._renew(headers):
                    renewed = True
                    continue
                if 200 <= response.status_code < 300:
                    return _decoded(content)
            except requests.exceptions.SSLError as exc:
                raise self._error(
                    Unreachable, f"{url} is not trusted: {exc}. Give the authority's certificate as ca_path."
                ) from None
            except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as exc:
                fault = f"no complete answer ({exc.__class__.__name__}: {exc})"
            except orjson.JSONDecodeError:
                fault = f"an answer that is not JSON: {self.excerpt(content)}"
            if fault is None:
                fault = f"status {response.status_code}: {self.excerpt(content)}"
                if response.status_code in (401, 403):
                    raise self._error(
                        AuthError,
                        f"{url} refused the credentials ({fault}). Check that the token is valid and may read this.",
                        status=response.status_code,
                    )
                if response.status_code not in self._retries.statuses:
                    raise self._error(AnswerError, f"{url} answered with {fault}", status=response.status_code)
            try:
                policy = policy.increment(None, url, error=urllib3.exceptions.HTTPError(fault))
            except (urllib3.exceptions.MaxRetryError, urllib3.exceptions.HTTPError):
                tries = f" after {self._retries.total + 1} tries" if repeatable and self._retries.total else ""
                raise self._error(Unreachable, f"{url} gave {fault}{tries}. The next run goes on from here.") from None
            try:
                policy.sleep(response.raw if response is not None else None)
            except urllib3.exceptions.InvalidHeader:  # a Retry-After that is neither seconds nor a date
                policy.sleep()

    def _send(
        self, method: str, url: str, params: object, content: bytes | str | None, headers: dict[str, str], sign: object
    ) -> t.Any:
        # No redirects: requests would carry our own headers, such as Api-Key, to wherever they point.
        return self._session.request(
            method,
            url,
            params=params,
            data=content,
            headers={"Accept": "application/json", **headers},
            auth=sign,
            timeout=self._timeout,
            verify=self._verify,
            allow_redirects=False,
            stream=True,
        )

    @staticmethod
    def _read(response: t.Any) -> bytes:
        chunks, size = [], 0
        for chunk in response.iter_content(65536):
            size += len(chunk)
            if size > MAX_BODY:
                response.close()
                raise AnswerError(
                    f"{response.url.partition('?')[0]} sent more than {MAX_BODY >> 20} MiB in one answer; ask for smaller pages."
                )
            chunks.append(chunk)
        return b"".join(chunks)

    def excerpt(self, content: bytes | str) -> str:
        """What a person can use of a vendor's text: the title of an HTML page, or the first 200 characters."""
        text = content if isinstance(content, str) else content[:20000].decode("utf-8", "replace")
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        return excerpt(title.group(1) if title else text, self._secrets()) or "an empty body"

    def _error(self, kind: type, message: str, **details: object) -> Exception:
        return kind(redact(message, self._secrets()), **details)
