# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Elasticsearch on the official client: connection, bulk from ready bytes, pages in a stable order."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import random
import time
import typing as t

from .errors import AnswerError, AuthError, ConfigError, Unreachable
from .libraries import elasticsearch, need
from .secrets import excerpt, header_value, secret_option
from .trust import authority

BULK_TRIES = 8
# Level 9, as the client library has it, costs ten times as much and makes bodies a third smaller.
GZIP_LEVEL = 1
KEEP_ALIVE = "2m"
OVERLOADED = (429, 502, 503, 504)
# What the bulk API has to say about each line and no more: a tenth of the full answer.
BULK_FILTER = "errors,items.*.status,items.*.error.type,items.*.error.reason"


@dataclasses.dataclass
class BulkOutcome:
    """What became of the operations of one bulk call, in order: HTTP status and, for refusals, the reason of each.

    The status of what was taken is 200 or 201.
    """

    statuses: list[int]
    reasons: dict[int, str]


class Elastic:
    """One Elasticsearch, spoken to with one identity."""

    def __init__(
        self,
        client: t.Any,
        secrets: tuple[str, ...] = (),
        sleep: t.Callable[[float], None] = time.sleep,
        compress: bool = False,
    ) -> None:
        self.client, self._compress = client, compress
        self._secrets, self._sleep = secrets, sleep

    def call(self, name: str, /, **arguments: object) -> t.Any:
        """``client.<name>(**arguments)``, a dotted name reaching a namespace; errors become SocError."""
        target = self.client
        for part in name.split("."):
            target = getattr(target, part)
        try:
            return target(**arguments)
        except elasticsearch.ApiError as exc:
            raise self._api_error(exc) from None
        except elasticsearch.TransportError as exc:
            raise self._unreachable(exc) from None

    def bulk(self, payload: bytes) -> BulkOutcome:
        """Send ready bulk bytes (action and source lines), and say what became of each operation.

        Operations that Elasticsearch is too busy for (429, 503 per item), and calls that fail as a whole, are sent
        again with growing waits. Every operation must therefore bear repetition: ``create``, ``index`` with an
        external version, ``delete`` with ``if_seq_no``. Raises Unreachable when it stays too busy; what was
        accepted until then is safe to send again.
        """
        outcome = BulkOutcome([], {})
        pending: list[int] | None = None  # positions still to be sent; None is all of them
        lines: list[bytes] = []
        encoding = {"content-encoding": "gzip"} if self._compress else {}
        reason = "it is overloaded"
        for attempt in range(BULK_TRIES):
            if attempt:
                self._sleep(random.uniform(0.5, 1) * min(0.25 * 2**attempt, 20))
            try:
                answer = self.client.perform_request(
                    "POST",
                    "/_bulk",
                    params={"filter_path": BULK_FILTER},
                    headers={"accept": "application/json", "content-type": "application/x-ndjson", **encoding},
                    body=gzip.compress(payload, GZIP_LEVEL, mtime=0) if self._compress else payload,
                ).body
            except elasticsearch.ApiError as exc:
                if exc.status_code not in OVERLOADED:
                    raise self._api_error(exc) from None
                reason = f"status {exc.status_code}"
                continue
            except elasticsearch.TransportError as exc:
                if attempt >= 2:
                    raise self._unreachable(exc) from None
                continue
            if pending is None:
                # As nearly always. A delete of what is not there would be no error either; ours name a version, and are.
                if not answer["errors"]:
                    return BulkOutcome([200] * len(answer["items"]), {})
                pending = list(range(len(answer["items"])))
                outcome.statuses = [0] * len(pending)
            items = [next(iter(item.values())) for item in answer["items"]]
            busy = []
            for position, item in zip(pending, items):
                outcome.statuses[position] = item["status"]
                if item["status"] in OVERLOADED:
                    busy.append(position)
                elif "error" in item:
                    outcome.reasons[position] = f"{item['error'].get('type')}: {item['error'].get('reason')}"
            if not busy:
                return outcome
            lines = lines or split_operations(payload)
            pending, payload = busy, b"".join(lines[position] for position in busy)
        raise Unreachable(
            f"Elasticsearch did not take {len(pending or [])} operations after {BULK_TRIES} tries: {reason}. The next run sends them again."
        )

    def search(self, **search: object) -> t.Any:
        """One search that answers for every shard or raises: what is missing from an answer must not look absent."""
        answer = self.call("search", allow_partial_search_results=False, **search)
        if answer["timed_out"]:
            raise Unreachable("Elasticsearch did not finish a search in time. Run again later.")
        return answer

    @contextlib.contextmanager
    def point_in_time(self, index: str) -> t.Iterator[PointInTime]:
        """The documents of ``index`` (a pattern; what is missing is empty) as they are now, whatever is written meanwhile."""
        self.call("indices.refresh", index=index, ignore_unavailable=True)
        view = PointInTime(
            self, self.call("open_point_in_time", index=index, keep_alive=KEEP_ALIVE, ignore_unavailable=True)["id"]
        )
        try:
            yield view
        finally:
            self.call("close_point_in_time", id=view.id)

    def hits(
        self, index: str, *, query: dict, sort: list[dict], page: int = 1000, **search: object
    ) -> t.Iterator[dict]:
        """Every hit of ``query`` in ``index`` in the order of ``sort``, from one point in time. See PointInTime.hits."""
        with self.point_in_time(index) as view:
            yield from view.hits(query=query, sort=sort, page=page, **search)

    def _api_error(self, exc: t.Any) -> Exception:
        status = exc.status_code
        reason = excerpt(str(exc), self._secrets, 500)
        if status in (401, 403):
            return AuthError(
                f"Elasticsearch refused this identity: {reason}. Check the key or user and its privileges.",
                status=status,
            )
        if status in OVERLOADED:
            return Unreachable(f"Elasticsearch is not able to answer now: {reason}. Run again later.", status=status)
        return AnswerError(f"Elasticsearch refused the request: {reason}.", status=status)

    def _unreachable(self, exc: t.Any) -> Unreachable:
        # The text of the whole exception names every try, all with one cause.
        reason = excerpt(str(exc.message), self._secrets, 300)
        return Unreachable(
            f"Elasticsearch cannot be reached: {reason}. Check elasticsearch_url and elasticsearch_ca_path, and that it runs."
        )


class PointInTime:
    """A frozen view of some indices."""

    def __init__(self, elastic: Elastic, identity: str) -> None:
        self._elastic, self.id = elastic, identity

    def _search(self, **search: object) -> t.Any:
        answer = self._elastic.search(pit={"id": self.id, "keep_alive": KEEP_ALIVE}, **search)
        self.id = answer["pit_id"]
        return answer

    def count(self, query: dict) -> int:
        """How many documents match, exactly."""
        return self._search(query=query, size=0, track_total_hits=True)["hits"]["total"]["value"]

    def hits(self, *, query: dict, sort: list[dict], page: int = 1000, **search: object) -> t.Iterator[dict]:
        """Every hit in the order of ``sort``, read in pages. The sort must end in a unique key (``soc.id``)."""
        after: dict = {}
        while True:
            found = self._search(query=query, sort=sort, size=page, track_total_hits=False, **after, **search)["hits"][
                "hits"
            ]
            yield from found
            if len(found) < page:
                return
            after = {"search_after": found[-1]["sort"]}


def split_operations(payload: bytes) -> list[bytes]:
    """Bulk bytes as one piece an operation. A delete has no source line."""
    pieces: list[bytes] = []
    lines = iter(payload.splitlines(keepends=True))
    for line in lines:
        pieces.append(line if line.startswith(b'{"delete"') else line + next(lines))
    return pieces


def connect(params: dict) -> Elastic:
    """The Elasticsearch that a module's options name. Raises ConfigError, LibraryMissing."""
    need("elasticsearch", "orjson")
    url = params["elasticsearch_url"]
    if not url.startswith("https://"):
        raise ConfigError(f"elasticsearch_url is {url}: give an https address.")
    api_key = secret_option(params, "elasticsearch_api_key", "API key of Elasticsearch")
    password = secret_option(params, "elasticsearch_password", "password of Elasticsearch")
    if params["elasticsearch_username"] and not password:
        raise ConfigError("elasticsearch_username needs elasticsearch_password or elasticsearch_password_file.")
    if api_key:
        header_value(api_key, "API key of Elasticsearch")
    if params["elasticsearch_timeout"] <= 0:
        raise ConfigError(
            f"elasticsearch_timeout is {params['elasticsearch_timeout']}: give a number of seconds above 0."
        )
    identity = {"api_key": api_key} if api_key else {"basic_auth": (params["elasticsearch_username"], password)}
    try:
        client = elasticsearch.Elasticsearch(
            url,
            ca_certs=authority(params["elasticsearch_ca_path"], "elasticsearch_ca_path"),
            request_timeout=params["elasticsearch_timeout"],
            max_retries=2,
            retry_on_timeout=False,
            serializers={"application/json": elasticsearch.OrjsonSerializer()},
            **identity,
        )
    except (ValueError, OSError) as exc:
        raise ConfigError(f"Elasticsearch cannot be set up from these options: {exc}.") from exc
    return Elastic(
        client, tuple(filter(None, (api_key, password))), compress=params.get("elasticsearch_compress", False)
    )
