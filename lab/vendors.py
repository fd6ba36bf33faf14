# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a vendor answers, as its source profile describes it: tokens, paging, envelopes, and the faults of a test."""

from __future__ import annotations

import asyncio
import base64
import hmac
import random
import secrets
import time
import typing as t
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import parse_qs

import orjson
from ansible_collections.netcure.soc.plugins.module_utils._collect.profile import compile_paths, dig, merge
from ansible_collections.netcure.soc.plugins.module_utils._core.clock import parse_time
from ansible_collections.netcure.soc.plugins.module_utils._core.state import atomic_write
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lab.companies import COMPANIES, Company
from lab.faults import Fault
from lab.lighthouse import second_version
from lab.world import Record

if t.TYPE_CHECKING:
    from lab.simulators import Simulators


class Secret:
    """A secret in a file, made at the first use, read again when somebody replaces it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            self.renew()

    def renew(self) -> None:
        atomic_write(str(self.path), secrets.token_urlsafe(24).encode() + b"\n", 0o600)

    @property
    def value(self) -> str:
        return self.path.read_text(encoding="ascii").strip()

    def fits(self, given: str | None) -> bool:
        return hmac.compare_digest((given or "").encode(), self.value.encode())


def json_answer(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, "application/json")


def html_answer(status: int, title: str) -> Response:
    """An error page as Laravel shows it."""
    page = (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title></head>\n'
        f'<body class="antialiased"><div class="code">{status}</div><div class="message">{title}</div></body>\n</html>\n'
    )
    return Response(page, status, media_type="text/html")


class CutOff(Response):
    """Announces all of its body and sends half; the server then closes the connection."""

    async def __call__(self, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})


class Tokens:
    """What a vendor lets in: the token in a file, and those that it gave out for client credentials.

    ``lifetime`` of what it gives out is in seconds of the real clock, by which the client counts too.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.file = Secret(folder / f"{name}-token")
        self.client_id, self.client_secret = f"{name}-soc", Secret(folder / f"{name}-client-secret")
        self.lifetime = 3600.0
        self._given: dict[str, float] = {}
        self._expired: set[str] = set()

    def fits(self, token: str) -> bool:
        known = self.file.fits(token) or self._given.get(token, 0) > time.monotonic()
        return known and token not in self._expired

    def give(self) -> dict:
        """A new token, as the answer of a token endpoint (RFC 6749, section 5.1)."""
        token = secrets.token_urlsafe(24)
        self._given[token] = time.monotonic() + self.lifetime
        return {"token_type": "Bearer", "expires_in": round(self.lifetime), "access_token": token}

    def expire(self, token: str) -> None:
        """This one is worth nothing any more."""
        self._expired.add(token)

    def renew(self) -> None:
        """Nothing that was given out is good any more; the file gets a new token."""
        self._given.clear()
        self.file.renew()


class Vendor:
    """One source: its data sets as routes, its credentials, its faults."""

    def __init__(self, lab: Simulators, profile: dict, api_key: bool) -> None:
        self.lab, self.profile, self.name = lab, profile, profile["source"]
        folder = lab.folder / "secrets"
        self.tokens = Tokens(folder, self.name)
        self.api_key = Secret(folder / f"{self.name}-api-key") if api_key else None
        self._lists: dict[tuple, tuple] = {}

    @property
    def token(self) -> Secret:
        """The bearer token in a file."""
        return self.tokens.file

    def routes(self) -> list[Route]:
        found: dict[tuple[str, str], t.Callable] = {}
        for version, changes in {"v1": {}, **self.profile.get("api", {})}.items():
            for name, entry in merge(self.profile, changes)["sets"].items():
                if not entry.get("files"):
                    found.setdefault((entry["path"], entry.get("method", "GET")), self._endpoint(name, entry, version))
        companies, auth = self.profile.get("companies", {}), self.profile.get("auth", {})
        if companies.get("path"):
            found.setdefault((companies["path"], "GET"), self._companies)
        if auth.get("path"):
            found[auth["path"], "POST"] = self._token
        if self.name == "cyberalarm":
            # The re-check of one alarm: what a site may set as ask_again by get.
            found["/api/v1/logs/{identity}", "GET"] = self._one_alarm
        return [Route(f"/{self.name}{path}", handler, methods=[method]) for (path, method), handler in found.items()]

    def _endpoint(self, name: str, entry: dict, version: str) -> t.Callable:
        paging = {**self.profile["paging"], **entry.get("paging", {})}
        envelope = {**self.profile["envelope"], **entry.get("envelope", {})}

        async def endpoint(request: Request) -> Response:
            asked = {**await self._asked(request), **request.path_params}

            def make(fault: Fault | None) -> Response:
                if paging["style"] == "page":
                    return self._page(name, version, paging, envelope, asked, fault)
                if request.method == "POST":
                    return self._search(name, paging, envelope, asked, fault)
                return self._scroll(name, entry, paging, envelope, asked, fault)

            return await self._answer(request, name, asked, make)

        return endpoint

    async def _asked(self, request: Request) -> dict:
        body = await request.body()
        try:
            return {**dict(request.query_params), **(orjson.loads(body) if body else {})}
        except (orjson.JSONDecodeError, TypeError):
            return dict(request.query_params)

    async def _answer(
        self, request: Request, name: str, asked: dict, make: t.Callable[[Fault | None], Response]
    ) -> Response:
        """Credentials, faults, the answer itself, and a note of the call."""
        fault = self.lab.faults.strike(self.name, name)
        response = self._refusal(request, fault) or await self._respond(fault, make)
        self.lab.note(self.name, name, request.method, asked, response.status_code, fault)
        return response

    def _refusal(self, request: Request, fault: Fault | None) -> Response | None:
        scheme, _space, given = request.headers.get("authorization", "").partition(" ")
        if fault and fault.kind == "expire":
            self.tokens.expire(given)
        if (fault and fault.kind == "401") or scheme != "Bearer" or not self.tokens.fits(given):
            return json_answer({"error": "unauthorized"}, 401)
        if self.api_key and not self.api_key.fits(request.headers.get(self.profile["api_key_header"])):
            return json_answer({"error": "invalid_api_key"}, 401)
        return None

    async def _respond(self, fault: Fault | None, make: t.Callable) -> Response:
        kind = fault.kind if fault else None
        if fault is None:
            return make(None)
        if kind == "timeout":
            await asyncio.sleep(fault.seconds)
        elif kind == "429":
            wait = fault.retry_after
            # The header counts from the real clock: it tells the client how long to sleep.
            value = (
                format_datetime(datetime.now(UTC) + timedelta(seconds=wait), usegmt=True) if fault.date else str(wait)
            )
            return json_answer({"error": "too_many_requests"}, 429, {"Retry-After": value})
        elif kind == "500":
            return html_answer(fault.status, "Server Error")
        elif kind == "html":
            return html_answer(200, "Maintenance")
        elif kind == "refused":
            envelope = self.profile["envelope"]
            words = {envelope.get("error", "message"): "The request could not be handled."}
            return json_answer({**({envelope["success"]: False} if envelope.get("success") else {}), **words})
        response = make(fault)
        body = bytes(response.body)
        if kind == "cut":
            return CutOff(body, 200, media_type="application/json")
        if kind == "short":
            return Response(body[: len(body) // 2], 200, media_type="application/json")
        return response

    # Tokens for client credentials.

    async def _token(self, request: Request) -> Response:
        body = (await request.body()).decode("utf-8", "replace")
        form = {key: values[0] for key, values in parse_qs(body).items()}
        fault = self.lab.faults.strike(self.name, "token")
        response = await self._respond(fault, lambda fault: self._grant(request, form, fault))
        # What stands in the form is secret.
        self.lab.note(self.name, "token", request.method, {"fields": sorted(form)}, response.status_code, fault)
        return response

    def _grant(self, request: Request, form: dict, fault: Fault | None) -> Response:
        auth, sent = self.profile["auth"], (form.get("client_id"), form.get("client_secret"))
        if auth.get("style") == "basic":
            sent = _basic(request.headers.get("authorization", ""))
        if request.headers.get("content-type") != "application/x-www-form-urlencoded":
            return json_answer({"error": "invalid_request"}, 400)
        if form.get("grant_type") != "client_credentials":
            return json_answer({"error": "unsupported_grant_type"}, 400)
        known = sent[0] == self.tokens.client_id and self.tokens.client_secret.fits(sent[1])
        if not known or (fault and fault.kind == "401"):
            return json_answer({"error": "invalid_client", "message": "Client authentication failed"}, 401)
        if form.get("scope") != auth.get("scope"):
            return json_answer({"error": "invalid_scope"}, 400)
        return json_answer(self.tokens.give())

    # Pages by number, newest records first.

    def _page(
        self, name: str, version: str, paging: dict, envelope: dict, asked: dict, fault: Fault | None
    ) -> Response:
        records = self._listed(name, version, asked)
        number = max(1, _number(asked.get(paging["page_param"]), 1) - paging["first"] + 1)
        default = min(paging.get("size", 10), self.lab.page_cap)
        size = min(max(1, _number(asked.get(paging.get("size_param", "")), default)), self.lab.page_cap)
        if not paging.get("last_page"):  # figures: one answer, whatever page is asked for
            number, size = 1, max(1, len(records))
        last = max(1, -(-len(records) // size))
        begin = (number - 1) * size
        page = records[begin : begin + size]
        if fault and page:
            page = self._disturb(fault, records, page, begin)
        total = {"total": len(records), "count": len(page), "per_page": size, "current_page": number}
        body = _place({}, envelope["items"][0], page)
        if name == "live_assets":
            body["data"]["total"] = sum(record["count"] for record in page)
        if envelope.get("success"):
            body[envelope["success"]] = True
            body[envelope.get("error", "message")] = ""
        for path in paging.get("last_page", [])[:1]:
            _place(body, path, last)
            block = body
            for key in path.split(".")[:-1]:
                block = block[key]
            block.update(total)
        if version != "v1":
            body["links"] = {"first": "?page=1", "last": f"?page={last}", "prev": None, "next": None}
            body["meta"] |= {"from": begin + 1 if page else None, "to": begin + len(page) or None, "links": []}
        return json_answer(body)

    def _listed(self, name: str, version: str, asked: dict) -> list[dict]:
        """All records that fit the filters, newest first, as they are now."""
        filters = {key[8:-1]: value for key, value in asked.items() if key.startswith("columns[")}
        relations = set(str(asked.get("with", "")).split(","))
        world, entry = self.lab.world, self.profile["sets"][name]
        of = str(asked.get((entry["tenant"].get("ask") or {}).get("param"), ""))
        key = (name, version, of, *sorted(relations), *sorted(filters.items()))
        if self._lists.get(key, (None,))[0] != world.version:
            if entry["tenant"].get("ask"):
                rows = self._figures(name, of)
            else:
                listed = world.listed(self.name, name)[:: -1 if entry["kind"] != "snapshot" else 1]
                rows = [
                    row if version == "v1" else second_version(name, company, row, relations) for company, row in listed
                ]
            rows = [row for row in rows if all(str(row.get(key)) == value for key, value in filters.items())]
            self._lists[key] = (world.version, rows)
        return self._lists[key][1]

    def _figures(self, name: str, of: str) -> list[dict]:
        """Figures of the company with the id ``of``; nothing about one that does not exist."""
        if not of or not self.lab.world.heeds_company_id:
            return self.lab.world.figures(name, None)
        owner = self._owner(of)
        return self.lab.world.figures(name, owner) if owner else []

    def _owner(self, identity: object) -> Company | None:
        return next((company for company in COMPANIES if company.ids[self.name] == identity), None)

    def _disturb(self, fault: Fault, records: list, page: list, begin: int) -> list:
        end = begin + len(page)
        if fault.kind == "repeat":
            return records[max(0, begin - fault.records) : begin] + page + page[:1]
        if fault.kind == "shuffle":
            return random.Random(begin).sample(page, len(page))
        if fault.kind == "swap" and end < len(records):
            # In the list itself: the next page must bring the one that this page lacks.
            records[end - 1], records[end] = records[end], records[end - 1]
            return records[begin:end]
        return page

    # Search: oldest records first, from a cursor on.

    def _search(self, name: str, paging: dict, envelope: dict, asked: dict, fault: Fault | None) -> Response:
        world = self.lab.world
        try:
            after = asked.get(paging["send"]) or [0, ""]
            after = (int(after[0]), str(after[1]))
            since = parse_time(asked[paging["from"]]) if asked.get(paging["from"]) else None
            size = min(max(1, _number(asked.get("size"), 100)), self.lab.page_cap)
        except (ValueError, IndexError, TypeError):
            return json_answer({"error": "bad_request"}, 400)
        levels, companies, ids = asked.get("levels"), asked.get("company_ids"), asked.get("ids")
        found: list[Record] = []
        for record in world.log(self.name, name, after, since):
            if levels and record.body["level"] not in levels:
                continue
            if companies and record.company.ids[self.name] not in companies:
                continue
            if ids is not None and record.id not in ids:
                continue
            found.append(record)
            if len(found) > size:  # one more than the page, for the fault that needs a neighbour
                break
        page, cursor = found[:size], found[:size][-1:]
        if fault and page:
            page, cursor = self._disturb_search(fault, name, found, page, since)
        inner = envelope.get("record")
        hits = []
        for record in page:
            body = world.body(record)
            hits.append({"sort": list(record.key), inner: body} if inner else {**body, "sort": list(record.key)})
        answer = _place({"total": len(hits)}, envelope["items"][0], hits)
        if cursor:
            answer[paging["send"]] = list(cursor[0].key)
        return json_answer(answer)

    def _disturb_search(
        self, fault: Fault, name: str, found: list[Record], page: list[Record], since: datetime | None
    ) -> tuple[list[Record], list[Record]]:
        """(hits, cursor). The cursor that an honest server gives is that of the last hit in its own order."""
        if fault.kind == "repeat":
            window = datetime.fromtimestamp(page[0].time / 1000, UTC) - timedelta(hours=6)
            before = list(self._until(name, max(window, since or window), page[0]))
            return before[-fault.records :] + page[:1] + page, page[-1:]
        if fault.kind == "shuffle":
            # Whatever comes last: the cursor must not pass what was not sent.
            shuffled = random.Random(page[0].time).sample(page[:-1], len(page) - 1)
            return [*shuffled, page[-1]], page[-1:]
        if fault.kind == "swap" and len(found) > len(page) > 1:
            return [found[len(page)], *page[:-1]], page[-2:-1]
        return page, page[-1:]

    def _until(self, name: str, since: datetime, end: Record) -> t.Iterator[Record]:
        for record in self.lab.world.log(self.name, name, since=since):
            if record.key >= end.key:
                return
            yield record

    # Scrolling: oldest records first, from an id on.

    def _scroll(
        self, name: str, entry: dict, paging: dict, envelope: dict, asked: dict, fault: Fault | None
    ) -> Response:
        owner = self._owner(asked.get((entry["tenant"].get("ask") or {}).get("path")))
        if owner is None or not owner.firewall:
            return json_answer({"error": "account_not_found"}, 404)
        records = [row for _company, row in self.lab.world.listed(self.name, name, owner)]
        id_of, begin = compile_paths(entry["id"]), 0
        after = asked.get(paging["send"])
        if after:
            ids = [str(dig(row, id_of)) for row in records]
            if after not in ids:
                return json_answer({"error": "bad_request"}, 400)
            begin = ids.index(after) + 1
        size = min(max(1, _number(asked.get("limit"), 100)), self.lab.page_cap)
        page = records[begin : begin + size]
        if fault and fault.kind == "repeat":
            page = records[max(0, begin - fault.records) : begin] + page
        elif fault and fault.kind == "shuffle" and page:
            # What comes last stays: from there the client goes on.
            page = [*random.Random(begin).sample(page[:-1], len(page) - 1), page[-1]]
        return json_answer(_place({}, envelope["items"][0], page))

    async def _one_alarm(self, request: Request) -> Response:
        asked = {"id": request.path_params["identity"]}

        def make(_fault: Fault | None) -> Response:
            world = self.lab.world
            for record in world.log(self.name, "logs"):
                if record.id == asked["id"]:
                    return json_answer(world.body(record))
            return json_answer({"error": "not_found"}, 404)

        return await self._answer(request, "logs", asked, make)

    async def _companies(self, request: Request) -> Response:
        rules = self.profile["companies"]

        def make(_fault: Fault | None) -> Response:
            rows = []
            for company in COMPANIES:
                flag = {rules["flag"]: company.subscribed} if rules.get("flag") else {}
                rows.append({rules["id"]: company.ids[self.name], rules["name"]: company.name, **flag})
            return json_answer(_place({}, rules["envelope"]["items"][0], rows))

        return await self._answer(request, "companies", dict(request.query_params), make)


def _basic(header: str) -> tuple[str, str]:
    """User and password of Basic authentication, both empty when the header has none."""
    scheme, _space, pair = header.partition(" ")
    try:
        user, _colon, password = base64.b64decode(pair if scheme == "Basic" else "").decode().partition(":")
    except ValueError:
        return "", ""
    return user, password


def _number(value: object, default: int) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return default


def _place(body: dict, path: str, value: object) -> dict:
    *parents, last = path.split(".")
    block = body
    for key in parents:
        block = block.setdefault(key, {})
    block[last] = value
    return body
