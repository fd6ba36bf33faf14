# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a vendor answers, as its source profile describes it: tokens, paging, envelopes, and the faults of a test."""

from __future__ import annotations

import asyncio
import hmac
import random
import secrets
import typing as t
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import orjson
from ansible_collections.netcure.soc.plugins.module_utils._core.clock import parse_time
from ansible_collections.netcure.soc.plugins.module_utils._core.state import atomic_write
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lab.companies import COMPANIES
from lab.faults import Fault
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


class Vendor:
    """One source: its data sets as routes, its credentials, its faults."""

    def __init__(self, lab: Simulators, profile: dict, api_key: bool) -> None:
        self.lab, self.profile, self.name = lab, profile, profile["source"]
        folder = lab.folder / "secrets"
        self.token = Secret(folder / f"{self.name}-token")
        self.api_key = Secret(folder / f"{self.name}-api-key") if api_key else None
        self._expired: str | None = None
        self._lists: dict[str, tuple] = {}

    def routes(self) -> list[Route]:
        found = [
            Route(f"/{self.name}{entry['path']}", self._endpoint(name, entry), methods=[entry.get("method", "GET")])
            for name, entry in self.profile["sets"].items()
        ]
        if self.profile.get("subscriptions"):
            found.append(Route(f"/{self.name}{self.profile['subscriptions']['path']}", self._subscriptions))
        if self.name == "cyberalarm":
            # Contract of the re-check of one alarm; the profile has no word for it.
            found.append(Route("/cyberalarm/api/v1/logs/{identity}", self._one_alarm))
        return found

    def _endpoint(self, name: str, entry: dict) -> t.Callable:
        paging = {**self.profile["paging"], **entry.get("paging", {})}
        envelope = {**self.profile["envelope"], **entry.get("envelope", {})}
        page = self._search if paging["style"] == "search_after" else self._page

        async def endpoint(request: Request) -> Response:
            asked = await self._asked(request)
            return await self._answer(request, name, asked, lambda fault: page(name, paging, envelope, asked, fault))

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
        response = await self._respond(request, fault, make)
        self.lab.note(self.name, name, request.method, asked, response.status_code, fault)
        return response

    async def _respond(self, request: Request, fault: Fault | None, make: t.Callable) -> Response:
        kind = fault.kind if fault else None
        if kind == "expire":
            self._expired = self.token.value
        scheme, _space, given = request.headers.get("authorization", "").partition(" ")
        if kind == "401" or scheme != "Bearer" or not self.token.fits(given) or given == self._expired:
            return json_answer({"error": "unauthorized"}, 401)
        if self.api_key and not self.api_key.fits(request.headers.get(self.profile["api_key_header"])):
            return json_answer({"error": "invalid_api_key"}, 401)
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

    # Pages by number, newest records first.

    def _page(self, name: str, paging: dict, envelope: dict, asked: dict, fault: Fault | None) -> Response:
        records = self._listed(name, asked)
        number = max(1, _number(asked.get(paging["page_param"]), 1) - paging["first"] + 1)
        default = min(paging.get("size", 10), self.lab.page_cap)
        size = min(max(1, _number(asked.get(paging.get("size_param", "")), default)), self.lab.page_cap)
        last = max(1, -(-len(records) // size))
        begin = (number - 1) * size
        page = records[begin : begin + size]
        if fault and page:
            page = self._disturb(fault, records, page, begin)
        total = {"total": len(records), "count": len(page), "per_page": size, "current_page": number}
        body = _place({}, envelope["items"][0], page)
        if envelope.get("success"):
            body[envelope["success"]] = True
            body[envelope.get("error", "message")] = ""
        for path in paging.get("last_page", [])[:1]:
            _place(body, path, last)
            block = body
            for key in path.split(".")[:-1]:
                block = block[key]
            block.update(total)
        return json_answer(body)

    def _listed(self, name: str, asked: dict) -> list[dict]:
        """All records that fit the filters, newest first, as they are now."""
        filters = {key[8:-1]: value for key, value in asked.items() if key.startswith("columns[")}
        state = (self.lab.world.version, tuple(sorted(filters.items())))
        if self._lists.get(name, (None,))[0] != state:
            world = self.lab.world
            if self.profile["sets"][name]["kind"] == "snapshot":
                rows = [body for _company, body in world.probes(self.name)]
            else:
                rows = [world.body(record) for record in world.log(self.name, name)][::-1]
            rows = [row for row in rows if all(str(row.get(key)) == value for key, value in filters.items())]
            self._lists[name] = (state, rows)
        return self._lists[name][1]

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
        levels, companies = asked.get("levels"), asked.get("company_ids")
        found: list[Record] = []
        for record in world.log(self.name, name, after, since):
            if levels and record.body["level"] not in levels:
                continue
            if companies and record.company.ids[self.name] not in companies:
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

    async def _one_alarm(self, request: Request) -> Response:
        asked = {"id": request.path_params["identity"]}

        def make(_fault: Fault | None) -> Response:
            world = self.lab.world
            for record in world.log(self.name, "logs"):
                if record.id == asked["id"]:
                    return json_answer(world.body(record))
            return json_answer({"error": "not_found"}, 404)

        return await self._answer(request, "logs", asked, make)

    async def _subscriptions(self, request: Request) -> Response:
        rules = self.profile["subscriptions"]

        def make(_fault: Fault | None) -> Response:
            rows = [
                {rules["id"]: company.ids[self.name], "name": company.name, rules["flag"]: company.subscribed}
                for company in COMPANIES
            ]
            return json_answer(_place({}, rules["envelope"]["items"][0], rows))

        return await self._answer(request, "subscriptions", dict(request.query_params), make)


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
