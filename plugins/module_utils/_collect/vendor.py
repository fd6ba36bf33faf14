# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Reading a vendor's API by its profile: companies, paging, the end of a list."""

from __future__ import annotations

import dataclasses
import typing as t
from datetime import datetime
from urllib.parse import quote

from .._core.clock import format_time
from .._core.errors import AnswerError, AuthError
from .._core.ids import content_digest
from .._core.rest import Http, Retries
from .normalise import Company
from .profile import DataSet, Source, compile_paths, dig, records_of, unwrapped

if t.TYPE_CHECKING:
    from .auth import BearerFile, ClientCredentials

YES = (True, 1, "1", "true")
# Statuses by which a vendor refuses one company and not the call.
ABOUT_THE_COMPANY = (400, 403, 404, 422)
# What no vendor can have: an answer with records about it means that the vendor does not heed the question.
NOBODY = "soc-no-such-company"


def open_http(
    source: Source,
    credentials: BearerFile | ClientCredentials | None,
    ca_path: str | None,
    timeout: float,
    secrets: t.Callable[[], tuple[str, ...]] = tuple,
) -> Http:
    """The vendor's API over HTTPS, with the profile's retry rules.

    Without ``credentials`` it is what a token is asked for with; ``secrets`` must then not appear in messages.
    """
    rules = {"total": source.retry.get("max"), "statuses": tuple(source.retry.get("statuses", ())) or None}
    rules.update(backoff=source.retry.get("backoff"), longest=source.retry.get("longest"))
    signed = (
        {"headers": credentials.headers, "secrets": credentials.secrets, "renew": credentials.renew}
        if credentials
        else {"secrets": secrets}
    )
    return Http(
        ca_path=ca_path,
        timeout=timeout,
        retries=Retries(**{key: value for key, value in rules.items() if value is not None}),
        **signed,
    )


@dataclasses.dataclass(frozen=True)
class Page:
    """The records of one answer.

    ``final`` says that the vendor's own counter, where it has one, knows of nothing beyond this page. ``positions``
    are how far files were read when the records were taken.
    """

    records: list
    final: bool
    positions: t.Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked of a vendor in one walk: extra parameters, the company or account asked about, from when on.

    ``tenants`` are the companies that a search is restricted to.
    """

    params: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    about: str | None = None
    since: datetime | None = None
    tenants: frozenset[str] | None = None


@dataclasses.dataclass(frozen=True)
class Directory:
    """The companies of a source: names by id, and those whose records are collected (None for all).

    ``accounts`` are companies by what the vendor calls them, where that is not their id.
    """

    names: t.Mapping[str, str]
    collected: frozenset[str] | None
    accounts: t.Mapping[str, Company] = dataclasses.field(default_factory=dict)

    def companies(self) -> list[tuple[str, Company]]:
        """Those that are collected, each with what the vendor is asked by, in a stable order."""
        if self.accounts:
            return sorted(self.accounts.items())
        wanted = self.names if self.collected is None else self.collected
        return [(key, Company(key, self.names.get(key) or key)) for key in sorted(wanted)]


def directory(source: Source, http: Http, accounts: t.Mapping[str, Company]) -> Directory:
    """Ask who the companies are, and which of them have a subscription where the vendor sells one.

    It is asked at every run, so that a new client is covered at once. ``accounts`` is the module's option of that name,
    for vendors that cannot be asked.
    """
    rules = source.companies
    if not rules:
        return Directory({}, None)
    if rules.get("option"):
        return Directory({company.id: company.name for company in accounts.values()}, None, accounts)
    listing = {"style": "page", "page_param": "page", "first": 1, "cap": 1000, **rules.get("paging", {})}
    id_paths, name_paths = compile_paths(rules["id"]), compile_paths(rules.get("name", []))
    flag_paths = compile_paths(rules["flag"]) if rules.get("flag") else None
    names: dict[str, str] = {}
    subscribed: set[str] = set()
    for page in _numbered_pages(http, source.base_url + rules["path"], {}, listing, rules["envelope"], rules["path"]):
        before = len(names)
        for record in page.records:
            identity = dig(record, id_paths)
            if isinstance(identity, (str, int)) and identity != "":
                names[str(identity)] = str(dig(record, name_paths) or "")
                if flag_paths and dig(record, flag_paths) in YES:
                    subscribed.add(str(identity))
        if len(names) == before:
            if listing.get("last_page") and not page.final:
                raise AnswerError(f"The list of companies of {source.name} ended before its own counter. Run again.")
            break
    if flag_paths and not subscribed:
        raise AnswerError(
            f"{source.name} lists no company with a subscription; check the entry companies in the profile."
        )
    return Directory(names, frozenset(subscribed) if flag_paths else None)


def heeds_company(source: Source, data_set: DataSet, http: Http) -> bool:
    """Whether the vendor heeds the question about one company: of one that cannot exist it should know nothing.

    The profile may say so itself (``heeds`` beside ``param``). Raises what the call raises, unless it is about the company.
    """
    told = (data_set.ask or {}).get("heeds")
    if told is not None:
        return bool(told)
    try:
        first = next(pages(source, data_set, Request(about=NOBODY), http), Page([], True))
    except (AnswerError, AuthError) as exc:
        if exc.details.get("status") not in ABOUT_THE_COMPANY:
            raise
        return True
    return not first.records


def address(source: Source, data_set: DataSet, about: str | None) -> tuple[str, dict]:
    """Where ``data_set`` is asked for, and the parameter that says for whom: for the company ``about``, None for all."""
    url, rules = source.base_url + data_set.path, data_set.ask or {}
    if about and rules.get("path"):
        url = url.replace(f"{{{rules['path']}}}", quote(about, safe=""))
    return url, {rules["param"]: about} if about and rules.get("param") else {}


def pages(source: Source, data_set: DataSet, asked: Request, http: Http) -> t.Iterator[Page]:
    """The pages of one walk through ``data_set``.

    A set that knows a cursor starts at ``asked.since`` (None: from the beginning). An empty page, or the vendor's
    counter, ends the walk; the caller ends it when a page brings nothing that this walk has not seen. A short page
    ends nothing, because servers cap page sizes. Raises AnswerError when the cap on pages is reached.
    """
    url, company = address(source, data_set, asked.about)
    params = {**asked.params, **company}
    if data_set.paging["style"] == "page":
        return _numbered_pages(http, url, params, data_set.paging, data_set.envelope, data_set.name)
    paging = data_set.paging
    if asked.since is not None and paging.get("from"):
        params[paging["from"]] = format_time(asked.since)
    if asked.tenants is not None and paging.get("tenants"):
        params[paging["tenants"]] = sorted(asked.tenants)
    return _searched_pages(http, url, data_set, {**(data_set.body or {}), **params})


def ask_by_ids(source: Source, data_set: DataSet, ids: list[str], http: Http) -> list:
    """The present records of these vendor ids, in one call or one by one, as the profile's ask_again says.

    An id that the vendor does not know any more is left out. A server that caps its pages is asked for the next one.
    Raises AnswerError when the vendor sends records that were not asked for, because then nothing can be told from what
    is missing.
    """
    rules = data_set.ask_again or {}
    if rules.get("by") == "search":
        fields = {**(data_set.body or {}), rules["param"]: ids}
        # By content: two companies may have records of one id.
        met: dict[str, t.Any] = {}
        for page in _searched_pages(http, source.base_url + data_set.path, data_set, fields):
            before = len(met)
            met.update({content_digest(record): record for record in page.records})
            if not {str(dig(record, data_set.id or ())) for record in page.records} <= set(ids):
                raise AnswerError(
                    f"Asked for some records of {data_set.name} by id, {source.name} sent others: it does not know the"
                    f" parameter {rules['param']}. Set ask_again in the profile to by: get."
                )
            if len(met) == before:
                break
        return list(met.values())
    found = []
    for identity in ids:
        url = source.base_url + rules["path"].replace("{id}", quote(identity, safe=""))
        try:
            answer = http.json("GET", url)
        except AnswerError as exc:
            if exc.details.get("status") not in (404, 410):
                raise
            continue
        found.append(unwrapped(answer, data_set.envelope))
    return found


def _call(http: Http, data_set: DataSet, url: str, fields: dict) -> t.Any:
    where = {"params": fields} if data_set.method == "GET" else {"body": fields}
    return http.json(data_set.method, url, repeatable=data_set.repeatable, **where)


def _searched_pages(http: Http, url: str, data_set: DataSet, fields: dict) -> t.Iterator[Page]:
    paging = data_set.paging
    cursor_paths = compile_paths(paging["cursor"])
    for _number in range(paging["cap"]):
        answer = _call(http, data_set, url, fields)
        records = _records(answer, data_set.envelope, data_set.name, http)
        yield Page(records, final=not records)
        if not records:
            return
        cursor = dig(answer, cursor_paths)
        if cursor is None:
            raise AnswerError(
                f"A page of {data_set.name} gave no {paging['send']} to go on from; check paging.cursor in the profile."
            )
        fields = {**fields, paging["send"]: cursor}
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
            # The end, unless the counter says that this page should have held something. A list of nothing has one page.
            nothing = number == paging["first"] and counted and last <= number
            yield Page(records, final=nothing or not counted or number > last)
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
    found = records_of(answer, envelope)
    if found is None:
        raise AnswerError(
            f"An answer to {what} has no list of records where the profile says ({', '.join(envelope['items'])})."
        )
    return found


def _endless(what: str, cap: int) -> AnswerError:
    return AnswerError(
        f"The list {what} did not end after {cap} pages; what came is kept. Raise paging.cap if it is that long."
    )
