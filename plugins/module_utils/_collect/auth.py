# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Who we are to a vendor: a bearer token from a file, or one that is fetched with client credentials (RFC 6749, 4.4).

Both kinds are used by several threads at once: a token that has expired is renewed by the first that is refused, and
the others go on with what that one got.
"""

from __future__ import annotations

import base64
import os
import threading
import typing as t
from datetime import datetime, timedelta
from urllib.parse import quote_plus

from .._core.clock import Clock
from .._core.clock import clock as machine_clock
from .._core.errors import AnswerError, AuthError, ConfigError
from .._core.rest import Http
from .._core.secrets import header_value, read_secret, secret_option

# How long before its end a token is replaced: what is sent with it must not arrive too late.
EARLY = timedelta(seconds=60)
STYLES = ("form", "basic")

# Makes an Http without credentials of its own; it is given what must not appear in messages.
OpenHttp = t.Callable[[t.Callable[[], tuple[str, ...]]], Http]


class Bearer:
    """A token that may be replaced, and an optional API key. What a token is replaced by, the children know."""

    def __init__(self, api_key: str | None, api_key_header: str) -> None:
        self._api_key = {api_key_header: header_value(api_key, "API key of the vendor")} if api_key else {}
        self._guard = threading.Lock()
        self._token = ""
        # An answer to a call of before may quote the token of then.
        self._seen: tuple[str, ...] = tuple(self._api_key.values())

    def _ready(self) -> None:
        """Called before each use, with the guard held: the place to replace what is about to expire."""

    def _replace(self) -> None:
        """Called with the guard held when the vendor has refused the present token."""
        raise NotImplementedError

    def _take(self, token: str) -> None:
        self._token = header_value(token, "bearer token")
        if token not in self._seen:
            self._seen = (*self._seen, token)

    def headers(self) -> dict[str, str]:
        """The headers of the next call."""
        with self._guard:
            self._ready()
            return {"Authorization": f"Bearer {self._token}", **self._api_key}

    def secrets(self) -> tuple[str, ...]:
        """What must not appear in any message."""
        return self._seen

    def renew(self, failed: dict[str, str]) -> bool:
        """Whether there are other credentials to try, after the vendor refused a call that had the headers ``failed``.

        When another thread has replaced the token since that call was sent, nothing is asked again.
        """
        with self._guard:
            refused = failed.get("Authorization")
            if refused == f"Bearer {self._token}":
                self._replace()
            return refused != f"Bearer {self._token}"


class BearerFile(Bearer):
    """A bearer token from a file, read again when the vendor says that it has expired. Raises ConfigError."""

    def __init__(self, path: str, api_key: str | None, api_key_header: str) -> None:
        super().__init__(api_key, api_key_header)
        self._file = os.path.expanduser(path)
        self._replace()

    def _replace(self) -> None:
        self._take(read_secret(self._file, "bearer token"))


class ClientCredentials(Bearer):
    """A bearer token that is fetched at the first use, before it expires, and when the vendor says that it has.

    Raises AuthError when the vendor gives no token for this client, AnswerError when its answer holds none.
    """

    def __init__(
        self,
        open_http: OpenHttp,
        url: str,
        client: tuple[str, str],
        api_key: str | None = None,
        api_key_header: str = "",
        *,
        style: str = "form",
        scope: str | None = None,
        clock: Clock,
    ) -> None:
        """``client`` is its id and its secret; ``style`` says whether they go in the form, or by Basic authentication."""
        super().__init__(api_key, api_key_header)
        identity, secret = client
        if style == "basic":
            header_value(identity + secret, "id or secret of the client")
        self._url, self._client, self._clock = url, client, clock
        self._basic = client if style == "basic" else None
        self._form = {"grant_type": "client_credentials", **({"scope": scope} if scope else {})}
        if style == "form":
            self._form |= {"client_id": identity, "client_secret": secret}
        pair = base64.b64encode(f"{identity}:{secret}".encode()).decode()
        self._seen = (*self._seen, secret, quote_plus(secret), pair)
        self._until: datetime | None = None
        self._refusal: tuple[str, int] | None = None
        self._http = open_http(self.secrets)

    def _ready(self) -> None:
        if not self._token or (self._until and self._clock() >= self._until):
            self._replace()

    def _replace(self) -> None:
        if self._refusal:  # once is enough: vendors lock a client out that keeps on knocking
            raise AuthError(self._refusal[0], status=self._refusal[1])
        asked = self._clock()  # the lifetime counts from before the call, however long that took
        try:
            answer = self._http.form(self._url, self._form, self._basic)
        except (AuthError, AnswerError) as exc:
            status = exc.details.get("status")
            if status not in (400, 401, 403):  # RFC 6749, 5.2: 400 as well means that the client is refused
                raise
            told = f"{self._url} gives no token for this client (status {status}). Check client_id, its secret, and what it may do."
            self._refusal = told, status
            raise AuthError(told, status=status) from None
        token = answer.get("access_token") if isinstance(answer, dict) else None
        if not isinstance(token, str) or not token or not token.isprintable():
            raise AnswerError(f"{self._url} answered without an access_token. Check the entry auth of the profile.")
        self._take(token)
        self._until = _renewal(asked, answer.get("expires_in"))


def _renewal(asked: datetime, lifetime: object) -> datetime | None:
    """When a token of ``lifetime`` seconds is to be replaced; None when the vendor does not say how long it lives."""
    try:
        whole = timedelta(seconds=float(lifetime))  # type: ignore[arg-type]
        return asked + max(whole - EARLY, whole / 2)  # half the life of one that lives for minutes only
    except (TypeError, ValueError, OverflowError):
        return None


def open_credentials(
    profile_auth: dict,
    api_key_header: str,
    params: dict,
    open_http: OpenHttp,
    base_url: str,
    clock: Clock | None = None,
) -> BearerFile | ClientCredentials:
    """The credentials that a module's options name: ``token_file``, or ``client_id`` with ``client_secret`` (or its file).

    ``profile_auth`` is the entry ``auth`` of a profile: ``path`` of the token endpoint, ``style`` (form or basic),
    ``scope``. ``clock`` is the machine's own by default, also in a run whose ``now`` stands still: that is the clock
    by which a token expires. Raises ConfigError.
    """
    token_file, identity = params.get("token_file"), params.get("client_id")
    secret = secret_option(params, "client_secret", "secret of the client")
    api_key = secret_option(params, "api_key", "API key of the vendor")
    if token_file and (identity or secret):
        raise ConfigError("Both token_file and client_id are given: keep the one by which the vendor knows this SOC.")
    if token_file:
        return BearerFile(token_file, api_key, api_key_header)
    if not identity and not secret:
        raise ConfigError("No credentials are given: set token_file, or client_id with client_secret_file.")
    if not identity or not secret:
        present, missing = ("client_id", "client_secret_file") if identity else ("client_secret", "client_id")
        raise ConfigError(f"{present} is given without {missing}: the vendor gives a token for both together only.")
    if not profile_auth.get("path"):
        raise ConfigError(
            "This source has no address that gives tokens: set token_file, or auth.path in the option profile."
        )
    style = profile_auth.get("style", "form")
    if style not in STYLES:
        raise ConfigError(f"The profile's entry auth has style {style!r}; it must be one of {', '.join(STYLES)}.")
    return ClientCredentials(
        open_http,
        base_url.rstrip("/") + profile_auth["path"],
        (identity.strip(), secret),
        api_key,
        api_key_header,
        style=style,
        scope=profile_auth.get("scope"),
        clock=clock or machine_clock(),
    )
