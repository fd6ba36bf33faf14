# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Reading a vendor's API by its profile: credentials, paging, the end of a list."""

from __future__ import annotations

import dataclasses
import os
import typing as t
from datetime import datetime

from .._core.clock import format_time
from .._core.errors import AnswerError
from .._core.rest import Http, Retries
from .._core.secrets import header_value, read_secret
from .profile import DataSet, Source, compile_paths, dig


class Credentials:
    """A bearer token from a file, read again when the vendor says that it has expired, and an optional API key."""

    def __init__(self, token_file: str, api_key: str | None, api_key_header: str) -> None:
        self._file, self._header = os.path.expanduser(token_file), api_key_header
        self._api_key = header_value(api_key, "API key of the vendor") if api_key else None
        self._token = self._read()

    def _read(self) -> str:
        return header_value(read_secret(self._file, "bearer token"), "bearer token")

    def headers(self) -> dict[str, str]:
        """The headers of the next call."""
        key = {self._header: self._api_key} if self._api_key else {}
        return {"Authorization": f"Bearer {self._token}", **key}

    def secrets(self) -> tuple[str, ...]:
        """What must not appear in any message."""
        return tuple(filter(None, (self._token, self._api_key)))

    def renew(self) -> bool:
        """Read the token again; True when it is another one, worth a second try."""
        before, self._token = self._token, self._read()
        return before != self._token


def open_http(source: Source, credentials: Credentials, ca_path: str | None, timeout: float) -> Http:
    """The vendor's API over HTTPS, with the profile's retry rules."""
    rules = {"total": source.retry.get("max"), "statuses": tuple(source.retry.get("statuses", ())) or None}
    rules.update(backoff=source.retry.get("backoff"), longest=source.retry.get("longest"))
    return Http(
        credentials.headers,
        secrets=credentials.secrets,
        renew=credentials.renew,
        ca_path=ca_path,
        timeout=timeout,
        retries=Retries(**{key: value for key, value in rules.items() if value is not None}),
    )


@dataclasses.dataclass(frozen=True)
class Page:
    """The records of one answer.

    ``final`` says that the vendor's own counter, where it has one, knows of nothing beyond this page.
    """

    records: list[dict]
    final: bool


def subscribed(source: Source, http: Http) -> frozenset[str] | None:
    """Ids of the companies whose subscription is on, or None where the profile has no such list.

    It is asked at every run, so that a new client is covered at once.
    """
    rules = source.subscriptions
    if not rules:
        return None
    listing = {"style": "page", "page_param": "page", "first": 1, "cap": 1000, **rules.get("paging", {})}
    id_paths, flag_paths = compile_paths(rules["id"]), compile_paths(rules["flag"])
    found: dict[str, bool] = {}
    for page in _numbered_pages(http, source.base_url + rules["path"], {}, listing, rules["envelope"], rules["path"]):
        before = len(found)
        found.update(
            {str(dig(record, id_paths)): dig(record, flag_paths) in (True, 1, "1", "true") for record in page.records}
        )
        if len(found) == before:
            break
    tenants = frozenset(key for key, on in found.items() if on)
    if not tenants:
        raise AnswerError(
            f"{source.name} lists no company with a subscription; check the entry subscriptions in the profile."
        )
    return tenants


def pages(
    source: Source, data_set: DataSet, variant: dict, http: Http, since: datetime | None, tenants: frozenset[str] | None
) -> t.Iterator[Page]:
    """The pages of one walk through ``data_set``, oldest request first.

    ``since`` is where a set that knows a cursor starts (None: from the beginning). An empty page, or the vendor's
    counter, ends the walk; the caller ends it when a page brings nothing that this walk has not seen. A short page
    ends nothing, because servers cap page sizes. Raises AnswerError when the cap on pages is reached.
    """
    url = source.base_url + data_set.path
    if data_set.paging["style"] == "page":
        yield from _numbered_pages(http, url, variant, data_set.paging, data_set.envelope, data_set.name)
        return
    paging = data_set.paging
    body = {**(data_set.body or {}), **variant}
    if since is not None:
        body[paging["from"]] = format_time(since)
    if tenants is not None and paging.get("tenants"):
        body[paging["tenants"]] = sorted(tenants)
    cursor_paths = compile_paths(paging["cursor"])
    for _number in range(paging["cap"]):
        answer = http.json(data_set.method, url, body=body, repeatable=data_set.repeatable)
        records = _records(answer, data_set.envelope, data_set.name, http)
        yield Page(records, final=not records)
        if not records:
            return
        cursor = dig(answer, cursor_paths)
        if cursor is None:
            raise AnswerError(
                f"A page of {data_set.name} gave no {paging['send']} to go on from; check paging.cursor in the profile."
            )
        body[paging["send"]] = cursor
    raise _endless(data_set.name, paging["cap"])


def _numbered_pages(http: Http, url: str, params: dict, paging: dict, envelope: dict, what: str) -> t.Iterator[Page]:
    last_paths = compile_paths(paging.get("last_page", []))
    size = {paging["size_param"]: paging["size"]} if paging.get("size_param") else {}
    for number in range(paging["first"], paging["first"] + paging["cap"]):
        answer = http.json("GET", url, params={**params, **size, paging["page_param"]: number})
        records = _records(answer, envelope, what, http)
        last = dig(answer, last_paths)
        counted = isinstance(last, int)
        if not records:
            # The end, unless the counter says that this page should have held something.
            yield Page(records, final=not counted or number > last)
            return
        final = counted and number >= last
        yield Page(records, final)
        if final:
            return
    raise _endless(what, paging["cap"])


def _records(answer: t.Any, envelope: dict, what: str, http: Http) -> list[dict]:
    if envelope.get("success") and isinstance(answer, dict) and answer.get(envelope["success"]) is False:
        raise AnswerError(
            f"The vendor refused {what}: {http.excerpt(str(answer.get(envelope.get('error', 'message'))))}."
        )
    found = [items for paths in compile_paths(envelope["items"]) if isinstance(items := dig(answer, (paths,)), list)]
    if not found:
        raise AnswerError(
            f"An answer to {what} has no list of records where the profile says ({', '.join(envelope['items'])})."
        )
    inner = envelope.get("record")
    return [record[inner] if inner and isinstance(record, dict) and inner in record else record for record in found[0]]


def _endless(what: str, cap: int) -> AnswerError:
    return AnswerError(
        f"The list {what} did not end after {cap} pages; what came is kept. Raise paging.cap if it is that long."
    )
