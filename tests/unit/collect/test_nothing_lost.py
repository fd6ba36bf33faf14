# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where records once got lost, or went to the wrong company: odd answers, holes in lists, lost journals, dead letters."""

from __future__ import annotations

import dataclasses
import gzip
import shutil
import types
import typing as t
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from ansible_collections.netcure.soc.plugins.module_utils._collect import run
from ansible_collections.netcure.soc.plugins.module_utils._collect.archive import seal, sealed_numbers, sealed_path
from ansible_collections.netcure.soc.plugins.module_utils._collect.journal import Journal
from ansible_collections.netcure.soc.plugins.module_utils._collect.normalise import Company
from ansible_collections.netcure.soc.plugins.module_utils._collect.profile import Source, load, merge
from ansible_collections.netcure.soc.plugins.module_utils._collect.profiles import cyberalarm, guardian360, watchguard
from ansible_collections.netcure.soc.plugins.module_utils._collect.vendor import Directory, directory
from ansible_collections.netcure.soc.plugins.module_utils._collect.walk import Rules, Tally, Walked, collect_set
from ansible_collections.netcure.soc.plugins.module_utils._core.clock import format_time, parse_time
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import (
    AnswerError,
    ConfigError,
    SocError,
    Unreachable,
)
from ansible_collections.netcure.soc.plugins.module_utils._core.rest import Http, Retries

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
DAY = timedelta(hours=24)
NOBODY = "soc-no-such-company"
DIRECTORY = Directory({"c1": "Acme NV", "c2": "Beta BV"}, None)
RULES = Rules(
    look_back=timedelta(minutes=40),
    directory=DIRECTORY,
    provider=Company("provider", "Provider"),
    ask_again_for=timedelta(days=30),
)
EMPTY = {"success": True, "data": []}
# Under other settings dead letters are tried again; these take what was no level before.
ANY_LEVEL = {"sets": {"logs": {"only": {"level": [1, 2, 3, "high"]}}}}


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


def source_of(name: str, over: dict | None = None) -> Source:
    """The profile that has the set ``name``, with ``over`` upon it as in the option profile."""
    profiles = [cyberalarm.PROFILE, guardian360.PROFILE, watchguard.PROFILE]
    profile = next(profile for profile in profiles if name in profile["sets"])
    return load(merge(merge(profile, {"base_url": "https://vendor.example"}), over or {}))


def walk(
    journal: Journal,
    name: str,
    answer: t.Callable[[dict], t.Any],
    at: datetime = NOW,
    over: dict | None = None,
    **rules: t.Any,
) -> Walked:
    source, vendor = source_of(name, over), answer if isinstance(answer, Vendor) else Vendor(answer)
    asked = dataclasses.replace(RULES, **rules)
    return collect_set(journal, source, source.sets[name], t.cast(t.Any, vendor), lambda: at, asked)


def sources(journal: Journal) -> list[dict]:
    """The documents that wait, as they will be indexed, oldest first."""
    return [orjson.loads(line) for batch in journal.batches() for line in batch.payload.splitlines()[1::2]]


def ids(journal: Journal) -> list[str]:
    return [document["event"]["id"] for document in sources(journal)]


def owners(journal: Journal) -> list[tuple[str, int]]:
    """Whose figures wait, and how many high risks they tell."""
    return [(found["organization"]["id"], found["soc"]["risks"]["high"]) for found in sources(journal)]


def messages(journal: Journal, key: str) -> list[str]:
    return [document["message"] for document in sources(journal) if document["event"]["id"] == key]


def reasons(journal: Journal) -> list[str]:
    return [row["reason"] for row in journal._query("SELECT reason FROM dead_letter ORDER BY reason")]


def at(minutes: float) -> str:
    """A time so many minutes before NOW."""
    return format_time(NOW - timedelta(minutes=minutes))


def alarm(key: str, minutes: float = 10, **fields: t.Any) -> dict:
    company = {"id": "c1", "name": "Acme NV"}
    return {"id": key, "timestamp": at(minutes), "level": 2, "company": company, "reviewed": False, **fields}


def numbered(rows: list, asked: dict) -> dict:
    """The page of ``rows`` that is asked for, two a page, with the counter of all pages."""
    start = 2 * (asked["page"] - 1)
    meta = {"pagination": {"total_pages": max(1, -(-len(rows) // 2))}}
    return {"success": True, "data": rows[start : start + 2], "meta": meta}


class Logs:
    """CyberAlarm's search over ``records``, two a page; ``newest_first`` is the order that it should not have."""

    def __init__(self, *records: dict, newest_first: bool = False) -> None:
        self.records, self.newest_first = list(records), newest_first

    def __call__(self, asked: dict) -> dict:
        found = sorted(self.records, key=lambda record: (record["timestamp"], record["id"]), reverse=self.newest_first)
        if "ids" in asked:
            found = [record for record in found if record["id"] in asked["ids"]]
        elif asked.get("from"):
            found = [record for record in found if record["timestamp"] >= asked["from"]]
        keys = [[record["timestamp"], record["id"]] for record in found]
        start = keys.index(asked["search_after"]) + 1 if asked.get("search_after") in keys else 0
        if asked.get("search_after") and not start:
            return {"hits": []}
        return {
            "hits": [{"sort": key, "_source": record} for key, record in zip(keys, found)][start : start + 2],
        }


def hacker_alert(key: str, minutes: float) -> dict:
    company = {"data": {"id": "c1", "name": "Acme NV"}}
    return {"id": key, "created_at": at(minutes), "acknowledged": 1, "company": company}


def alerts(*records: dict) -> t.Callable[[dict], dict]:
    """Guardian360's two lists of hacker alerts, newest first, all of them acknowledged."""
    rows = sorted(records, key=lambda row: row["created_at"], reverse=True)
    return lambda asked: numbered(rows if asked["columns[acknowledged]"] else [], asked)


class TestWhoseFigures:
    def total(self, _asked: dict) -> dict:
        return {"success": True, "data": [{"date": "2026-11-20", "high": 8}]}

    def each(self, asked: dict) -> dict:
        about = asked.get("company_id")
        return EMPTY if about == NOBODY else {"success": True, "data": [{"date": "2026-11-20", "high": 3}]}

    @pytest.mark.parametrize(
        ("odd", "told"),
        [
            (EMPTY, "answers otherwise than before; nothing was collected. .* set tenant.ask.heeds to true or false"),
            (AnswerError("no", status=404), "answers otherwise than before"),
            ({"success": False, "message": "Too busy"}, "refused risk_trend: Too busy"),
            ({"success": True, "data": {}}, "has no list of records"),
            (AnswerError("an error page"), "an error page"),
        ],
    )
    def test_one_odd_answer_does_not_give_the_total_to_each_company(
        self, journal: Journal, odd: t.Any, told: str
    ) -> None:
        walk(journal, "risk_trend", self.total)
        with pytest.raises(AnswerError, match=told):
            walk(journal, "risk_trend", lambda asked: odd if asked.get("company_id") == NOBODY else self.total(asked))
        assert walk(journal, "risk_trend", self.total).tally.written == 0
        assert owners(journal) == [("provider", 8)]

    def test_nor_the_figures_of_one_company_to_the_provider(self, journal: Journal) -> None:
        walk(journal, "risk_trend", self.each)
        with pytest.raises(AnswerError, match="answers otherwise than before"):
            walk(journal, "risk_trend", self.total)
        assert owners(journal) == [("c1", 3), ("c2", 3)]

    @pytest.mark.parametrize("odd", [{"success": False, "message": "Too busy"}, AnswerError("moved", status=301)])
    def test_an_odd_answer_decides_nothing_at_first_either(self, journal: Journal, odd: t.Any) -> None:
        with pytest.raises(AnswerError):
            walk(journal, "risk_trend", lambda asked: odd if asked.get("company_id") == NOBODY else self.total(asked))
        assert not sources(journal)

    @pytest.mark.parametrize(("heeds", "whose"), [(True, ["c1", "c2"]), (False, ["provider"])])
    def test_the_profile_decides(self, journal: Journal, heeds: bool, whose: list[str]) -> None:
        vendor = Vendor(self.total)
        over = {"sets": {"risk_trend": {"tenant": {"ask": {"heeds": heeds}}}}}
        walk(journal, "risk_trend", vendor, over=over)
        assert [owner for owner, _high in owners(journal)] == whose
        assert NOBODY not in [call.get("company_id") for call in vendor.calls]


class TestNeighbours:
    def test_three_that_are_gone_do_not_starve_the_others(self, journal: Journal) -> None:
        def answer(asked: dict) -> t.Any:
            if asked["company_id"] in ("c1", "c2", "c3"):
                return AnswerError("gone", status=404)
            found = asked["company_id"] != NOBODY
            return {"success": True, "data": [{"scanner": "nmap", "high": 3}] if found else []}

        found = Directory({f"c{number}": f"Company {number}" for number in range(1, 7)}, None)
        walked = walk(journal, "risks_per_scanner", answer, directory=found)
        assert sorted(walked.failures) == ["Company 1", "Company 2", "Company 3"]
        assert [owner for owner, _high in owners(journal)] == ["c4", "c5", "c6"]

    def test_when_all_are_gone_that_is_a_failure(self, journal: Journal) -> None:
        def answer(asked: dict) -> t.Any:
            return EMPTY if asked["company_id"] == NOBODY else AnswerError("gone", status=404)

        with pytest.raises(AnswerError, match="gone"):
            walk(journal, "risks_per_scanner", answer)
        assert journal.last_walk("risks_per_scanner").completed is None

    def test_one_that_fails_in_a_backfill_stops_neither_the_others_nor_counts_as_done(self, journal: Journal) -> None:
        past = {"date": "2026-11-18", "high": 1}
        rows: dict[str, list] = {"c1": [], "c2": []}
        failing = [True]

        def answer(asked: dict) -> t.Any:
            if failing[0] and asked["company_id"] == "c1":
                return AnswerError("gone", status=404)
            return {"success": True, "data": rows.get(asked["company_id"], [])}

        failing[0] = False
        rows.update(c1=[{"date": "2026-11-20", "high": 2}], c2=[{"date": "2026-11-20", "high": 2}])
        walk(journal, "risk_trend", answer)
        failing[0] = True
        rows.update(c1=[past], c2=[past])
        since = NOW - timedelta(days=3)
        walked = walk(journal, "risk_trend", answer, since=since)
        assert list(walked.failures) == ["Acme NV"]
        assert walked.tally.backfilled_to == format_time(since)
        assert ("c2", 1) in owners(journal)
        failing[0] = False
        assert walk(journal, "risk_trend", answer, since=since).tally.backfilled_to is None
        assert ("c1", 1) in owners(journal)


class TestDirectory:
    def test_a_hole_in_it_is_not_its_end(self) -> None:
        def ask(*pages: list) -> Directory:
            meta = {"pagination": {"total_pages": len(pages)}}
            vendor = Vendor(lambda asked: {"success": True, "data": pages[asked["page"] - 1], "meta": meta})
            return directory(source_of("risks_per_scanner"), t.cast(t.Any, vendor), {})

        acme, beta = {"id": "c1", "name": "Acme NV"}, {"id": "c2", "name": "Beta BV"}
        assert dict(ask([acme], [beta]).names) == DIRECTORY.names
        for holed in ([[acme], [], [beta]], [[acme], [acme], [beta]]):
            with pytest.raises(AnswerError, match="ended before its own counter"):
                ask(*holed)

    def test_without_accounts_to_ask_about_that_is_said(self, journal: Journal) -> None:
        source = source_of("incidents")
        about = types.SimpleNamespace(params={"accounts": {}, "companies": []}, clock=lambda: NOW)
        with pytest.raises(ConfigError, match="accounts is empty"):
            run._visit_all(
                t.cast(t.Any, about), journal, source, [source.sets["incidents"]], t.cast(t.Any, Vendor(dict)), RULES
            )


class TestBackfill:
    def test_a_hole_in_a_list_is_not_its_end(self, journal: Journal) -> None:
        answer = alerts(*[hacker_alert(f"a{number}", 100 * number) for number in range(1, 11)])
        walk(journal, "hacker_alerts", answer, since=parse_time(at(150)))

        def holed(asked: dict) -> dict:
            hole = (asked["columns[acknowledged]"], asked["page"]) == (1, 3)
            return answer(asked) | ({"data": []} if hole else {})

        with pytest.raises(AnswerError, match="ended before its own counter"):
            walk(journal, "hacker_alerts", holed, since=parse_time(at(2000)))
        assert walk(journal, "hacker_alerts", answer, since=parse_time(at(2000))).tally.backfilled_to is None
        assert len(set(ids(journal))) == 10

    def test_a_search_in_another_order_loses_nothing(self, journal: Journal) -> None:
        logs = Logs(*[alarm(f"a{number:02d}", 100 * number) for number in range(20)], newest_first=True)
        walk(journal, "logs", logs, since=parse_time(at(150)))
        source, moment = source_of("logs"), [NOW]

        def ticking(asked: dict) -> dict:
            moment[0] += timedelta(seconds=50)
            return logs(asked)

        def slice_of_it() -> Tally:
            rules = dataclasses.replace(RULES, since=parse_time(at(1950)))
            vendor = t.cast(t.Any, Vendor(ticking))
            return collect_set(journal, source, source.sets["logs"], vendor, lambda: moment[0], rules).tally

        for _again in range(30):
            if slice_of_it().backfilled_to is None:
                break
        assert len(set(ids(journal))) == 20


class TestCursor:
    def test_of_a_set_that_is_asked_company_by_company_it_waits_for_all(self, journal: Journal) -> None:
        accounts = {"W1": Company("c1", "Acme NV"), "W2": Company("c2", "Beta BV")}
        rules: dict = {"over": {"sets": {"incidents": {"paging": {"from": "from"}}}}}
        rules["directory"] = Directory(DIRECTORY.names, None, accounts)
        times = {"W1": ("i1", at(1)), "W2": ("i2", at(300))}
        down = [True]

        def answer(asked: dict) -> t.Any:
            account = next(key for key in accounts if f"/{key}/" in asked["path"])
            if down[0] and account == "W2":
                return Unreachable("down")
            key, time = times[account]
            found = "start_after" not in asked and time >= asked.get("from", "")
            incident = {"id": key, "title": "Lateral movement", "severity": 9, "status": "new", "created_at": time}
            return {"items": [incident] if found else []}

        assert list(walk(journal, "incidents", answer, **rules).failures) == ["Beta BV"]
        down[0] = False
        assert walk(journal, "incidents", answer, **rules).tally.new == 1
        assert ids(journal) == ["i1", "i2"]

    def test_of_a_search_that_is_asked_in_two_ways_it_waits_for_both(self, journal: Journal) -> None:
        over = {"sets": {"logs": {"variants": [{"reviewed": True}, {"reviewed": False}]}}}
        logs, down = Logs(alarm("r", 1, reviewed=True), alarm("u", 300)), [True]

        def answer(asked: dict) -> t.Any:
            if down[0] and asked.get("reviewed") is False:
                return Unreachable("down")
            return Logs(*[row for row in logs.records if asked.get("reviewed") in (None, row["reviewed"])])(asked)

        with pytest.raises(Unreachable):
            walk(journal, "logs", answer, over=over)
        down[0] = False
        walk(journal, "logs", answer, over=over)
        assert sorted(ids(journal)) == ["r", "u"]


class TestLists:
    @pytest.mark.parametrize("reconcile", [None, timedelta(hours=2)])
    def test_one_that_is_grouped_by_company_is_read_to_its_end(
        self, journal: Journal, reconcile: timedelta | None
    ) -> None:
        minutes = {"c1": [60 * number for number in range(1, 9)], "c2": [60 * number for number in range(1, 5)]}

        def answer(asked: dict) -> dict:
            rows = []
            for key, times in minutes.items():
                company = {"data": {"id": key, "name": DIRECTORY.names[key]}}
                entry = {"operation": "found", "company": company}
                rows += [{"id": f"{key}-{ago}", "created_at": at(ago), **entry} for ago in sorted(times)]
            return numbered(rows, asked)

        assert walk(journal, "issue_operations", answer).tally.new == 12
        minutes["c2"].append(1)
        assert walk(journal, "issue_operations", answer, reconcile=reconcile).tally.new == 1
        assert ids(journal)[-1] == "c2-1"

    def test_what_slides_to_a_page_that_was_read_is_not_gone(self, journal: Journal) -> None:
        company = {"data": {"id": "c1", "name": "Acme NV"}}
        rows = [
            {"id": number, "value": f"host{number}", "updated_at": at(5), "company": company} for number in range(1, 6)
        ]
        leaves = [False]

        def answer(asked: dict) -> dict:
            found = numbered(rows, asked)
            if leaves[0] and asked["page"] == 1:
                leaves[0] = False
                rows.pop(0)
            return found

        assert walk(journal, "assets", answer).tally.new == 5
        leaves[0] = True
        assert walk(journal, "assets", answer).tally.vanished == 0
        assert len(rows) == 4
        assert walk(journal, "assets", answer).tally.vanished == 1
        assert [found["event"]["id"] for found in sources(journal) if not found["soc"]["present"]] == ["1"]


class TestDeadLetters:
    def test_those_of_two_companies_do_not_collide_and_come_back_to_their_owner(self, journal: Journal) -> None:
        def answer(asked: dict) -> dict:
            found = asked["company_id"] != NOBODY
            return {"success": True, "data": [{"date": None, "day": "2026-11-20", "high": 3}] if found else []}

        assert walk(journal, "risk_trend", answer).tally.dead_letters == journal.dead_letters() == 2
        assert walk(journal, "risk_trend", answer).tally.dead_letters == 0
        over = {"sets": {"risk_trend": {"id": "day", "time": "day", "tenant": {"ask": {"heeds": True}}}}}
        assert walk(journal, "risk_trend", lambda asked: EMPTY, over=over).tally.new == 2
        assert sorted(owners(journal)) == [("c1", 3), ("c2", 3)]
        assert journal.dead_letters() == 0

    def test_one_that_is_skipped_when_it_is_tried_again_is_kept(self, journal: Journal) -> None:
        both, only_acme = frozenset({"c1", "c9"}), frozenset({"c1"})
        odd = alarm("x", 300, level="high", company={"id": "c9", "name": "Nine"})
        walk(journal, "logs", Logs(odd), directory=Directory({}, both))
        assert journal.dead_letters() == 1
        tally = walk(journal, "logs", Logs(), directory=Directory({}, only_acme), over=ANY_LEVEL).tally
        assert (tally.fetched, tally.new, reasons(journal)) == (1, 0, ["it is not to be collected now"])
        # It comes back when the company is collected again and the settings say so.
        again = {"sets": {"logs": {"only": {"level": ["high"]}}}}
        assert walk(journal, "logs", Logs(), directory=Directory({}, both), over=again).tally.new == 1
        assert "it is not to be collected now" not in reasons(journal)

    def test_the_older_state_does_not_replace_the_newer(self, journal: Journal) -> None:
        old = alarm("x", 300, level="high", reviewed=True, description="old")
        new = alarm("x", 300, reviewed=True, description="new")
        walk(journal, "logs", Logs(old, alarm("n", 1)))
        walk(journal, "logs", Logs(new, alarm("n", 1)), reconcile=timedelta(hours=48))
        walk(journal, "logs", Logs(new, alarm("n", 1)), over=ANY_LEVEL)
        assert messages(journal, "x") == ["new"]

    @pytest.mark.parametrize("number", range(8))  # in what order their digests are is chance
    def test_of_several_of_one_record_the_newest_counts(self, journal: Journal, number: int) -> None:
        for minutes, word in enumerate(["old", "new"]):
            odd = alarm("x", 300, level="high", description=f"{word}{number}")
            later = NOW + timedelta(minutes=minutes)
            walk(journal, "logs", Logs(odd, alarm("n", 1)), at=later, reconcile=timedelta(hours=48))
        assert journal.dead_letters() == 2
        walk(journal, "logs", Logs(alarm("n", 1)), at=NOW + timedelta(minutes=2), over=ANY_LEVEL)
        assert messages(journal, "x") == [f"new{number}"]

    def test_whether_the_directory_was_asked_does_not_try_them_again(self, journal: Journal) -> None:
        ownerless = {key: value for key, value in hacker_alert("h", 5).items() if key != "company"}
        for found in (DIRECTORY, Directory({}, None), DIRECTORY):
            assert walk(journal, "hacker_alerts", alerts(ownerless), directory=found).tally.malformed == 1


class TestJournal:
    def test_a_lost_database_keeps_what_is_not_sealed(self, tmp_path: Path) -> None:
        with Journal(str(tmp_path)) as journal:
            walk(journal, "logs", Logs(*[alarm(f"a{number}", number) for number in range(9)]))
        segment = tmp_path / "segments" / "00000001.ndjson"
        before = segment.read_bytes()
        assert before.count(b"\n") == 18
        for path in tmp_path.glob("journal.sqlite*"):
            path.unlink()
        for _again in range(2):
            with Journal(str(tmp_path)) as journal:
                walk(journal, "logs", Logs(alarm("later", 1)))
                assert ids(journal) == ["later"]
        assert segment.read_bytes() == before
        assert sorted(path.name for path in segment.parent.iterdir()) == ["00000001.ndjson", "00000002.ndjson"]

    def test_one_that_was_restored_from_a_backup_seals_again(self, tmp_path: Path) -> None:
        state, archive, backup = tmp_path / "state", str(tmp_path / "archive"), tmp_path / "backup"

        def run_once(days: float, *keys: str) -> None:
            """A run as the module does it: turn, collect, ship, seal."""
            newest = max(sealed_numbers(archive, "cyberalarm"), default=0)
            with Journal(
                str(state), sealed=lambda number: sealed_path(archive, "cyberalarm", number), archived=newest
            ) as journal:
                journal.turn_segment(NOW + timedelta(days=days), DAY)
                walk(journal, "logs", Logs(*[alarm(key, 9) for key in keys]))
                for batch in journal.batches():
                    journal.mark_shipped(batch, [])
                for number, path in journal.sealable():
                    seal(path, archive, "cyberalarm", number, at(0))
                    journal.mark_sealed(number)

        run_once(0, "a")
        shutil.copytree(state, backup)
        run_once(0.1, "b")
        run_once(1, "c")
        assert sealed_numbers(archive, "cyberalarm") == [1]
        first = Path(sealed_path(archive, "cyberalarm", 1)).read_bytes()
        shutil.rmtree(state)
        shutil.copytree(backup, state)
        run_once(0.1, "b", "c", "d")
        for day in range(2, 5):
            run_once(day, f"e{day}")
        numbers = sealed_numbers(archive, "cyberalarm")
        assert len(numbers) > 2
        assert Path(sealed_path(archive, "cyberalarm", 1)).read_bytes() == first
        lines = [
            line
            for number in numbers
            for line in gzip.decompress(Path(sealed_path(archive, "cyberalarm", number)).read_bytes()).splitlines()
        ]
        kept = {orjson.loads(line)["event"]["id"] for line in lines[1::2]}
        assert kept >= {"a", "b", "c", "d", "e2", "e3"}


class TestAnswers:
    def test_half_a_surrogate_does_not_block_a_page(self, monkeypatch: pytest.MonkeyPatch) -> None:
        content = [b""]
        answer = types.SimpleNamespace(status_code=200, raw=None, headers={}, url="https://vendor.example")
        answer.iter_content = lambda size: iter(content)
        http = Http(retries=Retries(total=0))
        monkeypatch.setattr(http, "_send", lambda *args, **kwargs: answer)
        content[0] = b'[{"id": "a", "description": "caf\\ud83d"}, {"id": "b", "description": "\\ud83d\\ude00 \\u00e9"}]'
        found = http.json("GET", "https://vendor.example")
        assert found == [{"id": "a", "description": "caf?"}, {"id": "b", "description": "\U0001f600 \u00e9"}]
        orjson.dumps(found)  # it can be journaled
        content[0] = b'[{"id": "a"'
        with pytest.raises(Unreachable, match="not JSON"):
            http.json("GET", "https://vendor.example")

    @pytest.mark.parametrize(("zone", "state"), [("Europe/Amsterdam", "recently offline"), ("UTC", "online")])
    def test_when_a_probe_was_last_seen_is_read_in_its_zone(self, journal: Journal, zone: str, state: str) -> None:
        company = {"id": "c1", "name": "Acme NV"}
        record = {"id": "p7", "name": "acme-core", "company": company, "status": "online"}
        record["last_seen"] = "2026-11-20 12:40:00"  # in Amsterdam that is twenty minutes ago
        over = {"sets": {"probes": {"zone": zone}}}
        walk(journal, "probes", lambda asked: {"data": [record] if asked["page"] == 1 else []}, over=over)
        assert [found["soc"]["state"] for found in sources(journal)] == [state]


class TestReconcile:
    def test_an_index_that_cannot_be_reached_does_not_end_the_run(
        self, journal: Journal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(run, "REFRESH", ())
        source, hours = source_of("logs"), timedelta(hours=48)
        walked = walk(journal, "logs", Logs(alarm("a", 300), alarm("b", 1)), reconcile=hours)
        for batch in journal.batches():
            journal.mark_shipped(batch, [])

        def down(*_args: t.Any, **_kwargs: t.Any) -> t.NoReturn:
            raise Unreachable("Elasticsearch cannot be reached")

        warnings: list[str] = []
        failures: dict[str, SocError] = {}
        run._watch(
            t.cast(t.Any, types.SimpleNamespace(clock=lambda: NOW, warn=warnings.append)),
            journal,
            t.cast(t.Any, types.SimpleNamespace(search=down, bulk=down)),
            source,
            [run.Visit(source.sets["logs"], NOW, NOW, walked)],
            dataclasses.replace(RULES, reconcile=hours),
            failures,
        )
        assert "The index cannot be counted: Elasticsearch cannot be reached" in warnings
        assert list(failures) == ["elasticsearch"]
