# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""soc_doctor against vendors, an Elasticsearch and a machine that live in memory, healthy and each with one fault."""

from __future__ import annotations

import dataclasses
import sqlite3
import typing as t
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import orjson
import pytest
import requests
from ansible_collections.netcure.soc.plugins.module_utils._collect import doctor
from ansible_collections.netcure.soc.plugins.module_utils._collect.claims import (
    FAIL,
    OK,
    UNKNOWN,
    WARN,
    Finding,
    Reply,
    SetLook,
    assumptions,
    coverage,
    judge_set,
)
from ansible_collections.netcure.soc.plugins.module_utils._collect.diagnosis import (
    Certificate,
    Facts,
    FilesLook,
    JournalLook,
    judge,
    table,
)
from ansible_collections.netcure.soc.plugins.module_utils._collect.ecs import FIELDS
from ansible_collections.netcure.soc.plugins.module_utils._collect.journal import SCHEMA
from ansible_collections.netcure.soc.plugins.module_utils._collect.profile import Source, load, merge
from ansible_collections.netcure.soc.plugins.module_utils._core.elastic import Elastic
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import (
    AnswerError,
    AuthError,
    ConfigError,
    SocError,
    Unreachable,
)
from ansible_collections.netcure.soc.plugins.module_utils._core.module import Run
from ansible_collections.netcure.soc.plugins.module_utils._core.rest import Http, Seen

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
COMPANY = {"id": "c1", "name": "Acme NV"}
Answer = t.Any  # JSON, (status, bytes), or an exception


def fail(error: SocError) -> t.NoReturn:
    raise error


def alarm(number: int, **fields: t.Any) -> dict:
    """An alarm of CyberAlarm, ``number`` minutes after ten o'clock."""
    return {
        "id": f"al-{number:02}",
        "timestamp": f"2026-11-20T10:{number:02}:00.000Z",
        "level": 1,
        "category": "malware",
        "signature": "ET TROJAN",
        "signature_id": 2024217,
        "description": "beacon",
        "company": COMPANY,
        "probe": {"id": "p7", "name": "acme-core"},
        "src_ip": "10.0.0.66",
        "src_port": 51322,
        "dst_ip": "203.0.113.7",
        "dst_port": 443,
        "protocol": "tcp",
        "count": 1,
        "reviewed": False,
        "reviewed_by": None,
        **fields,
    }


class CyberAlarm:
    """A vendor that does all that the profile says. A test changes its records, or what it heeds."""

    def __init__(self) -> None:
        self.alarms = [alarm(number) for number in range(40)]
        self.heeds = {"ids", "from", "search_after"}
        self.calls: list[dict] = []
        self.companies: Answer = {"data": [{"id": "c1", "name": "Acme NV", "subscribed": True}]}
        self.answer: t.Callable[[dict], Answer] | None = None
        self.clock = NOW

    def excerpt(self, content: bytes | str) -> str:
        return (content if isinstance(content, str) else content.decode())[:200]

    def look(self, method: str, url: str, *, params: t.Any = None, body: t.Any = None) -> Seen:
        asked = params if method == "GET" else body
        self.calls.append({"method": method, "path": url.removeprefix("https://vendor.example"), **asked})
        answer = self.companies if url.endswith("/companies") else (self.answer or self.search)(asked)
        if isinstance(answer, SocError):
            fail(answer)
        status, content = answer if isinstance(answer, tuple) else (200, orjson.dumps(answer))
        return Seen(status, {"Date": format_datetime(self.clock, usegmt=True)}, content, 0.2)

    def search(self, asked: dict) -> Answer:
        found = self.alarms
        if "ids" in asked and "ids" in self.heeds:
            found = [record for record in found if record["id"] in asked["ids"]]
        if "from" in asked and "from" in self.heeds:
            found = [record for record in found if record["timestamp"] >= asked["from"]]
        if "search_after" in asked and "search_after" in self.heeds:
            found = [record for record in found if record["timestamp"] > asked["search_after"][0]]
        hits = [{"sort": [record["timestamp"], record["id"]], "_source": record} for record in found[: asked["size"]]]
        return {"total": len(hits), "hits": hits}


@pytest.fixture
def vendor() -> CyberAlarm:
    return CyberAlarm()


@pytest.fixture
def logs(cyberalarm_source: Source, vendor: CyberAlarm) -> t.Callable[[], SetLook]:
    source = dataclasses.replace(cyberalarm_source, base_url="https://vendor.example")

    def look() -> SetLook:
        _reply, known = doctor.ask_companies(source, t.cast(Http, vendor), lambda: NOW, {})
        return doctor.ask_set(source, source.sets["logs"], t.cast(Http, vendor), lambda: NOW, known)

    return look


def verdicts(look: SetLook) -> dict[str, str]:
    return {finding.check: finding.verdict for finding in judge_set(look)}


def sentence(look: SetLook, check: str) -> str:
    (found,) = [finding.sentence for finding in judge_set(look) if finding.check == check]
    return found


class TestSearchedSet:
    def test_a_good_vendor_confirms_everything(self, logs: t.Callable[[], SetLook], vendor: CyberAlarm) -> None:
        look = logs()
        assert set(verdicts(look).values()) == {OK}, judge_set(look)
        assert set(assumptions(look).values()) == {"confirmed"}
        assert {"answer", "id", "company", "time", "level", "cursor", "paging", "order", "from", "ids"} <= set(
            assumptions(look)
        )
        assert coverage(look)["source.ip"] == 100
        assert coverage(look)["soc.reviewed_by"] == 0

    def test_it_asks_for_small_pages_of_the_companies_with_a_subscription(
        self, logs: t.Callable[[], SetLook], vendor: CyberAlarm
    ) -> None:
        logs()
        searches = [call for call in vendor.calls if call["method"] == "POST"]
        assert len(vendor.calls) <= 5
        assert {call["size"] for call in searches} == {25}
        assert all(call["company_ids"] == ["c1"] and call["levels"] == [1, 2, 3] for call in searches)
        assert searches[0]["from"] == "2026-11-13T12:00:00.000Z"
        assert [call["ids"] for call in searches if "ids" in call] == [["al-24"]]

    def test_a_vendor_that_ignores_ids(self, logs: t.Callable[[], SetLook], vendor: CyberAlarm) -> None:
        vendor.heeds.remove("ids")
        look = logs()
        assert (verdicts(look)["ids"], assumptions(look)["ids"]) == (FAIL, "refuted")
        assert "Reviews would be missed" in sentence(look, "ids")
        assert verdicts(look)["assumed"] == WARN and "refuted: ids" in sentence(look, "assumed")

    def test_a_record_that_is_not_found_by_its_id(self, logs: t.Callable[[], SetLook], vendor: CyberAlarm) -> None:
        vendor.answer = lambda asked: {"hits": []} if "ids" in asked else vendor.search(asked)
        assert verdicts(logs())["ids"] == FAIL

    def test_one_record_does_not_show_that_ids_are_heeded(
        self, logs: t.Callable[[], SetLook], vendor: CyberAlarm
    ) -> None:
        vendor.alarms = vendor.alarms[:1]
        assert verdicts(logs())["ids"] == UNKNOWN
        assert verdicts(logs())["order"] == UNKNOWN
        vendor.alarms = [alarm(1), alarm(2)]
        assert verdicts(logs())["ids"] == OK
        assert verdicts(logs())["order"] == OK

    def test_a_vendor_that_ignores_search_after(self, logs: t.Callable[[], SetLook], vendor: CyberAlarm) -> None:
        vendor.heeds.remove("search_after")
        assert verdicts(logs())["paging"] == FAIL

    def test_a_cursor_without_a_tiebreaker(self, logs: t.Callable[[], SetLook], vendor: CyberAlarm) -> None:
        def overlap(asked: dict) -> Answer:
            after = asked.get("search_after")
            return vendor.search({**asked, "search_after": ["2026-11-20T10:20"]} if after else asked)

        vendor.answer = overlap
        look = logs()
        assert verdicts(look)["paging"] == WARN
        assert "5 of 20 records" in sentence(look, "paging")

    def test_a_page_without_a_cursor(self, logs: t.Callable[[], SetLook], vendor: CyberAlarm) -> None:
        vendor.answer = lambda asked: {"hits": vendor.alarms[: asked["size"]]}
        assert verdicts(logs())["cursor"] == FAIL

    def test_another_order(self, logs: t.Callable[[], SetLook], vendor: CyberAlarm) -> None:
        vendor.alarms.reverse()
        assert verdicts(logs())["order"] == WARN

    def test_a_vendor_that_ignores_from(self, logs: t.Callable[[], SetLook], vendor: CyberAlarm) -> None:
        vendor.alarms.insert(0, alarm(0, id="old", timestamp="2026-10-01T00:00:00Z"))
        assert verdicts(logs())["from"] == OK
        vendor.heeds.remove("from")
        assert verdicts(logs())["from"] == WARN

    def test_without_recent_records_older_ones_are_looked_at(
        self, logs: t.Callable[[], SetLook], vendor: CyberAlarm
    ) -> None:
        vendor.alarms = [alarm(number, timestamp=f"2026-10-01T00:{number:02}:00Z") for number in range(30)]
        look = logs()
        assert look.since is None and "from" not in verdicts(look)
        assert verdicts(look)["id"] == OK

    def test_a_renamed_field(self, logs: t.Callable[[], SetLook], vendor: CyberAlarm) -> None:
        for record in vendor.alarms:
            record["source_address\x1b[31m"] = record.pop("src_ip")
        look = logs()
        assert verdicts(look)["mapping"] == WARN
        told = sentence(look, "mapping")
        assert "No record knows source.ip (src_ip)" in told and "Not mapped: source_address [31m." in told
        assert "reviewed_by" not in told  # it is there, and empty
        assert coverage(look)["source.ip"] == 0

    def test_fields_that_are_mapped_are_not_called_unmapped(
        self, logs: t.Callable[[], SetLook], vendor: CyberAlarm
    ) -> None:
        assert "Not mapped" not in sentence(logs(), "mapping")

    def test_values_that_do_not_fit(self, logs: t.Callable[[], SetLook], vendor: CyberAlarm) -> None:
        vendor.alarms[3]["src_ip"] = "n/a <script>"
        look = logs()
        assert verdicts(look)["types"] == WARN
        vendor.alarms[4]["dst_ip"] = ["10.0.0.1", "10.0.0.2"]  # every field may hold a list of its type
        vendor.alarms[5]["dst_ip"] = ["10.0.0.1", "x"]
        assert "source.ip (1 of 25), destination.ip (1 of 25)" in sentence(logs(), "types")
        assert "source.ip (1 of 25)" in sentence(look, "types") and "script" not in sentence(look, "types")

    @pytest.mark.parametrize(
        ("field", "check"), [("id", "id"), ("company", "company"), ("timestamp", "time"), ("level", "level")]
    )
    def test_records_that_lack_what_they_must_have(
        self, logs: t.Callable[[], SetLook], vendor: CyberAlarm, field: str, check: str
    ) -> None:
        broken = alarm(30)
        del broken[field]
        vendor.answer = lambda asked: {"hits": [{"sort": [1], "_source": row} for row in [alarm(1), broken, broken]]}
        assert verdicts(logs())[check] == WARN
        assert "2 of 3 records have no usable" in sentence(logs(), check)
        vendor.answer = lambda asked: {"hits": [{"sort": [1], "_source": broken}]}
        assert verdicts(logs())[check] == FAIL

    def test_an_empty_list_tells_nothing_of_records(self, logs: t.Callable[[], SetLook], vendor: CyberAlarm) -> None:
        vendor.alarms = []
        look = logs()
        assert verdicts(look) == {"answer": OK, "list": OK, "records": UNKNOWN, "assumed": UNKNOWN}
        assert assumptions(look)["records"] == "unknown"

    @pytest.mark.parametrize(
        ("answer", "verdict", "words"),
        [
            ((404, b"<html>"), FAIL, "no such path"),
            ((500, b"oops"), FAIL, "status 500: oops"),
            ((302, b""), FAIL, "sends us elsewhere"),
            ((429, b""), UNKNOWN, "fewer calls"),
            ((401, b""), UNKNOWN, "refused (401)"),
            ((403, b""), UNKNOWN, "refused (403)"),
            ((200, b"<title>Maintenance"), FAIL, "not JSON"),
            (Unreachable("The line is dead."), FAIL, "The line is dead."),
        ],
    )
    def test_answers_that_are_none(
        self, logs: t.Callable[[], SetLook], vendor: CyberAlarm, answer: Answer, verdict: str, words: str
    ) -> None:
        vendor.answer = lambda _asked: answer
        look = logs()
        assert verdicts(look)["answer"] == verdict
        assert words in sentence(look, "answer")
        assert set(verdicts(look)) == {"answer", "assumed"}
        assert assumptions(look) == {"answer": "refuted" if verdict == FAIL else "unknown"}

    def test_a_list_that_is_elsewhere(self, logs: t.Callable[[], SetLook], vendor: CyberAlarm) -> None:
        vendor.answer = lambda _asked: {"results": [alarm(1)]}
        look = logs()
        assert verdicts(look)["list"] == FAIL and assumptions(look)["list"] == "refuted"
        assert "a list under results" in sentence(look, "answer")

    def test_a_slow_answer(self, logs: t.Callable[[], SetLook]) -> None:
        look = logs()
        slow = dataclasses.replace(look, first=(dataclasses.replace(look.first[0], seconds=12.0),))
        assert verdicts(slow)["answer"] == WARN
        assert verdicts(slow)["ids"] == OK


def entry(number: int, **fields: t.Any) -> dict:
    """A hacker alert of Guardian360; the higher the number, the newer."""
    return {
        "id": f"ha{number}",
        "created_at": f"2026-11-20 09:{number:02}:00",
        "updated_at": "2026-11-20 09:00:00",
        "company": {"data": COMPANY},
        "message": "login on decoy",
        "source_ip": "10.0.0.66",
        "acknowledged": 0,
        "appliance": {"name": "canary"},
        **fields,
    }


class Guardian360(CyberAlarm):
    """Pages by number, newest first; statistics for one company."""

    def __init__(self) -> None:
        super().__init__()
        self.alarms = [entry(number, acknowledged=number % 2) for number in range(59, 0, -1)]
        self.heeds = {"page", "columns", "company_id"}
        self.companies = {"success": True, "data": [{"id": "c1", "name": "Acme NV"}]}
        self.counter = True

    def search(self, asked: dict) -> Answer:
        found = self.alarms
        state = asked.get("columns[acknowledged]")
        if state is not None and "columns" in self.heeds:
            found = [record for record in found if record["acknowledged"] == state]
        if "company_id" in asked and "company_id" in self.heeds:
            found = [{"date": "2026-11-01", "critical": 1}] if asked["company_id"] == "c1" else []
        size, page = asked["rows"], asked["page"] if "page" in self.heeds else 1
        meta = {"meta": {"pagination": {"total_pages": -(-len(found) // size)}}} if self.counter else {}
        return {"success": True, "message": "", "data": found[(page - 1) * size : page * size], **meta}


@pytest.fixture
def lighthouse() -> Guardian360:
    return Guardian360()


@pytest.fixture
def listed(guardian360_source: Source, lighthouse: Guardian360) -> t.Callable[..., SetLook]:
    source = dataclasses.replace(guardian360_source, base_url="https://vendor.example")

    def look(name: str = "hacker_alerts", companies: bool = True) -> SetLook:
        _reply, known = doctor.ask_companies(source, t.cast(Http, lighthouse), lambda: NOW, {})
        known = known if companies else ()
        return doctor.ask_set(source, source.sets[name], t.cast(Http, lighthouse), lambda: NOW, known)

    return look


class TestListedSet:
    def test_a_good_vendor(self, listed: t.Callable[..., SetLook], lighthouse: Guardian360) -> None:
        found = verdicts(listed())
        assert found.pop("mapping") == WARN  # these alerts have few fields
        assert found.pop("assumed") == WARN
        assert set(found.values()) == {OK}, found
        assert {"counter", "paging", "order", "filter"} <= set(found)
        assert {call.get("rows") for call in lighthouse.calls} == {25}
        assert [call["columns[acknowledged]"] for call in lighthouse.calls[1:]] == [0, 1, 0]

    def test_a_page_number_that_is_not_heeded(self, listed: t.Callable[..., SetLook], lighthouse: Guardian360) -> None:
        lighthouse.heeds.remove("page")
        assert verdicts(listed())["paging"] == FAIL

    def test_one_page_is_not_asked_for_a_second(
        self, listed: t.Callable[..., SetLook], lighthouse: Guardian360
    ) -> None:
        lighthouse.alarms = lighthouse.alarms[:40]  # twenty of each kind
        assert "paging" not in verdicts(listed())
        assert all(call.get("page") == 1 for call in lighthouse.calls)

    def test_a_list_without_a_counter(self, listed: t.Callable[..., SetLook], lighthouse: Guardian360) -> None:
        lighthouse.counter = False
        found = verdicts(listed())
        assert (found["counter"], found["paging"]) == (WARN, OK)

    def test_a_vendor_that_lists_the_oldest_first(
        self, listed: t.Callable[..., SetLook], lighthouse: Guardian360
    ) -> None:
        lighthouse.alarms.reverse()
        look = listed()
        assert verdicts(look)["order"] == FAIL and assumptions(look)["order"] == "refuted"
        assert "newest_first: false" in sentence(look, "order")

    def test_a_filter_that_is_not_heeded(self, listed: t.Callable[..., SetLook], lighthouse: Guardian360) -> None:
        lighthouse.heeds.remove("columns")
        lighthouse.alarms = [entry(number, acknowledged=1) for number in range(20, 0, -1)]
        look = listed()
        found = [(finding.verdict, finding.sentence) for finding in judge_set(look) if finding.check == "filter"]
        assert [verdict for verdict, _words in found] == [WARN, OK]
        assert "20 of 20 records are not what columns[acknowledged]=0 asked for" in found[0][1]
        assert assumptions(look)["filter"] == "refuted"  # whatever the other list shows
        assert sentence(look, "assumed").count("filter") == 1

    def test_an_answer_that_says_that_it_failed(
        self, listed: t.Callable[..., SetLook], lighthouse: Guardian360
    ) -> None:
        lighthouse.answer = lambda _asked: {"success": False, "message": "no", "data": []}
        assert verdicts(listed())["list"] == FAIL

    def test_statistics_are_asked_for_by_company(
        self, listed: t.Callable[..., SetLook], lighthouse: Guardian360
    ) -> None:
        look = listed("risk_trend")
        assert verdicts(look)["company filter"] == OK
        assert [call["company_id"] for call in lighthouse.calls[1:]] == ["c1", "soc-no-such-company"]

    def test_a_vendor_that_does_not_heed_the_company(
        self, listed: t.Callable[..., SetLook], lighthouse: Guardian360
    ) -> None:
        lighthouse.heeds.remove("company_id")
        lighthouse.alarms = [{"date": "2026-11-01", "critical": 1}]
        look = listed("risk_trend")
        assert (verdicts(look)["company filter"], assumptions(look)["company filter"]) == (WARN, "refuted")

    def test_a_vendor_that_refuses_an_unknown_company_heeds_it(
        self, listed: t.Callable[..., SetLook], lighthouse: Guardian360
    ) -> None:
        lighthouse.answer = lambda asked: (
            (404, b"") if "nobody" in str(asked) or "such" in str(asked) else lighthouse.search(asked)
        )
        assert verdicts(listed("risk_trend"))["company filter"] == OK
        lighthouse.answer = lambda asked: (500, b"") if "such" in str(asked) else lighthouse.search(asked)
        assert verdicts(listed("risk_trend"))["company filter"] == UNKNOWN

    def test_without_a_company_there_is_nothing_to_ask(
        self, listed: t.Callable[..., SetLook], lighthouse: Guardian360
    ) -> None:
        look = listed("risk_trend", companies=False)
        assert verdicts(look) == {"answer": UNKNOWN, "assumed": UNKNOWN}
        assert [call["path"] for call in lighthouse.calls] == ["/api/v1/companies"]


def test_an_account_goes_into_the_path_and_one_record_is_asked_for_by_its_own(
    cyberalarm_source: Source, vendor: CyberAlarm
) -> None:
    profile = {
        "source": "x",
        "base_url": "https://vendor.example",
        "api_key_header": "Key",
        "companies": {"option": "accounts"},
        "sets": {
            "incidents": {
                "path": "/rest/{account}/incidents",
                "paging": {
                    "style": "search_after",
                    "send": "start_after",
                    "cursor": ["items[-1].id"],
                    "size_param": "limit",
                    "size": 100,
                    "cap": 10,
                },
                "envelope": {"items": ["items"]},
                "kind": "state",
                "id": "id",
                "time": "at",
                "tenant": {"ask": {"path": "account"}},
                "ask_again": {"by": "get", "path": "/rest/incident/{id}"},
                "ecs": {"message": "text"},
            }
        },
    }
    source = load(profile)
    rows = [{"id": f"a/{number}", "at": f"2026-11-20T10:{number:02}:00Z", "text": "x"} for number in range(3)]

    def answer(_asked: dict) -> Answer:
        path = vendor.calls[-1]["path"]
        if path.startswith("/rest/incident/"):
            return rows[2] if path == "/rest/incident/a%2F2" else (404, b"")
        return {"items": [] if "start_after" in vendor.calls[-1] else rows}

    vendor.answer = answer
    _none, known = doctor.ask_companies(
        source, t.cast(Http, vendor), lambda: NOW, {"ACC-1/2": {"id": "c", "name": "C"}}
    )
    look = doctor.ask_set(source, source.sets["incidents"], t.cast(Http, vendor), lambda: NOW, known)
    assert {call["path"] for call in vendor.calls} == {"/rest/ACC-1%2F2/incidents", "/rest/incident/a%2F2"}
    assert vendor.calls[0]["limit"] == 25
    assert set(verdicts(look).values()) == {OK}, judge_set(look)
    rows[2] = {**rows[2], "id": "other"}
    look = dataclasses.replace(look, by_id=Reply(200, answer={"id": "other"}))
    assert verdicts(look)["ids"] == FAIL


def facts(source: Source, *replies: Reply, **changes: t.Any) -> Facts:
    sets = [dataclasses.replace(source.sets["logs"], name=f"set{number}") for number in range(len(replies))]
    looks = tuple(SetLook(data_set, (reply,)) for data_set, reply in zip(sets, replies))
    return Facts(NOW, "cyberalarm", timedelta(minutes=40), looks, **changes)


def about(found: list[Finding], check: str) -> list[tuple[str, str]]:
    return [(finding.verdict, finding.sentence) for finding in found if finding.check == check]


GOOD = Reply(200, answer={"hits": []}, skew=2.0)


class TestVendorAsAWhole:
    def test_good_credentials(self, cyberalarm_source: Source) -> None:
        assert about(judge(facts(cyberalarm_source, GOOD)), "token")[0][0] == OK

    def test_a_token_that_is_not_known_and_one_that_may_not(self, cyberalarm_source: Source) -> None:
        found = about(judge(facts(cyberalarm_source, GOOD, Reply(401), Reply(403))), "token")
        assert [verdict for verdict, _words in found] == [FAIL, FAIL]
        assert "401 for set1" in found[0][1] and "may not read set2 (403)" in found[1][1]

    def test_a_vendor_out_of_reach_is_told_once(self, cyberalarm_source: Source) -> None:
        dead = Reply(None, "The line is dead.")
        found = [finding for finding in judge(facts(cyberalarm_source, dead, dead)) if finding.what == "cyberalarm"]
        assert [(finding.check, finding.verdict) for finding in found] == [("answer", FAIL), ("clock", UNKNOWN)]

    @pytest.mark.parametrize(("skew", "verdict"), [(30.0, OK), (-30.0, OK), (31.0, WARN), (-31.0, WARN)])
    def test_clocks(self, cyberalarm_source: Source, skew: float, verdict: str) -> None:
        found = about(judge(facts(cyberalarm_source, dataclasses.replace(GOOD, skew=skew))), "clock")
        assert found[0][0] == verdict
        if verdict == WARN:
            assert ("ahead of" if skew > 0 else "behind") in found[0][1]

    @pytest.mark.parametrize(("days", "verdict"), [(-1, FAIL), (20, WARN), (22, OK)])
    def test_certificates(self, cyberalarm_source: Source, days: int, verdict: str) -> None:
        entries = (Certificate("cyberalarm", NOW + timedelta(days=days)), Certificate("elasticsearch", None, "No."))
        found = about(judge(facts(cyberalarm_source, certificates=entries)), "certificate")
        assert [entry[0] for entry in found] == [verdict, UNKNOWN]

    def test_the_list_of_companies(self, cyberalarm_source: Source, vendor: CyberAlarm) -> None:
        def judged() -> dict[str, str]:
            seen, _known = doctor.ask_companies(cyberalarm_source, t.cast(Http, vendor), lambda: NOW, {})
            found = judge(facts(cyberalarm_source, companies=seen))
            return {finding.check: finding.verdict for finding in found if finding.what == "list of companies"}

        assert judged() == {"answer": OK, "id": OK, "name": OK, "flag": OK}
        vendor.companies = {"data": [{"id": "c1", "title": "Acme NV", "subscribed": False}]}
        assert judged() == {"answer": OK, "id": OK, "name": FAIL, "flag": OK}
        vendor.companies = {"rows": []}
        assert judged() == {"answer": OK, "list": FAIL}
        vendor.companies = (404, b"")
        assert judged() == {"answer": FAIL}

    def test_only_companies_with_a_subscription_are_asked_about(
        self, cyberalarm_source: Source, vendor: CyberAlarm
    ) -> None:
        rows = [{"id": "c1", "name": "A", "subscribed": False}, {"id": 7, "name": "B", "subscribed": 1}, {"name": "C"}]
        vendor.companies = {"data": rows}
        _seen, known = doctor.ask_companies(cyberalarm_source, t.cast(Http, vendor), lambda: NOW, {})
        assert [company.id for company in known] == ["7"]


class FakeElastic:
    """Answers to the calls that soc_doctor makes; an exception is raised."""

    def __init__(self, **answers: t.Any) -> None:
        allowed = {"create_index": True, "index": True, "delete": False}
        properties: dict = {}
        for name, kind in FIELDS.items():
            *parents, last = name.split(".")
            place = properties
            for parent in parents:
                place = place.setdefault(parent, {"properties": {}})["properties"]
            place[last] = {"type": kind}
        template = {"component_template": {"template": {"mappings": {"properties": properties}}}}
        self.properties = properties
        self.answers = {
            "security.has_privileges": {"index": {"soc-cyberalarm.*": allowed, "soc-probe": dict(allowed)}},
            "cluster.health": {"status": "green"},
            "indices.get_index_template": {},
            "cluster.get_component_template": {"component_templates": [template]},
            **answers,
        }

    def call(self, name: str, /, **_arguments: t.Any) -> t.Any:
        answer = self.answers[name]
        if isinstance(answer, SocError):
            raise answer
        return answer

    def judged(self) -> dict[str, str]:
        look = doctor.ask_elastic(t.cast(Elastic, self), "cyberalarm")
        found = judge(Facts(NOW, "cyberalarm", timedelta(minutes=40), elastic=look))
        return {finding.check: finding.verdict for finding in found if finding.what == "elasticsearch"}


class TestElasticsearch:
    def test_all_is_well(self) -> None:
        assert FakeElastic().judged() == {"answer": OK, "privileges": OK, "template": OK}

    def test_out_of_reach(self) -> None:
        for error in (Unreachable("It is down."), AuthError("Refused.", status=401)):
            assert FakeElastic(**{"security.has_privileges": error}).judged() == {"answer": FAIL}

    def test_a_key_that_may_not_write_and_one_that_may_too_much(self) -> None:
        for lacking in ("create_index", "index"):
            elastic = FakeElastic()
            elastic.answers["security.has_privileges"]["index"]["soc-probe"][lacking] = False
            assert elastic.judged()["privileges"] == FAIL
        elastic = FakeElastic()
        elastic.answers["security.has_privileges"]["index"]["soc-probe"]["delete"] = True
        assert elastic.judged()["privileges"] == WARN

    def test_templates(self) -> None:
        gone = AnswerError("No.", status=404)
        assert FakeElastic(**{"indices.get_index_template": gone}).judged()["template"] == FAIL
        assert FakeElastic(**{"cluster.get_component_template": gone}).judged()["template"] == FAIL
        shut = AuthError("No.", status=403)
        assert FakeElastic(**{"indices.get_index_template": shut}).judged()["template"] == UNKNOWN
        elastic = FakeElastic()
        elastic.properties["source"]["properties"]["ip"]["type"] = "keyword"
        assert elastic.judged()["template"] == WARN

    def test_a_red_cluster(self) -> None:
        assert FakeElastic(**{"cluster.health": {"status": "red"}}).judged()["answer"] == WARN
        assert FakeElastic(**{"cluster.health": AuthError("No.")}).judged()["answer"] == OK


class TestMachine:
    def journal(self, tmp_path: Path, *statements: str) -> str:
        path = tmp_path / "journal.sqlite"
        with sqlite3.connect(path) as database:
            database.executescript(SCHEMA + ";".join(statements))
        database.close()
        return str(path)

    def judged(self, source: Source, look: t.Any) -> dict[str, str]:
        every = dataclasses.replace(source.sets["logs"], every=timedelta(minutes=5))
        found = judge(Facts(NOW, "cyberalarm", timedelta(minutes=40), (SetLook(every, (GOOD,)),), journal=look))
        return {finding.check: finding.verdict for finding in found if finding.what in ("journal", "logs")}

    def test_no_journal_yet(self, cyberalarm_source: Source, tmp_path: Path) -> None:
        assert doctor.read_journal(str(tmp_path / "none.sqlite")) is None
        assert self.judged(cyberalarm_source, None)["state"] == UNKNOWN
        assert not list(tmp_path.iterdir())

    def test_a_journal_that_is_up_to_date(self, cyberalarm_source: Source, tmp_path: Path) -> None:
        completed = "INSERT INTO walk (data_set, number, completed) VALUES ('logs', 1, '2026-11-20T11:46:00.000Z')"
        path = self.journal(tmp_path, completed)
        before = {entry: entry.read_bytes() for entry in tmp_path.iterdir()}
        found = self.judged(cyberalarm_source, doctor.read_journal(path))
        assert (found["waiting"], found["dead letters"], found["last walk"]) == (OK, OK, OK)
        assert "look-back" not in found
        assert {entry: entry.read_bytes() for entry in tmp_path.iterdir()} == before

    def test_what_a_journal_may_tell(self, cyberalarm_source: Source, tmp_path: Path) -> None:
        look = doctor.read_journal(
            self.journal(
                tmp_path,
                "INSERT INTO walk (data_set, number, completed) VALUES ('logs', 1, '2026-11-20T11:44:00.000Z')",
                "INSERT INTO page (segment, start, length, records, shipped) VALUES (1, 0, 9, 4, 1), (1, 9, 9, 3, 0)",
                "INSERT INTO dead_letter (id, data_set, reason, observed, record) VALUES ('a', 'logs', 'no id', '', ''), ('b', 'logs', 'no id', '', '')",
                "INSERT INTO lag VALUES ('logs', 0, 5000), ('logs', 12, 100)",
            )
        )
        assert isinstance(look, JournalLook)
        assert (look.waiting, look.dead) == (3, (("logs", "no id", 2),))
        found = self.judged(cyberalarm_source, look)
        assert [found[name] for name in ("waiting", "dead letters", "last walk", "look-back")] == [WARN] * 4

    def test_a_damaged_journal(self, cyberalarm_source: Source, tmp_path: Path) -> None:
        (tmp_path / "journal.sqlite").write_bytes(b"not a database at all" * 100)
        look = doctor.read_journal(str(tmp_path / "journal.sqlite"))
        assert isinstance(look, str) and self.judged(cyberalarm_source, look)["state"] == FAIL

    def test_free_space(self, cyberalarm_source: Source, tmp_path: Path) -> None:
        assert doctor.free_space(str(tmp_path / "not" / "there")) == pytest.approx(
            doctor.free_space(str(tmp_path)), rel=0.2
        )
        for free, verdict in ((2 << 30, OK), (200 << 20, WARN), (50 << 20, FAIL)):
            assert about(judge(facts(cyberalarm_source, free=free)), "space")[0][0] == verdict

    def test_secrets_that_everybody_may_read(self, cyberalarm_source: Source, tmp_path: Path) -> None:
        token = tmp_path / "token"
        token.write_text("x")
        params = {"token_file": str(token), "api_key_file": None, "elasticsearch_api_key_file": str(tmp_path / "gone")}
        for mode, verdict in ((0o600, OK), (0o640, OK), (0o644, WARN), (0o601, WARN)):
            token.chmod(mode)
            found = doctor.modes(params)
            assert found == {str(token): mode}
            assert about(judge(facts(cyberalarm_source, modes=found)), "secrets")[0][0] == verdict

    def test_files_of_a_firewall(self, cyberalarm_source: Source, tmp_path: Path) -> None:
        assert doctor.look_at_files([str(tmp_path / "*.log")]) == ()
        (tmp_path / "fw.log").write_text("x")
        ((path, readable, written),) = doctor.look_at_files([str(tmp_path / "*.log"), str(tmp_path / "f*")])
        assert (path, readable) == (str(tmp_path / "fw.log"), True)
        for files, verdict in (
            ((), WARN),
            (((path, True, NOW - timedelta(hours=1)),), OK),
            (((path, True, NOW - timedelta(hours=25)),), WARN),
            (((path, False, NOW), ("b", True, NOW)), FAIL),
        ):
            found = judge(facts(cyberalarm_source, files=(FilesLook("firebox", files),)))
            assert about(found, "files")[0][0] == verdict
        assert written.tzinfo is UTC


def test_the_table_fits_and_holds_every_sentence(cyberalarm_source: Source) -> None:
    look = SetLook(cyberalarm_source.sets["logs"], (Reply(500, "x " * 100),))
    found = judge(Facts(NOW, "cyberalarm", timedelta(minutes=40), (look,), journal="It cannot be read. " * 9))
    text = table("cyberalarm", found)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].startswith("cyberalarm: 2 fail, ")
    for finding in found:
        assert " ".join(finding.sentence.split()) in " ".join(text.split())
        assert finding.what in lines


class TestExamine:
    """The whole run, with the vendor, Elasticsearch and the certificates replaced."""

    @pytest.fixture
    def run(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, vendor: CyberAlarm) -> t.Callable[..., dict]:
        token = tmp_path / "token"
        token.write_text("secret-token\n")
        token.chmod(0o600)
        monkeypatch.setattr(doctor, "open_vendor", lambda _source, _params: vendor)
        monkeypatch.setattr(doctor, "connect", lambda _params: FakeElastic())
        monkeypatch.setattr(doctor, "certificate", lambda what, *_rest: Certificate(what, NOW + timedelta(days=90)))

        def examine(**options: t.Any) -> dict:
            spec = doctor.argument_spec()
            given = {
                "source": "cyberalarm",
                "base_url": "https://vendor.example",
                "token_file": str(token),
                "elasticsearch_url": "https://localhost:9200",
                "state_dir": str(tmp_path / "state"),
                "sets": ["logs"],
                **options,
            }
            params = {name: given.get(name, option.get("default")) for name, option in spec.options.items()}
            return doctor.examine(Run(params, False, lambda: NOW, str(tmp_path), lambda _text: None))

        return examine

    def test_a_healthy_source(self, run: t.Callable[..., dict], tmp_path: Path) -> None:
        result = run()
        assert result["changed"] is False and "failure" not in result
        assert result["msg"].splitlines() == result["table"]
        assert {finding["verdict"] for finding in result["findings"]} == {OK, UNKNOWN}
        assert result["assumptions"]["logs"]["ids"] == "confirmed"
        assert result["coverage"]["logs"]["rule.name"] == 100
        assert not (tmp_path / "state").exists()

    def test_what_cannot_work_fails_with_its_sentences(self, run: t.Callable[..., dict], vendor: CyberAlarm) -> None:
        vendor.heeds.remove("ids")
        result = run()
        assert result["failure"]["code"] == "unhealthy"
        assert result["failure"]["message"].startswith("logs: Asked for one record by its id (ids)")
        assert result["failure"]["details"] == {"findings": ["logs: ids"]}
        assert result["table"] and "msg" not in result

    def test_options_that_cannot_work(self, run: t.Callable[..., dict]) -> None:
        for options in ({"sets": ["nothing"]}, {"api_version": "v2"}, {"base_url": None}, {"look_back": "soon"}):
            with pytest.raises(ConfigError):
                run(**options)

    def test_the_profile_may_be_corrected(self, run: t.Callable[..., dict], vendor: CyberAlarm) -> None:
        for record in vendor.alarms:
            record["source_address"] = record.pop("src_ip")
        result = run(profile={"sets": {"logs": {"ecs": {"source.ip": "source_address"}}}})
        assert result["coverage"]["logs"]["source.ip"] == 100


class TestLook:
    """The one call of Http that soc_doctor makes."""

    class Raw:
        headers: t.ClassVar[dict] = {}

    class Response:
        url = "https://vendor.example/x"

        def __init__(self, status: int, content: bytes = b"{}") -> None:
            self.status_code, self.content_, self.headers = status, content, {"Date": "x"}

        def iter_content(self, _size: int) -> t.Iterator[bytes]:
            yield self.content_

        def close(self) -> None:
            pass

    def http(self, monkeypatch: pytest.MonkeyPatch, answer: t.Any) -> tuple[Http, list[dict]]:
        renewals: list = []
        http = Http(
            lambda: {"Authorization": "Bearer secret-token"},
            secrets=lambda: ("secret-token",),
            renew=lambda _failed: bool(renewals.append(1)) or True,
        )
        calls: list[dict] = []

        def request(method: str, url: str, **kwargs: t.Any) -> t.Any:
            calls.append({"method": method, "url": url, **kwargs})
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(http._session, "request", request)
        return http, calls

    @pytest.mark.parametrize("status", [200, 302, 401, 404, 429, 500])
    def test_whatever_the_status_it_calls_once(self, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
        http, calls = self.http(monkeypatch, self.Response(status, b"body"))
        seen = http.look("POST", "https://vendor.example/x", body={"a": 1})
        assert (seen.status, seen.content, seen.headers["Date"]) == (status, b"body", "x")
        assert seen.seconds >= 0
        (call,) = calls
        assert call["allow_redirects"] is False and call["data"] == b'{"a":1}'
        assert call["headers"]["Authorization"] == "Bearer secret-token"

    def test_what_it_raises_holds_no_secret(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for error in (requests.exceptions.SSLError, requests.exceptions.ConnectionError):
            http, calls = self.http(monkeypatch, error("no line for secret-token"))
            with pytest.raises(Unreachable) as caught:
                http.look("GET", "https://vendor.example/x")
            assert "secret-token" not in caught.value.message and "vendor.example" in caught.value.message
            assert len(calls) == 1

    def test_plain_http_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        http, calls = self.http(monkeypatch, self.Response(200))
        with pytest.raises(ConfigError):
            http.look("GET", "http://vendor.example/x")
        assert not calls

    def test_a_reply_that_is_no_json_and_has_no_date(self, monkeypatch: pytest.MonkeyPatch) -> None:
        http, _calls = self.http(monkeypatch, self.Response(200, b"<title>Maintenance</title>"))
        reply = doctor.ask(http, lambda: NOW, "GET", "https://vendor.example/x", {})
        assert (reply.status, reply.answer, reply.text, reply.skew) == (200, None, "Maintenance", None)

    def test_skew_is_positive_when_the_vendor_is_ahead(self, vendor: CyberAlarm) -> None:
        vendor.clock = NOW + timedelta(seconds=90)
        reply = doctor.ask(t.cast(Http, vendor), lambda: NOW, "POST", "https://vendor.example/x", {"size": 1})
        assert reply.skew == pytest.approx(90.5)


def test_profiles_may_be_merged_before_they_are_looked_at() -> None:
    for profile in doctor.PROFILES.values():
        assert load(merge(profile, {"base_url": "https://vendor.example"})).sets
