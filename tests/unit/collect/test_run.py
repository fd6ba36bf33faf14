# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Walks, shipping and the end of a list, against a vendor and an index that live in memory."""

from __future__ import annotations

import dataclasses
import json
import typing as t
from datetime import timedelta
from pathlib import Path

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._collect.journal import Journal
from ansible_collections.netcure.soc.plugins.module_utils._collect.normalise import Company
from ansible_collections.netcure.soc.plugins.module_utils._collect.ship import ship
from ansible_collections.netcure.soc.plugins.module_utils._collect.vendor import Directory, directory
from ansible_collections.netcure.soc.plugins.module_utils._collect.walk import Rules, Tally, collect_set
from ansible_collections.netcure.soc.plugins.module_utils._core.elastic import BulkOutcome
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import AnswerError, AuthError, Unreachable

RULES = Rules(
    look_back=timedelta(minutes=40),
    directory=Directory({}, None),
    provider=Company("provider", "Provider"),
    ask_again_for=timedelta(days=30),
)


class FakeHttp:
    """Answers in a fixed order; an exception is raised. ``calls`` holds what was asked."""

    def __init__(self, *answers: t.Any) -> None:
        self.answers, self.calls = list(answers), []

    def excerpt(self, text: str) -> str:
        return text

    def json(
        self, method: str, url: str, *, params: t.Any = None, body: t.Any = None, repeatable: t.Any = None
    ) -> t.Any:
        self.calls.append({"method": method, "url": url, "params": params, "body": json.loads(json.dumps(body))})
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def journal(tmp_path: Path) -> t.Iterator[Journal]:
    with Journal(str(tmp_path)) as opened:
        yield opened


def hits(alarm: dict, *ids: str, **fields: t.Any) -> dict:
    records = [{**alarm, "id": key, **fields} for key in ids]
    return {"hits": [{"sort": [1, record["id"]], "_source": record} for record in records]}


def numbered(*records: t.Any, page: int = 1, last: int | None = None) -> dict:
    meta = {} if last is None else {"meta": {"pagination": {"total_pages": last, "current_page": page}}}
    return {"success": True, "message": "", "data": list(records), **meta}


def probe(number: int, **fields: t.Any) -> dict:
    company = {"data": {"id": "c1", "name": "Acme NV"}}
    return {
        "id": f"p{number}",
        "name": "x",
        "status": "online",
        "updated_at": "2026-11-20 09:00:00",
        "company": company,
        **fields,
    }


class TestSearchAfter:
    def walk(self, journal: Journal, source: t.Any, http: FakeHttp, now: t.Any) -> Tally:
        only = dataclasses.replace(RULES, directory=Directory({"c1": "Acme NV"}, frozenset({"c1"})))
        return collect_set(journal, source, source.sets["logs"], http, lambda: now, only).tally

    def test_page_after_page_until_an_empty_one(
        self, journal: Journal, cyberalarm_source: t.Any, alarm: dict, now: t.Any
    ) -> None:
        http = FakeHttp(hits(alarm, "a", "b"), hits(alarm, "c"), hits(alarm))
        tally = self.walk(journal, cyberalarm_source, http, now)
        assert (tally.fetched, tally.new) == (3, 3)
        assert [call["body"].get("search_after") for call in http.calls] == [None, [1, "b"], [1, "c"]]
        assert http.calls[0]["body"]["company_ids"] == ["c1"]
        assert "from" not in http.calls[0]["body"]

    def test_the_next_run_starts_a_look_back_before_the_cursor(
        self, journal: Journal, cyberalarm_source: t.Any, alarm: dict, now: t.Any
    ) -> None:
        self.walk(journal, cyberalarm_source, FakeHttp(hits(alarm, "a"), hits(alarm)), now)
        http = FakeHttp(hits(alarm, "a"), hits(alarm, "late", timestamp="2026-11-20T08:40:00Z"), hits(alarm))
        tally = self.walk(journal, cyberalarm_source, http, now)
        assert http.calls[0]["body"]["from"] == "2026-11-20T08:34:03.000Z"
        assert (tally.new, tally.known) == (1, 1)
        assert tally.cursor_before == tally.cursor_after == "2026-11-20T09:14:03.000Z"

    def test_a_time_in_the_future_does_not_move_the_cursor(
        self, journal: Journal, cyberalarm_source: t.Any, alarm: dict, now: t.Any
    ) -> None:
        http = FakeHttp(hits(alarm, "a"), hits(alarm, "b", timestamp="2036-01-01T00:00:00Z"), hits(alarm))
        tally = self.walk(journal, cyberalarm_source, http, now)
        assert (tally.new, tally.cursor_after) == (2, "2026-11-20T09:14:03.000Z")

    def test_out_of_order_the_cursor_waits_for_the_end(
        self, journal: Journal, cyberalarm_source: t.Any, alarm: dict, now: t.Any
    ) -> None:
        mixed = hits(alarm, "a", timestamp="2026-11-19T00:00:00Z")
        mixed["hits"] += hits(alarm, "b", timestamp="2026-11-20T00:00:00Z")["hits"]
        mixed["hits"] += hits(alarm, "c", timestamp="2026-11-19T01:00:00Z")["hits"]
        with pytest.raises(Unreachable):
            self.walk(journal, cyberalarm_source, FakeHttp(mixed, Unreachable("gone")), now)
        assert journal.cursor("logs") is None
        tally = self.walk(journal, cyberalarm_source, FakeHttp(mixed, hits(alarm)), now)
        assert tally.cursor_after == "2026-11-20T00:00:00.000Z"

    def test_a_page_that_is_served_for_ever_ends_the_walk(
        self, journal: Journal, cyberalarm_source: t.Any, alarm: dict, now: t.Any
    ) -> None:
        http = FakeHttp(*[hits(alarm, "a", "b")] * 9)
        assert self.walk(journal, cyberalarm_source, http, now).new == 2
        assert len(http.calls) == 2

    def test_a_page_of_nothing_usable_does_not_end_it(
        self, journal: Journal, cyberalarm_source: t.Any, alarm: dict, now: t.Any
    ) -> None:
        for _again in range(2):
            http = FakeHttp(
                hits(alarm, "x", level=4),
                hits(alarm, "y", level=None),
                hits(alarm, "z", company=None),
                hits(alarm, "a"),
                hits(alarm),
            )
            tally = self.walk(journal, cyberalarm_source, http, now)
            assert (tally.fetched, tally.skipped, tally.malformed) == (4, 1, 2)
            assert len(http.calls) == 5
        assert journal.dead_letters() == 2
        assert tally.dead_letters == 0

    def test_a_fault_in_the_middle_keeps_what_came(
        self, journal: Journal, cyberalarm_source: t.Any, alarm: dict, now: t.Any
    ) -> None:
        with pytest.raises(Unreachable):
            self.walk(journal, cyberalarm_source, FakeHttp(hits(alarm, "a"), Unreachable("gone")), now)
        tally = self.walk(journal, cyberalarm_source, FakeHttp(hits(alarm, "a"), hits(alarm, "b"), hits(alarm)), now)
        assert (tally.new, tally.known) == (1, 1)

    @pytest.mark.parametrize(
        ("answer", "sentence"),
        [
            ({"hits": [{"id": "a"}]}, "gave no search_after"),
            ({"total": 3}, "no list of records where the profile says"),
            ([], "no list of records"),
        ],
    )
    def test_an_answer_of_another_shape_is_told(
        self, journal: Journal, cyberalarm_source: t.Any, now: t.Any, answer: t.Any, sentence: str
    ) -> None:
        with pytest.raises(AnswerError, match=sentence):
            self.walk(journal, cyberalarm_source, FakeHttp(answer), now)


class TestPages:
    def walk(self, journal: Journal, source: t.Any, http: FakeHttp, now: t.Any, name: str = "probes") -> Tally:
        return collect_set(journal, source, source.sets[name], http, lambda: now, RULES).tally

    def test_a_short_page_ends_nothing_and_the_counter_does(
        self, journal: Journal, guardian360_source: t.Any, now: t.Any
    ) -> None:
        http = FakeHttp(numbered(probe(1), last=2), numbered(probe(2), page=2, last=2))
        assert self.walk(journal, guardian360_source, http, now).new == 2
        assert [call["params"] for call in http.calls] == [{"rows": 100, "page": 1}, {"rows": 100, "page": 2}]

    def test_without_a_counter_an_empty_page_ends_it(
        self, journal: Journal, guardian360_source: t.Any, now: t.Any
    ) -> None:
        assert (
            self.walk(
                journal, guardian360_source, FakeHttp(numbered(probe(1)), numbered(probe(2)), numbered()), now
            ).new
            == 2
        )

    def test_every_variant_is_asked(self, journal: Journal, guardian360_source: t.Any, now: t.Any) -> None:
        alert = {
            "id": "ha1",
            "created_at": "2026-11-20 09:00:00",
            "company": {"id": "c1", "name": "Acme"},
            "acknowledged": 0,
        }
        http = FakeHttp(numbered(alert, last=1), numbered({**alert, "id": "ha2", "acknowledged": 1}, last=1))
        assert self.walk(journal, guardian360_source, http, now, "hacker_alerts").new == 2
        assert [call["params"]["columns[acknowledged]"] for call in http.calls] == [0, 1]

    def test_a_list_without_end_is_cut_and_told(self, journal: Journal, guardian360_source: t.Any, now: t.Any) -> None:
        guardian360_source.sets["probes"].paging["cap"] = 3
        http = FakeHttp(*[numbered(probe(number)) for number in range(9)])
        with pytest.raises(AnswerError, match="did not end after 3 pages; what came is kept"):
            self.walk(journal, guardian360_source, http, now)
        assert journal.waiting() == 3

    def test_a_refusal_inside_a_good_status(self, journal: Journal, guardian360_source: t.Any, now: t.Any) -> None:
        with pytest.raises(AnswerError, match="refused probes: no rights"):
            self.walk(journal, guardian360_source, FakeHttp({"success": False, "message": "no rights"}), now)

    def test_what_is_gone_from_a_complete_snapshot_is_marked(
        self, journal: Journal, guardian360_source: t.Any, now: t.Any
    ) -> None:
        self.walk(journal, guardian360_source, FakeHttp(numbered(probe(1), probe(2), last=1)), now)
        tally = self.walk(journal, guardian360_source, FakeHttp(numbered(probe(1), last=1)), now)
        assert (tally.vanished, tally.known) == (1, 1)
        assert self.walk(journal, guardian360_source, FakeHttp(numbered(probe(1), last=1)), now).vanished == 0
        tally = self.walk(journal, guardian360_source, FakeHttp(numbered(probe(1), probe(2), last=1)), now)
        assert (tally.changed, tally.vanished) == (1, 0)

    def test_an_incomplete_snapshot_marks_nothing(
        self, journal: Journal, guardian360_source: t.Any, now: t.Any
    ) -> None:
        self.walk(
            journal, guardian360_source, FakeHttp(numbered(probe(1), last=2), numbered(probe(2), page=2, last=2)), now
        )
        with pytest.raises(Unreachable):
            self.walk(journal, guardian360_source, FakeHttp(numbered(probe(1), last=2), Unreachable("gone")), now)
        # The server repeats page 1 where page 2 should be, though its counter says there is more.
        http = FakeHttp(numbered(probe(1), last=3), numbered(probe(1), page=2, last=3))
        assert self.walk(journal, guardian360_source, http, now).vanished == 0

    @pytest.mark.parametrize(
        "answers",
        [
            [numbered()],
            [numbered(probe(1), last=2), numbered(page=2, last=2)],
            [numbered(probe(1), probe(2, updated_at=None), last=1)],
        ],
        ids=["empty list", "empty page before the last", "unreadable record"],
    )
    def test_a_list_that_cannot_be_whole_marks_nothing(
        self, journal: Journal, guardian360_source: t.Any, now: t.Any, answers: list
    ) -> None:
        self.walk(journal, guardian360_source, FakeHttp(numbered(probe(1), probe(2), last=1)), now)
        assert self.walk(journal, guardian360_source, FakeHttp(*answers), now).vanished == 0

    def test_what_always_moves_makes_one_dead_letter(
        self, journal: Journal, guardian360_source: t.Any, now: t.Any
    ) -> None:
        for share in range(3):
            bad = probe(1, company=None, percentage_of_scheduled_time=share)
            self.walk(journal, guardian360_source, FakeHttp(numbered(bad, last=1)), now)
        assert journal.dead_letters() == 1

    def test_a_record_nested_too_deeply_is_a_dead_letter(
        self, journal: Journal, guardian360_source: t.Any, now: t.Any
    ) -> None:
        deep: dict = {}
        for _level in range(300):
            deep = {"a": deep}
        tally = self.walk(journal, guardian360_source, FakeHttp(numbered(probe(1, extra=deep), probe(2), last=1)), now)
        assert (tally.new, tally.malformed) == (1, 1)


def test_the_directory_of_companies(cyberalarm_source: t.Any, guardian360_source: t.Any) -> None:
    companies = [
        {"id": "c1", "name": "Acme NV", "subscribed": True},
        {"id": "c2", "name": "Beta", "subscribed": False},
        {"id": "c3"},
    ]
    found = directory(cyberalarm_source, FakeHttp({"data": companies}, {"data": companies}), {})
    assert (found.collected, found.names["c2"]) == ({"c1"}, "Beta")
    found = directory(guardian360_source, FakeHttp(numbered(*companies, last=1)), {})
    assert found.collected is None
    assert [about for about, _company in found.companies()] == ["c1", "c2", "c3"]
    with pytest.raises(AnswerError, match="lists no company with a subscription"):
        directory(cyberalarm_source, FakeHttp({"data": []}), {})


class FakeElastic:
    """Keeps documents by id as Elasticsearch does: create once, state by external version."""

    def __init__(self) -> None:
        self.documents: dict[str, tuple[int, dict]] = {}
        self.refuse: dict[str, tuple[int, str]] = {}

    def bulk(self, payload: bytes) -> BulkOutcome:
        outcome = BulkOutcome([], {})
        lines = [json.loads(line) for line in payload.splitlines()]
        for position, (action, source) in enumerate(zip(lines[::2], lines[1::2])):
            ((name, target),) = action.items()
            version, key = target.get("version", 1), target["_id"]
            if key in self.refuse:
                status, outcome.reasons[position] = self.refuse[key]
            elif key in self.documents and (name == "create" or version <= self.documents[key][0]):
                status = 409
            else:
                status = 200 if key in self.documents else 201
                self.documents[key] = (version, source)
            outcome.statuses.append(status)
        return outcome


class TestShip:
    @pytest.fixture
    def filled(self, journal: Journal, cyberalarm_source: t.Any, alarm: dict, now: t.Any) -> Journal:
        TestSearchAfter().walk(
            journal, cyberalarm_source, FakeHttp(hits(alarm, "a", "b"), hits(alarm, "c"), hits(alarm)), now
        )
        return journal

    def test_everything_once(self, filled: Journal, now: t.Any) -> None:
        elastic = FakeElastic()
        assert ship(filled, elastic, lambda: now).indexed == 3
        assert ship(filled, elastic, lambda: now).indexed == 0
        assert len(elastic.documents) == 3

    def test_a_lost_reply_costs_nothing(self, filled: Journal, now: t.Any) -> None:
        elastic = FakeElastic()

        def reach(point: str) -> None:
            if point == "bulk_ok_reply_lost":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            ship(filled, elastic, lambda: now, reach)
        result = ship(filled, elastic, lambda: now)
        assert (result.indexed, result.already) == (0, 3)
        assert filled.waiting() == 0

    def test_a_document_that_can_never_be_taken_does_not_block_the_others(
        self, filled: Journal, document: t.Callable, now: t.Any
    ) -> None:
        elastic = FakeElastic()
        elastic.refuse[document(id="b").id] = (400, "document_parsing_exception: failed to parse field [source.ip]")
        result = ship(filled, elastic, lambda: now)
        assert (result.indexed, result.refused, filled.waiting(), filled.dead_letters()) == (2, 1, 0, 1)

    @pytest.mark.parametrize(
        ("status", "kind"), [(400, AnswerError), (403, AuthError), (404, AnswerError), (507, Unreachable)]
    )
    def test_any_other_refusal_keeps_everything_waiting(
        self, filled: Journal, document: t.Callable, now: t.Any, status: int, kind: type
    ) -> None:
        elastic = FakeElastic()
        elastic.refuse[document(id="b").id] = (status, "validation_exception: maximum shards open")
        with pytest.raises(kind):
            ship(filled, elastic, lambda: now)
        assert filled.waiting() == 3
        elastic.refuse.clear()
        assert ship(filled, elastic, lambda: now).indexed == 1
        assert len(elastic.documents) == 3
