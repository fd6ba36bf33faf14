# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a walk does beside reading pages: companies, open records, early ends, backfills, states of probes."""

from __future__ import annotations

import dataclasses
import typing as t
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from ansible_collections.netcure.soc.plugins.module_utils._collect.journal import Journal, WalkState
from ansible_collections.netcure.soc.plugins.module_utils._collect.normalise import Company
from ansible_collections.netcure.soc.plugins.module_utils._collect.profile import load, merge
from ansible_collections.netcure.soc.plugins.module_utils._collect.profiles import cyberalarm, guardian360, watchguard
from ansible_collections.netcure.soc.plugins.module_utils._collect.run import is_due
from ansible_collections.netcure.soc.plugins.module_utils._collect.vendor import Directory
from ansible_collections.netcure.soc.plugins.module_utils._collect.walk import Rules, Walked, collect_set
from ansible_collections.netcure.soc.plugins.module_utils._core.clock import format_time, parse_time
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import AnswerError, Unreachable

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
DIRECTORY = Directory({"c1": "Acme NV", "c2": "Beta BV"}, None)
RULES = Rules(
    look_back=timedelta(minutes=40),
    directory=DIRECTORY,
    provider=Company("provider", "Provider"),
    ask_again_for=timedelta(days=30),
)


class Vendor:
    """A vendor as a function of what it is asked; ``calls`` holds the questions."""

    def __init__(self, answer: t.Callable[[dict], t.Any]) -> None:
        self.answer, self.calls = answer, []

    def excerpt(self, text: str) -> str:
        return text

    def json(self, method: str, url: str, *, params: t.Any = None, body: t.Any = None, **_rest: t.Any) -> t.Any:
        asked = {"method": method, "path": url.partition(".example")[2], **(params or {}), **(body or {})}
        self.calls.append(asked)
        answer = self.answer(asked)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def journal(tmp_path: Path) -> t.Iterator[Journal]:
    with Journal(str(tmp_path)) as opened:
        yield opened


def walk(journal: Journal, name: str, vendor: Vendor, at: datetime = NOW, **rules: t.Any) -> Walked:
    profiles = [cyberalarm.PROFILE, guardian360.PROFILE, watchguard.PROFILE]
    profile = next(profile for profile in profiles if name in profile["sets"])
    source = load(merge(profile, {"base_url": "https://vendor.example"}))
    asked = dataclasses.replace(RULES, **rules)
    return collect_set(journal, source, source.sets[name], t.cast(t.Any, vendor), lambda: at, asked)


def sources(journal: Journal) -> list[dict]:
    """The documents that wait, as they will be indexed, oldest first."""
    return [orjson.loads(line) for batch in journal.batches() for line in batch.payload.splitlines()[1::2]]


def reasons(journal: Journal) -> list[str]:
    return [row["reason"] for row in journal._query("SELECT reason FROM dead_letter ORDER BY reason")]


def at(minutes: float) -> str:
    """A time so many minutes before NOW."""
    return format_time(NOW - timedelta(minutes=minutes))


def alarm(key: str, minutes: float = 10, **fields: t.Any) -> dict:
    company = {"id": "c1", "name": "Acme NV"}
    return {"id": key, "timestamp": at(minutes), "level": 2, "company": company, "reviewed": False, **fields}


class Logs:
    """CyberAlarm's search over ``self.records``, by time and by ids."""

    def __init__(self, *records: dict) -> None:
        self.records, self.heeds_ids = list(records), True

    def __call__(self, asked: dict) -> dict:
        found = sorted(self.records, key=lambda record: (record["timestamp"], record["id"]))
        if "ids" in asked and self.heeds_ids:
            found = [record for record in found if record["id"] in asked["ids"]]
        elif asked.get("from"):
            found = [record for record in found if record["timestamp"] >= asked["from"]]
        after = asked.get("search_after")
        if after:
            found = [record for record in found if [record["timestamp"], record["id"]] > after]
        hits = [{"sort": [record["timestamp"], record["id"]], "_source": record} for record in found[:2]]
        return {"hits": hits}


class TestOpenRecords:
    def test_what_was_closed_long_after_the_look_back_is_closed_here_after_one_cycle(self, journal: Journal) -> None:
        logs = Logs(alarm("old", 600), alarm("older", 700, reviewed=True), alarm("new", 1))
        assert walk(journal, "logs", Vendor(logs)).tally.new == 3
        logs.records[0]["reviewed"] = True
        vendor = Vendor(logs)
        tally = walk(journal, "logs", vendor).tally
        assert tally.changed == 1
        assert sources(journal)[-1]["soc"]["reviewed"] is True
        # Only what is open and was not met is asked for by id, and no more once it is closed.
        assert {tuple(call["ids"]) for call in vendor.calls if "ids" in call} == {("old",)}
        vendor = Vendor(logs)
        walk(journal, "logs", vendor)
        assert not [call for call in vendor.calls if "ids" in call]

    def test_what_is_too_old_is_not_asked_for(self, journal: Journal) -> None:
        logs = Logs(alarm("old", 600), alarm("new", 1))
        walk(journal, "logs", Vendor(logs))
        vendor = Vendor(logs)
        walk(journal, "logs", vendor, ask_again_for=timedelta(minutes=500))
        assert not [call for call in vendor.calls if "ids" in call]

    def test_a_vendor_that_does_not_know_the_parameter_is_told(self, journal: Journal) -> None:
        logs = Logs(alarm("old", 600), alarm("new", 1))
        walk(journal, "logs", Vendor(logs))
        logs.heeds_ids = False
        logs.records.insert(0, alarm("other", 900))
        with pytest.raises(AnswerError, match="ask_again in the profile to by: get"):
            walk(journal, "logs", Vendor(logs))

    def test_one_by_one(self, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(cyberalarm.PROFILE["sets"]["logs"], "ask_again", {"by": "get", "path": "/api/v1/logs/{id}"})
        logs = Logs(alarm("o/l:d", 600), alarm("gone", 650), alarm("new", 1))
        walk(journal, "logs", Vendor(logs))
        logs.records = [alarm("o/l:d", 600, reviewed=True), alarm("new", 1)]

        def answer(asked: dict) -> t.Any:
            if asked["method"] == "POST":
                return logs(asked)
            return {
                "/api/v1/logs/o%2Fl%3Ad": {"_source": logs.records[0]},
                "/api/v1/logs/gone": AnswerError("no such record", status=404),
            }[asked["path"]]

        assert walk(journal, "logs", Vendor(answer)).tally.changed == 1

    def test_a_company_without_a_subscription_is_not_asked_about(self, journal: Journal) -> None:
        logs = Logs(alarm("old", 600), alarm("new", 1))
        walk(journal, "logs", Vendor(logs))
        vendor = Vendor(logs)
        walk(journal, "logs", vendor, directory=Directory({"c2": "Beta"}, frozenset({"c2"})))
        assert not [call for call in vendor.calls if "ids" in call]


def hacker_alert(key: str, minutes: float, acknowledged: int = 0) -> dict:
    company = {"data": {"id": "c1", "name": "Acme NV"}}
    return {"id": key, "created_at": at(minutes), "acknowledged": acknowledged, "company": company}


class Alerts:
    """Guardian360's two lists of hacker alerts, newest first, two a page."""

    def __init__(self, *records: dict) -> None:
        self.records = list(records)

    def __call__(self, asked: dict) -> dict:
        rows = [row for row in self.records if row["acknowledged"] == asked["columns[acknowledged]"]]
        rows.sort(key=lambda row: row["created_at"], reverse=True)
        start = 2 * (asked["page"] - 1)
        meta = {"pagination": {"total_pages": max(1, -(-len(rows) // 2))}}
        return {"success": True, "data": rows[start : start + 2], "meta": meta}


class TestNewestFirst:
    def pages(self, vendor: Vendor) -> list[tuple[int, int]]:
        return [(call["columns[acknowledged]"], call["page"]) for call in vendor.calls]

    def alerts(self) -> Alerts:
        return Alerts(*[hacker_alert(f"a{number}", 60 * number, acknowledged=1) for number in range(1, 9)])

    def test_the_first_walk_goes_to_the_end(self, journal: Journal) -> None:
        vendor = Vendor(self.alerts())
        assert walk(journal, "hacker_alerts", vendor).tally.new == 8
        assert self.pages(vendor) == [(0, 1), (1, 1), (1, 2), (1, 3), (1, 4)]

    def test_later_walks_end_at_the_look_back(self, journal: Journal) -> None:
        walk(journal, "hacker_alerts", Vendor(self.alerts()))
        vendor = Vendor(self.alerts())
        walk(journal, "hacker_alerts", vendor)
        assert self.pages(vendor) == [(0, 1), (1, 1), (1, 2)]

    def test_they_go_on_while_something_that_was_open_has_not_been_met(self, journal: Journal) -> None:
        alerts = self.alerts()
        alerts.records[6]["acknowledged"] = 0
        walk(journal, "hacker_alerts", Vendor(alerts))
        alerts.records[6]["acknowledged"] = 1
        vendor = Vendor(alerts)
        assert walk(journal, "hacker_alerts", vendor).tally.changed == 1
        assert self.pages(vendor)[-1] == (1, 4)

    def test_a_filter_that_the_vendor_does_not_heed_is_no_proper_end(self, journal: Journal) -> None:
        page = {"success": True, "data": [hacker_alert("a", 1)], "meta": {"pagination": {"total_pages": 1}}}
        walked = walk(journal, "hacker_alerts", Vendor(lambda asked: page))
        assert (walked.whole, walked.failures, walked.tally.new) == (False, {}, 1)
        assert journal.last_walk("hacker_alerts").completed is None
        assert walk(journal, "hacker_alerts", Vendor(self.alerts())).whole

    def test_a_list_in_another_order_is_walked_to_its_end(self, journal: Journal) -> None:
        walk(journal, "hacker_alerts", Vendor(self.alerts()))
        alerts = self.alerts()
        answer = alerts.__call__

        def shuffled(asked: dict) -> dict:
            found = answer(asked)
            found["data"].reverse()
            return found

        vendor = Vendor(shuffled)
        walk(journal, "hacker_alerts", vendor)
        assert self.pages(vendor)[-1] == (1, 4)

    def test_the_cursor_waits_for_the_end(self, journal: Journal) -> None:
        """The first page holds the newest record alone: a walk that dies behind it must not start there again."""
        alerts = Alerts(hacker_alert("new", 1, 1), hacker_alert("b", 300, 1), hacker_alert("c", 301, 1))
        answers = [alerts({"columns[acknowledged]": 0, "page": 1})]
        first = alerts({"columns[acknowledged]": 1, "page": 1})
        first["data"] = first["data"][:1]
        answers += [first, Unreachable("gone")]
        with pytest.raises(Unreachable):
            walk(journal, "hacker_alerts", Vendor(lambda asked: answers.pop(0)))
        assert journal.cursor("hacker_alerts") is None
        assert walk(journal, "hacker_alerts", Vendor(alerts)).tally.new == 2


class TestCompanyByCompany:
    def statistics(self, asked: dict) -> t.Any:
        rows = {"c1": [{"scanner": "nmap", "high": 3}], "c2": [{"scanner": "nmap", "high": 5}]}
        return {"success": True, "data": rows.get(asked.get("company_id"), [])}

    def test_each_company_has_its_own(self, journal: Journal) -> None:
        tally = walk(journal, "risks_per_scanner", Vendor(self.statistics)).tally
        assert tally.new == 2
        found = {doc["organization"]["id"]: doc["soc"]["risks"]["high"] for doc in sources(journal)}
        assert found == {"c1": 3, "c2": 5}

    def test_a_vendor_that_does_not_heed_the_company_is_asked_once_for_the_provider(self, journal: Journal) -> None:
        vendor = Vendor(lambda asked: {"success": True, "data": [{"scanner": "nmap", "high": 8}]})
        assert walk(journal, "risks_per_scanner", vendor).tally.new == 1
        assert [doc["organization"]["name"] for doc in sources(journal)] == ["Provider"]
        assert [call.get("company_id") for call in vendor.calls][0] == "soc-no-such-company"
        assert {call.get("company_id") for call in vendor.calls[1:]} == {None}

    @pytest.mark.parametrize("refusal", [AnswerError("no such company", status=404), {"success": True, "data": []}])
    def test_knowing_nothing_of_nobody_is_heeding(self, journal: Journal, refusal: t.Any) -> None:
        def answer(asked: dict) -> t.Any:
            return refusal if asked["company_id"] == "soc-no-such-company" else self.statistics(asked)

        assert walk(journal, "risks_per_scanner", Vendor(answer)).tally.new == 2

    def test_one_bad_company_does_not_stop_the_others_and_loses_nothing(self, journal: Journal) -> None:
        walk(journal, "risks_per_scanner", Vendor(self.statistics))

        def answer(asked: dict) -> t.Any:
            if asked["company_id"] == "c1":
                return AnswerError("an error page")
            rows = [{"scanner": "nmap", "high": 6}] if asked["company_id"] == "c2" else []
            return {"success": True, "data": rows}

        walked = walk(journal, "risks_per_scanner", Vendor(answer))
        assert list(walked.failures) == ["Acme NV"]
        assert (walked.tally.changed, walked.tally.vanished) == (1, 0)
        assert journal.last_walk("risks_per_scanner").completed == format_time(NOW)  # of the first walk

    def test_a_vendor_that_is_down_is_not_asked_for_every_company(self, journal: Journal) -> None:
        many = Directory({f"c{number}": f"Company {number}" for number in range(50)}, None)

        def answer(asked: dict) -> t.Any:
            return (
                Unreachable("down")
                if asked["company_id"] != "soc-no-such-company"
                else AnswerError("unknown", status=404)
            )

        vendor = Vendor(answer)
        with pytest.raises(Unreachable):
            walk(journal, "risks_per_scanner", vendor, directory=many)
        assert len(vendor.calls) == 4

    def test_what_left_the_list_of_one_company_is_gone(self, journal: Journal) -> None:
        walk(journal, "risks_per_scanner", Vendor(self.statistics))

        def answer(asked: dict) -> t.Any:
            rows = {"c1": [{"scanner": "zap", "high": 1}], "c2": [{"scanner": "nmap", "high": 5}]}
            return {"success": True, "data": rows.get(asked["company_id"], [])}

        tally = walk(journal, "risks_per_scanner", Vendor(answer)).tally
        assert (tally.new, tally.vanished) == (1, 1)
        # An empty list says nothing.
        empty = {"success": True, "data": []}
        vendor = Vendor(lambda asked: empty if asked["company_id"] != "c2" else answer(asked))
        assert walk(journal, "risks_per_scanner", vendor).tally.vanished == 0

    def test_names_that_only_the_directory_has(self, journal: Journal) -> None:
        counts = [{"company_id": "c1", "count": 37}, {"company_id": "c9", "count": 1}]
        vendor = Vendor(lambda asked: {"success": True, "data": {"total": 38, "per_company": counts}})
        tally = walk(journal, "live_assets", vendor).tally
        assert (tally.new, tally.dead_letters) == (1, 1)
        assert sources(journal)[0]["organization"] == {"id": "c1", "name": "Acme NV"}
        assert sources(journal)[0]["@timestamp"] == format_time(NOW)
        assert walk(journal, "live_assets", vendor, at=NOW + timedelta(hours=1)).tally.changed == 0


class TestAccounts:
    def test_what_the_vendor_calls_a_company_is_not_what_we_do(self, journal: Journal) -> None:
        incident = {"id": "i1", "title": "Lateral movement", "severity": 9, "status": "new", "created_at": at(5)}

        def answer(asked: dict) -> dict:
            found = "WGC-1-aa" in asked["path"] and "start_after" not in asked
            return {"items": [incident, {**incident, "id": "i2", "severity": 42}] if found else []}

        accounts = {"WGC-1-aa": Company("c1", "Acme NV"), "WGC-1-bb": Company("c1", "Acme NV")}
        vendor = Vendor(answer)
        found = Directory({"c1": "Acme NV"}, None, accounts)
        assert walk(journal, "incidents", vendor, directory=found).tally.new == 2
        assert [call["path"].split("/")[-2] for call in vendor.calls] == ["WGC-1-aa", "WGC-1-aa", "WGC-1-bb"]
        documents = sources(journal)
        assert {document["organization"]["id"] for document in documents} == {"c1"}
        assert [document["soc"].get("level") for document in documents] == [1, None]
        assert documents[1]["soc"]["rejected"] == ["soc.level"]


class TestMisfits:
    def test_an_alarm_counts_also_with_an_address_that_is_none(self, journal: Journal) -> None:
        bad = alarm("a", src_ip="unknown", src_port="https", dst_ip="10.0.0.1")
        for _again in range(2):
            tally = walk(journal, "logs", Vendor(Logs(bad))).tally
        assert (tally.known, tally.dead_letters) == (1, 0)
        (document,) = sources(journal)
        assert document["soc"]["rejected"] == ["source.ip", "source.port"]
        assert "source" not in document
        assert document["destination"] == {"ip": "10.0.0.1"}
        assert [reason.partition(" (")[0] for reason in reasons(journal)] == [
            "source.ip cannot be 'unknown'",
            "source.port cannot be 'https'",
        ]

    @pytest.mark.parametrize("level", [4, "5", 0, -1])
    def test_other_levels_are_not_collected(self, journal: Journal, level: t.Any) -> None:
        assert walk(journal, "logs", Vendor(Logs(alarm("a", level=level)))).tally.skipped == 1

    @pytest.mark.parametrize("level", ["high", 1.5, None, {}])
    def test_what_is_no_level_is_a_dead_letter(self, journal: Journal, level: t.Any) -> None:
        tally = walk(journal, "logs", Vendor(Logs(alarm("a", level=level)))).tally
        assert (tally.malformed, tally.dead_letters) == (1, 1)


class TestStateOfProbes:
    def probe(self, minutes: float, status: str = "online") -> t.Callable[[dict], dict]:
        company = {"id": "c1", "name": "Acme NV"}
        record = {"id": "p7", "name": "acme-core", "company": company, "status": status, "last_seen": at(minutes)}
        return lambda asked: {"data": [record] if asked["page"] == 1 else []}

    def test_online_offline_recently_offline(self, journal: Journal) -> None:
        def state(answer: t.Callable, hours: float = 0) -> tuple:
            walk(journal, "probes", Vendor(answer), at=NOW + timedelta(hours=hours))
            soc = sources(journal)[-1]["soc"]
            return soc["state"], soc["state_since"]

        assert state(self.probe(1)) == ("online", format_time(NOW))
        # It says nothing, and nothing has been seen of it for longer than the limit.
        assert state(self.probe(1), 0.5) == ("recently offline", at(1))
        assert state(self.probe(1), 20) == ("recently offline", at(1))
        assert state(self.probe(1), 30) == ("offline", at(1))
        assert state(self.probe(-1801), 30.05) == ("online", format_time(NOW + timedelta(hours=30.05)))
        assert state(self.probe(-1803, "offline"), 30.1) == ("recently offline", at(-1803))

    def test_the_same_state_is_not_written_again(self, journal: Journal) -> None:
        walk(journal, "probes", Vendor(self.probe(1)))
        assert walk(journal, "probes", Vendor(self.probe(0)), at=NOW + timedelta(minutes=5)).tally.known == 1


class TestBackfill:
    def logs(self) -> Logs:
        return Logs(*[alarm(f"a{number:02d}", 100 * number) for number in range(20)])

    def test_a_first_run_begins_there(self, journal: Journal) -> None:
        tally = walk(journal, "logs", Vendor(self.logs()), since=parse_time(at(550))).tally
        assert (tally.new, tally.backfilled_to) == (6, None)
        vendor = Vendor(self.logs())
        walk(journal, "logs", vendor, since=parse_time(at(550)))
        assert {call.get("from") for call in vendor.calls if "ids" not in call} == {at(40)}  # it is done

    def test_later_it_goes_on_in_slices_behind_what_is_new(self, journal: Journal) -> None:
        walk(journal, "logs", Vendor(self.logs()), since=parse_time(at(150)))
        lines: list[str] = []
        moment = [NOW]

        def ticking(asked: dict) -> dict:
            moment[0] += timedelta(seconds=50)
            return self.logs()(asked)

        def run(**rules: t.Any) -> t.Any:
            source = load(merge(cyberalarm.PROFILE, {"base_url": "https://vendor.example"}))
            asked = dataclasses.replace(
                RULES, since=parse_time(at(1950)), progress=lambda line, always=False: lines.append(line), **rules
            )
            vendor = t.cast(t.Any, Vendor(ticking))
            return collect_set(journal, source, source.sets["logs"], vendor, lambda: moment[0], asked).tally

        reached = []
        while (tally := run()).backfilled_to:
            reached.append(tally.backfilled_to)
            assert len(reached) < 20
        assert reached == sorted(set(reached))
        assert len(reached) > 1
        assert len(journal.known({doc["soc"]["id"] for doc in sources(journal)})) == 20
        assert journal.cursor("logs").time == at(0)
        assert lines[-1].endswith("100% of the way")
        assert run().new == 0  # done

    def test_a_page_of_ties_does_not_hold_it_up(self, journal: Journal) -> None:
        logs = Logs(*[alarm(f"a{number}", 900) for number in range(9)], alarm("new", 1))
        walk(journal, "logs", Vendor(logs), since=parse_time(at(100)))
        for _again in range(3):
            walk(journal, "logs", Vendor(logs), since=parse_time(at(900)), backfill_slice=timedelta(0))
        assert len({doc["soc"]["id"] for doc in sources(journal)}) == 10

    def test_for_one_company_only(self, journal: Journal) -> None:
        walk(journal, "logs", Vendor(self.logs()), since=parse_time(at(150)))
        vendor = Vendor(self.logs())
        walk(journal, "logs", vendor, since=parse_time(at(950)), companies=frozenset({"c1"}))
        assert [call["company_ids"] for call in vendor.calls if call.get("from") == at(950)][0] == ["c1"]

    def test_a_list_of_all_companies_is_read_for_the_one(self, journal: Journal) -> None:
        beta = {"data": {"id": "c2", "name": "Beta BV"}}
        alerts = Alerts(hacker_alert("a", 1, 1), *[hacker_alert(f"b{number}", 900 + number, 1) for number in range(3)])
        walk(journal, "hacker_alerts", Vendor(alerts), since=parse_time(at(30)))
        alerts.records += [hacker_alert("old", 1000, 1) | {"company": beta}, hacker_alert("older", 1001, 1)]
        before = {document["event"]["id"] for document in sources(journal)}
        walk(journal, "hacker_alerts", Vendor(alerts), since=parse_time(at(1100)), companies=frozenset({"c2"}))
        assert {document["event"]["id"] for document in sources(journal)} - before == {"old"}

    def test_without_the_directory_of_companies_it_waits(self, journal: Journal) -> None:
        walk(journal, "logs", Vendor(self.logs()), since=parse_time(at(150)))
        vendor = Vendor(self.logs())
        walk(journal, "logs", vendor, since=parse_time(at(950)), backfill=False)
        assert at(950) not in [call.get("from") for call in vendor.calls]


class TestDue:
    @pytest.mark.parametrize(
        ("minutes", "due"), [(0, False), (4, False), (4.6, True), (5, True), (600, True), (-10, True)]
    )
    def test_by_the_interval_of_the_set(self, minutes: float, due: bool) -> None:
        source = load(merge(cyberalarm.PROFILE, {"base_url": "https://vendor.example"}))
        now = NOW + timedelta(minutes=minutes)
        assert is_due(WalkState(format_time(NOW), None), source.sets["logs"], now) is due
        assert is_due(WalkState(None, None), source.sets["logs"], now)

    def test_a_walk_that_did_not_end_does_not_count(self, journal: Journal) -> None:
        with pytest.raises(Unreachable):
            walk(journal, "logs", Vendor(lambda asked: Unreachable("down")))
        assert journal.last_walk("logs").completed is None


class TestClash:
    def test_another_event_under_a_known_id_is_not_lost(self, journal: Journal) -> None:
        company = {"data": {"id": "c1", "name": "Acme NV"}}
        first = {"id": "e1", "operation": "found", "created_at": at(10), "company": company}
        second = {**first, "operation": "closed"}
        page = {"success": True, "data": [first, second], "meta": {"pagination": {"total_pages": 1}}}
        for _again in range(2):
            tally = walk(journal, "issue_operations", Vendor(lambda asked: page)).tally
        assert (tally.known, tally.malformed, tally.dead_letters) == (1, 1, 0)
        assert "another event has its id 'e1'" in reasons(journal)[0]


class TestReconcile:
    def test_it_finds_what_came_too_late_and_says_how_much(self, journal: Journal) -> None:
        logs = Logs(alarm("a", 300), alarm("b", 1))
        assert walk(journal, "logs", Vendor(logs), reconcile=timedelta(hours=48)).missed == 0  # a first walk
        logs.records.append(alarm("late", 200))
        assert walk(journal, "logs", Vendor(logs)).tally.new == 0
        walked = walk(journal, "logs", Vendor(logs), reconcile=timedelta(hours=48))
        assert (walked.tally.new, walked.missed) == (1, 1)
        assert walked.offered is not None
        assert sum(map(len, walked.offered.values())) == 3
        assert journal.last_walk("logs").reconciled == format_time(NOW)
        assert walk(journal, "logs", Vendor(logs), reconcile=timedelta(hours=48)).missed == 0


class TestSecondChance:
    def test_a_dead_letter_is_tried_again_when_the_settings_change(
        self, journal: Journal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        odd = {key: value for key, value in alarm("a").items() if key != "company"} | {"client": {"id": "c1"}}
        hopeless = {key: value for key, value in alarm("b").items() if key != "timestamp"}
        empty = Vendor(lambda asked: {"hits": []})
        first = Vendor(
            lambda asked: {
                "hits": [] if "search_after" in asked else [{"sort": [1, "a"], **row} for row in (odd, hopeless)]
            }
        )
        tally = walk(journal, "logs", first).tally
        assert (tally.new, tally.malformed, tally.dead_letters) == (0, 2, 2)
        assert walk(journal, "logs", empty).tally.fetched == 0
        monkeypatch.setitem(
            cyberalarm.PROFILE["sets"]["logs"], "tenant", {"id": ["company.id", "client.id"], "name": "@companies"}
        )
        tally = walk(journal, "logs", empty).tally
        assert (tally.new, tally.malformed, tally.dead_letters) == (1, 1, 0)
        assert sources(journal)[0]["organization"] == {"id": "c1", "name": "Acme NV"}
        assert len(reasons(journal)) == journal.dead_letters() == 1
        assert walk(journal, "logs", empty).tally.fetched == 0

    def test_a_letter_is_older_than_what_came_since(self, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
        walk(journal, "logs", Vendor(Logs(alarm("a", level="high"))))
        walk(journal, "logs", Vendor(Logs(alarm("a", reviewed=True))))
        monkeypatch.setitem(cyberalarm.PROFILE["sets"]["logs"], "only", {"level": [1, 2, 3, "high"]})
        assert walk(journal, "logs", Vendor(Logs())).tally.changed == 0
        assert sources(journal)[-1]["soc"]["reviewed"] is True
        assert journal.dead_letters() == 0
