# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from ansible_collections.netcure.soc.plugins.module_utils._collect.profile import compile_paths, dig

from lab.companies import COMPANIES
from lab.faults import KINDS, Faults
from lab.firebox import SyslogFile
from lab.simulators import CONTROL_HEADER, Simulators
from lab.world import PROFILES, World

ACCOUNTS = "/rest/threatsync/management/v1/{}/incidents"
NOW = datetime(2026, 11, 4, 12, tzinfo=UTC)
LOGS = ("cyberalarm", "logs")
ALERTS = ("guardian360", "hacker_alerts")


class Client:
    """What a plain client sees: no retries, no cleverness."""

    def __init__(self, lab: Simulators) -> None:
        self.lab, self.session = lab, requests.Session()
        self.session.trust_env, self.session.verify = False, str(lab.tls.ca)

    def call(self, source: str, name: str, timeout: float = 5, **asked: t.Any) -> requests.Response:
        entry = PROFILES[source]["sets"][name]
        post = entry.get("method") == "POST"
        body = {"json": {**entry.get("body", {}), **asked}} if post else {"params": asked}
        method, url = "POST" if post else "GET", self.lab.url(source) + entry["path"]
        return self.session.request(method, url, headers=self.signed(source), timeout=timeout, **body)

    def signed(self, source: str) -> dict[str, str]:
        vendor = self.lab.vendors[source]
        key = {vendor.profile["api_key_header"]: vendor.api_key.value} if vendor.api_key else {}
        return {"Authorization": f"Bearer {vendor.token.value}", **key}

    def get(self, source: str, path: str, headers: dict | None = None, **asked: t.Any) -> requests.Response:
        url = self.lab.url(source) + path
        return self.session.get(url, params=asked, headers=headers or self.signed(source), timeout=5)

    def ask_token(self, source: str, auth: t.Any = None, **form: str) -> requests.Response:
        vendor = self.lab.vendors[source]
        url = self.lab.url(source) + vendor.profile["auth"]["path"]
        return self.session.post(url, data={"grant_type": "client_credentials", **form}, auth=auth, timeout=5)

    def walk_logs(self, size: int = 50) -> list[list[dict]]:
        """Every page of the log of CyberAlarm; the hits as they came."""
        pages, after = [], None
        while True:
            answer = self.call(*LOGS, size=size, search_after=after).json()
            if not answer["hits"]:
                return pages
            pages.append(answer["hits"])
            after = answer["hits"][-1]["sort"]

    def walk_pages(self, source: str, name: str, size: int = 20, **asked: t.Any) -> list[list[dict]]:
        pages: list[list[dict]] = []
        while True:
            answer = self.call(source, name, rows=size, per_page=size, page=len(pages) + 1, **asked).json()
            meta = answer.get("meta", {"last_page": 1})
            meta = meta.get("pagination", meta)
            pages.append(answer["data"])
            if len(pages) >= meta.get("total_pages", meta.get("last_page")):
                return pages

    def control(self, method: str, what: str, **asked: t.Any) -> requests.Response:
        headers = {CONTROL_HEADER: self.lab.control.value}
        return self.session.request(method, f"{self.lab.url('_lab')}/{what}", json=asked, headers=headers, timeout=5)


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> t.Iterator[Simulators]:
    with Simulators(tmp_path_factory.mktemp("lab"), World(per_day=12, now=NOW)) as lab:
        yield lab


@pytest.fixture
def lab(shared: Simulators) -> Simulators:
    shared.world = World(per_day=12, now=NOW)
    shared.world.version = len(shared.calls) + 1_000_000  # nothing that was remembered of the last test fits
    shared.faults.clear()
    shared.page_cap = 500
    for vendor in shared.vendors.values():
        vendor.tokens.lifetime = 3600
    return shared


@pytest.fixture
def client(lab: Simulators) -> Client:
    return Client(lab)


def flat(pages: list[list[dict]]) -> list[str]:
    return [record.get("_source", record)["id"] for page in pages for record in page]


def true_ids(lab: Simulators, source: str, name: str) -> set[str]:
    return {i for company in lab.world.truth()["sources"][source][name].values() for i in company["ids"]}


def test_walking_the_log_gives_the_truth_and_the_company_without_subscription(lab: Simulators, client: Client) -> None:
    ids = flat(client.walk_logs())
    others = {
        record.id for record in lab.world.log(*LOGS) if not record.company.subscribed and record.body["level"] < 4
    }
    assert len(ids) == len(set(ids))
    assert set(ids) == true_ids(lab, *LOGS) | others


def test_the_log_is_sorted_and_breaks_ties_by_id(client: Client) -> None:
    sorts = [hit["sort"] for page in client.walk_logs() for hit in page]
    assert sorts == sorted(sorts)


def test_from_levels_and_companies_narrow_the_log(lab: Simulators, client: Client) -> None:
    hits = client.call(*LOGS, size=500, **{"from": "2026-11-04T06:00:00Z"}, levels=[2], company_ids=["c1"]).json()[
        "hits"
    ]
    assert hits
    for hit in hits:
        record = hit["_source"]
        assert (record["level"], record["company"]["id"]) == (2, "c1")
        assert record["timestamp"] >= "2026-11-04T06:00:00"
    assert client.call(*LOGS, search_after=["x"]).status_code == 400


LISTED = [name for name, entry in PROFILES["guardian360"]["sets"].items() if "ask" not in entry["tenant"]]
FIGURES = [name for name, entry in PROFILES["guardian360"]["sets"].items() if "ask" in entry["tenant"]]


def ids_of(name: str, records: list[dict]) -> list[str]:
    found = compile_paths(PROFILES["guardian360"]["sets"][name]["id"])
    return [str(dig(record, found)) for record in records]


@pytest.mark.parametrize("name", sorted({*LISTED} - {"hacker_alerts", "live_assets"}))
def test_walking_pages_gives_the_truth(lab: Simulators, client: Client, name: str) -> None:
    ids = ids_of(name, [record for page in client.walk_pages("guardian360", name) for record in page])
    assert len(ids) == len(set(ids))
    assert set(ids) == true_ids(lab, "guardian360", name)


def test_live_assets_are_counted_per_company(lab: Simulators, client: Client) -> None:
    data = client.call("guardian360", "live_assets").json()["data"]
    assert {row["company_id"] for row in data["per_company"]} == true_ids(lab, "guardian360", "live_assets")
    assert data["total"] == sum(row["count"] for row in data["per_company"]) > 0


@pytest.mark.parametrize("name", FIGURES)
class TestFigures:
    def test_are_those_of_the_company_that_was_asked_about(self, lab: Simulators, client: Client, name: str) -> None:
        truth = lab.world.truth()["sources"]["guardian360"][name]
        for company in COMPANIES[:2]:
            records = client.call("guardian360", name, company_id=company.ids["guardian360"]).json()["data"]
            assert sorted(ids_of(name, records)) == sorted(truth[company.name]["ids"])
            assert all("company" not in record for record in records)
            assert sum(record["medium"] for record in records) > 0

    def test_nothing_is_known_of_a_company_that_does_not_exist(self, client: Client, name: str) -> None:
        assert client.call("guardian360", name, company_id="nobody").json()["data"] == []

    def test_asked_about_nobody_they_are_of_all_together(self, client: Client, name: str) -> None:
        together = client.call("guardian360", name).json()["data"]
        apart = [
            record
            for company in COMPANIES
            for record in client.call("guardian360", name, company_id=company.ids["guardian360"]).json()["data"]
        ]
        assert set(ids_of(name, together)) == set(ids_of(name, apart))
        assert len(set(ids_of(name, together))) == len(together)
        assert sum(record["high"] for record in together) == sum(record["high"] for record in apart)

    def test_a_vendor_that_does_not_heed_the_question(self, lab: Simulators, client: Client, name: str) -> None:
        lab.world.heed_company_id(False)
        together = client.call("guardian360", name).json()
        assert client.call("guardian360", name, company_id="nobody").json() == together
        truth = lab.world.truth()["sources"]["guardian360"][name]
        assert sorted(truth["Provider"]["ids"]) == sorted(ids_of(name, together["data"]))
        assert truth["Provider"]["index"].endswith("-provider")
        assert list(truth) == ["Provider"]

    def test_come_as_one_answer_whatever_page_is_asked_for(self, client: Client, name: str) -> None:
        first, second = (client.call("guardian360", name, rows=1, page=page).json() for page in (1, 2))
        assert first == second
        assert "meta" not in first


class TestSecondVersion:
    @pytest.mark.parametrize("name", sorted(PROFILES["guardian360"]["api"]["v2"]["sets"]))
    def test_has_the_same_records_in_its_own_envelope(self, lab: Simulators, client: Client, name: str) -> None:
        entry = PROFILES["guardian360"]["api"]["v2"]["sets"][name]
        answer = client.get("guardian360", entry["path"], per_page=5, page=2, **entry["variants"][0]).json()
        assert "success" not in answer
        assert (len(answer["data"]), answer["meta"]["per_page"], answer["meta"]["current_page"]) == (5, 5, 2)
        assert answer["meta"]["from"] == 6
        assert set(answer["links"]) == {"first", "last", "prev", "next"}
        everything = client.get("guardian360", entry["path"], per_page=500, **entry["variants"][0]).json()
        assert set(ids_of(name, everything["data"])) == true_ids(lab, "guardian360", name)
        for record in everything["data"]:
            assert record["company"]["name"] in {company.name for company in COMPANIES}
            assert record["updated_at"]

    def test_gives_relations_only_when_they_are_asked_for(self, client: Client) -> None:
        path = "/api/v2/scanobjects"
        plain, full = (
            client.get("guardian360", path, **asked).json()["data"][0] for asked in ({}, {"with": "company"})
        )
        assert "company" not in plain
        assert "company" in full
        assert plain["ssl"] is False and "scannerplatform" not in full


class TestTokens:
    def test_a_form_with_id_and_secret_buys_a_token(self, lab: Simulators, client: Client) -> None:
        tokens = lab.vendors["guardian360"].tokens
        right = {"client_id": tokens.client_id, "client_secret": tokens.client_secret.value}
        answer = client.ask_token("guardian360", **right).json()
        assert answer["expires_in"] == 3600
        headers = {**client.signed("guardian360"), "Authorization": f"Bearer {answer['access_token']}"}
        path = PROFILES["guardian360"]["sets"]["probes"]["path"]
        assert client.get("guardian360", path, headers).ok
        assert client.ask_token("guardian360", **{**right, "client_secret": "x"}).status_code == 401
        assert client.ask_token("guardian360", **{**right, "grant_type": "password"}).status_code == 400
        assert client.ask_token("guardian360", (tokens.client_id, tokens.client_secret.value)).status_code == 401
        assert tokens.client_secret.value not in str(client.control("GET", "calls").json())
        tokens.renew()
        assert client.get("guardian360", path, headers).status_code == 401

    def test_watchguard_wants_basic_and_a_scope(self, lab: Simulators, client: Client) -> None:
        tokens = lab.vendors["watchguard"].tokens
        pair = (tokens.client_id, tokens.client_secret.value)
        scope = PROFILES["watchguard"]["auth"]["scope"]
        assert client.ask_token("watchguard", pair, scope=scope).ok
        assert client.ask_token("watchguard", pair).json() == {"error": "invalid_scope"}
        assert client.ask_token("watchguard", (pair[0], "x"), scope=scope).status_code == 401
        wrong = {"client_id": pair[0], "client_secret": pair[1], "scope": scope}
        assert client.ask_token("watchguard", **wrong).status_code == 401

    def test_a_token_lives_as_long_as_it_says(self, lab: Simulators, client: Client) -> None:
        tokens = lab.vendors["guardian360"].tokens
        tokens.lifetime = 0.0
        old = tokens.give()["access_token"]
        tokens.lifetime = 60.0
        assert not tokens.fits(old)
        assert tokens.fits(tokens.give()["access_token"])

    def test_a_token_that_was_bought_expires_by_a_fault(self, lab: Simulators, client: Client) -> None:
        tokens = lab.vendors["guardian360"].tokens
        path = PROFILES["guardian360"]["sets"]["probes"]["path"]
        old, fresh = ({"Authorization": f"Bearer {tokens.give()['access_token']}"} for _token in range(2))
        key = {"Api-Key": client.signed("guardian360")["Api-Key"]}
        lab.faults.add("expire", set="probes")
        assert client.get("guardian360", path, {**old, **key}).status_code == 401
        assert client.get("guardian360", path, {**old, **key}).status_code == 401
        assert client.get("guardian360", path, {**fresh, **key}).ok

    def test_faults_strike_the_endpoint_too(self, lab: Simulators, client: Client) -> None:
        lab.faults.add("500", set="token")
        lab.faults.add("401", set="token")
        tokens = lab.vendors["guardian360"].tokens
        right = {"client_id": tokens.client_id, "client_secret": tokens.client_secret.value}
        assert [client.ask_token("guardian360", **right).status_code for _call in range(3)] == [500, 401, 200]


class TestWatchGuardCloud:
    def walk(self, client: Client, account: str, limit: int) -> list[dict]:
        found: list[dict] = []
        while True:
            after = {"start_after": found[-1]["id"]} if found else {}
            asked = {"sortBy": "created_at", "limit": limit, **after}
            page = client.get("watchguard", ACCOUNTS.format(account), **asked).json()["items"]
            if not page:
                return found
            found += page

    def test_walking_an_account_gives_its_incidents(self, lab: Simulators, client: Client) -> None:
        lab.world = World(per_day=60, now=NOW)
        truth = lab.world.truth()["sources"]["watchguard"]["incidents"]
        for company in COMPANIES:
            if company.firewall:
                found = self.walk(client, company.ids["watchguard"], 3)
                assert [row["id"] for row in found] == truth[company.name]["ids"]
                assert {row["account_id"] for row in found} == {company.ids["watchguard"]}
                assert [row["created_at"] for row in found] == sorted(row["created_at"] for row in found)
        assert any(entry["count"] > 3 for entry in truth.values())

    @pytest.mark.parametrize("kind", ["repeat", "shuffle", "swap"])
    def test_disorder_loses_nothing(self, lab: Simulators, client: Client, kind: str) -> None:
        lab.world = World(per_day=120, now=NOW)
        account = COMPANIES[0].ids["watchguard"]
        honest = {row["id"] for row in self.walk(client, account, 4)}
        lab.faults.add(kind, after=1)
        assert {row["id"] for row in self.walk(client, account, 4)} == honest

    def test_accounts_that_do_not_exist_and_the_key(self, client: Client) -> None:
        assert client.get("watchguard", ACCOUNTS.format("WGC-1-nobody")).status_code == 404
        path = ACCOUNTS.format(COMPANIES[0].ids["watchguard"])
        signed = client.signed("watchguard")
        assert signed["WatchGuard-API-Key"]
        assert client.get("watchguard", path).ok
        assert client.get("watchguard", path, {"Authorization": signed["Authorization"]}).status_code == 401


def test_the_log_is_searched_by_ids(lab: Simulators, client: Client) -> None:
    (fresh,) = lab.world.raise_incident("muller-zonen-bv", 1)
    other = next(record.id for record in lab.world.log(*LOGS) if record.body["level"] < 4)
    lab.world.review(other)
    hits = client.call(*LOGS, ids=[fresh, other, "al-nobody"]).json()["hits"]
    assert {hit["_source"]["id"]: hit["_source"]["reviewed"] for hit in hits} == {fresh: False, other: True}
    assert client.call(*LOGS, ids=[]).json()["hits"] == []


def test_the_inventory_is_told_how_to_reach_every_vendor(lab: Simulators) -> None:
    endpoints = lab.endpoints()
    assert set(endpoints) == set(PROFILES)
    for entry in endpoints.values():
        assert entry["base_url"].startswith("https://localhost:")
        for name in ("token_file", "client_secret_file", "api_key_file"):
            assert name not in entry or Path(entry[name]).read_text("ascii").strip()
    watchguard = endpoints["watchguard"]
    assert len(watchguard["accounts"]) == len(watchguard["devices"]) == sum(company.firewall for company in COMPANIES)
    assert COMPANIES[0].firebox[1] in watchguard["devices"]


class TestSyslog:
    def lines(self, file: SyslogFile) -> list[str]:
        """Every line that is kept, oldest first."""
        files = sorted(file.home.glob("firebox.log.*"), key=lambda path: int(path.suffix[1:]), reverse=True)
        paths = [*files, file.path]
        return [line for path in paths for line in path.read_text().splitlines()]

    def true(self, world: World) -> list[str]:
        truth = world.truth()["sources"]["watchguard"]
        (name,) = [name for name, entry in PROFILES["watchguard"]["sets"].items() if entry.get("files")]
        return [line for company in truth[name].values() for line in company["ids"]]

    def test_the_file_follows_the_clock_and_is_rotated(self, tmp_path: t.Any) -> None:
        world, file = World(per_day=60, now=NOW), SyslogFile(tmp_path, rotate=2000)
        assert file.catch_up(world) > 50
        assert file.catch_up(world) == 0
        for _hour in range(6):
            world.advance(3600)
            SyslogFile(tmp_path, rotate=2000).catch_up(world)  # a restart goes on where it was
        assert sorted(self.lines(file)) == sorted(self.true(world))
        assert len(list(tmp_path.glob("firebox/firebox.log.*"))) > 1
        stamps = [line.split("(")[1][:19] for line in self.lines(file)]
        assert stamps == sorted(stamps)

    def test_the_oldest_files_go(self, tmp_path: t.Any) -> None:
        world, file = World(per_day=60, now=NOW), SyslogFile(tmp_path, rotate=1)
        for _day in range(12):
            world.advance(86_400)
            file.catch_up(world)
        assert len(list(file.home.glob("firebox.log.*"))) == 7
        assert set(self.lines(file)) < set(self.true(world))

    def test_the_control_writes_it(self, lab: Simulators, client: Client) -> None:
        assert client.control("POST", "reset", seed=3, per_day=20, now="2026-11-04T00:00:00Z").ok
        before = self.lines(lab.syslog)
        assert sorted(before) == sorted(self.true(lab.world))
        assert client.control("POST", "clock", advance=86_400).ok
        assert self.lines(lab.syslog)[: len(before)] == before
        assert sorted(self.lines(lab.syslog)) == sorted(self.true(lab.world))

    def test_the_lines_of_a_company_are_those_of_its_firebox(self) -> None:
        world, company = World(per_day=400, now=NOW), COMPANIES[1]
        day_before, half = NOW - timedelta(days=1), NOW - timedelta(hours=12)
        records = world.firebox_records(company, day_before, NOW)
        lines = [record.body["line"] for record in records]
        name, serial = company.firebox
        assert all(f" {name} {serial} (2026-11-0" in line for line in lines)
        codes = {line.split('msg_id="')[1][:9] for line in lines}
        assert codes >= {"3000-0148", "3000-0150", "3000-0153", "2CFF-0000", "020B-0001", "3E00-0002", "1100-0005"}
        assert len(set(lines)) == len(lines)
        assert records == [
            *world.firebox_records(company, day_before, half),
            *world.firebox_records(company, half, NOW),
        ]
        assert world.firebox_records(COMPANIES[4], day_before, NOW) == []


def test_hacker_alerts_come_in_two_lists_newest_first(lab: Simulators, client: Client) -> None:
    lists = [client.walk_pages(*ALERTS, **{"columns[acknowledged]": flag}) for flag in (0, 1)]
    assert {record["acknowledged"] for page in lists[0] for record in page} == {0}
    assert set(flat(lists[0])) | set(flat(lists[1])) == true_ids(lab, *ALERTS)
    times = [record["created_at"] for page in lists[1] for record in page]
    assert times == sorted(times, reverse=True)


def test_envelopes_are_those_of_the_profiles(client: Client) -> None:
    answer = client.call(*ALERTS, rows=5).json()
    assert answer["success"] is True
    assert answer["meta"]["pagination"]["per_page"] == len(answer["data"]) == 5
    assert set(client.call("cyberalarm", "probes").json()["meta"]) >= {"last_page", "per_page", "total"}


def test_the_directory_names_every_company_and_its_subscription(lab: Simulators, client: Client) -> None:
    headers = {"Authorization": f"Bearer {lab.vendors['cyberalarm'].token.value}"}
    url = lab.url("cyberalarm") + PROFILES["cyberalarm"]["companies"]["path"]
    rows = client.session.get(url, headers=headers, timeout=5).json()["data"]
    assert [row["name"] for row in rows if not row["subscribed"]] == ["Gemeente Oostdijk"]


def test_the_server_caps_the_size_of_pages(lab: Simulators, client: Client) -> None:
    lab.page_cap = 7
    assert len(client.call(*LOGS, size=500).json()["hits"]) == 7
    assert len(client.call(*ALERTS, rows=100).json()["data"]) == 7


def test_one_alarm_is_found_again_by_its_id(lab: Simulators, client: Client) -> None:
    (identity,) = lab.world.raise_incident("muller-zonen-bv", 1)
    lab.world.review(identity)
    url = f"{lab.url('cyberalarm')}/api/v1/logs/{identity}"
    headers = {"Authorization": f"Bearer {lab.vendors['cyberalarm'].token.value}"}
    assert client.session.get(url, headers=headers, timeout=5).json()["reviewed"] is True


def test_nobody_enters_without_token_and_key(lab: Simulators, client: Client) -> None:
    for source, name in (LOGS, ALERTS):
        vendor, entry = lab.vendors[source], PROFILES[source]["sets"][name]
        right = {"Authorization": f"Bearer {vendor.token.value}"}
        wrong = [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {vendor.token.value}"}]
        if vendor.api_key:
            wrong += [right, {**right, "Api-Key": "wrong"}]
        for headers in wrong:
            url = lab.url(source) + entry["path"]
            answer = client.session.request(entry.get("method", "GET"), url, headers=headers, timeout=5)
            assert answer.status_code == 401
    for headers in ({}, {CONTROL_HEADER: "wrong"}):
        assert client.session.get(f"{lab.url('_lab')}/truth", headers=headers, timeout=5).status_code == 401


def test_unknown_paths_are_html_pages(lab: Simulators, client: Client) -> None:
    answer = client.session.get(f"{lab.url('guardian360')}/api/v1/nothing", timeout=5)
    assert answer.status_code == 404
    assert answer.text.startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(("source", "name"), [LOGS, ALERTS])
class TestFaults:
    def test_429_says_when_to_come_back(self, lab: Simulators, client: Client, source: str, name: str) -> None:
        lab.faults.add("429", retry_after=3)
        lab.faults.add("429", retry_after=3, date=True)
        assert client.call(source, name).headers["Retry-After"] == "3"
        assert client.call(source, name).headers["Retry-After"].endswith("GMT")
        assert client.call(source, name).ok

    def test_500_is_html(self, lab: Simulators, client: Client, source: str, name: str) -> None:
        lab.faults.add("500", source=source, count=2, after=1)
        assert [client.call(source, name).status_code for _call in range(4)] == [200, 500, 500, 200]

    def test_timeout(self, lab: Simulators, client: Client, source: str, name: str) -> None:
        lab.faults.add("timeout", seconds=1)
        with pytest.raises(requests.exceptions.ReadTimeout):
            client.call(source, name, timeout=0.1)

    def test_cut_off(self, lab: Simulators, client: Client, source: str, name: str) -> None:
        lab.faults.add("cut")
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            client.call(source, name)

    def test_short_and_html_are_no_json(self, lab: Simulators, client: Client, source: str, name: str) -> None:
        for kind in ("short", "html"):
            lab.faults.add(kind)
            answer = client.call(source, name)
            assert answer.status_code == 200
            with pytest.raises(requests.exceptions.JSONDecodeError):
                answer.json()

    def test_refused(self, lab: Simulators, client: Client, source: str, name: str) -> None:
        lab.faults.add("refused")
        answer = client.call(source, name).json()
        assert answer.get("success", False) is False
        assert "could not" in " ".join(map(str, answer.values()))

    def test_a_token_expires_for_a_call(self, lab: Simulators, client: Client, source: str, name: str) -> None:
        lab.faults.add("401")
        assert [client.call(source, name).status_code for _call in range(2)] == [401, 200]

    def test_a_token_expires_until_there_is_another(
        self, lab: Simulators, client: Client, source: str, name: str
    ) -> None:
        lab.faults.add("expire")
        assert [client.call(source, name).status_code for _call in range(2)] == [401, 401]
        lab.vendors[source].token.renew()
        assert client.call(source, name).ok

    @pytest.mark.parametrize("kind", ["repeat", "shuffle", "swap"])
    def test_disorder_loses_nothing(self, lab: Simulators, client: Client, source: str, name: str, kind: str) -> None:
        walk = client.walk_logs if name == "logs" else lambda: client.walk_pages(*ALERTS, size=8)
        honest = flat(walk())
        lab.faults.add(kind, after=1)
        disturbed = flat(walk())
        assert set(disturbed) == set(honest)
        assert disturbed != honest
        assert len(disturbed) > len(honest) or kind == "shuffle" or name != "logs"


def test_a_fault_strikes_only_what_it_names() -> None:
    faults = Faults()
    faults.add("500", source="guardian360", set="probes")
    assert faults.strike("cyberalarm", "probes") is None
    assert faults.strike("guardian360", "hacker_alerts") is None
    assert faults.strike("guardian360", "probes").kind == "500"
    assert faults.strike("guardian360", "probes") is None
    with pytest.raises(ValueError, match="There is no fault"):
        faults.add("earthquake")


def test_the_control_of_the_lab(lab: Simulators, client: Client) -> None:
    lab.calls.clear()
    assert client.control("POST", "clock", advance=60).json() == {"now": "2026-11-04T12:01:00.000Z"}
    assert client.control("POST", "clock", set="2020-01-01T00:00:00Z").status_code == 400
    (identity,) = client.control("POST", "incident", company="muller-zonen-bv", level=1).json()["ids"]
    assert client.control("POST", "review", ids=[identity], by="an").json() == {"reviewed": 1}
    assert client.control("POST", "late", share=0.01, seconds=60).ok
    assert client.control("POST", "probe", id="p11", status="offline").ok
    assert client.control("POST", "faults", kind="500", source="cyberalarm").json()[0]["kind"] == "500"
    assert client.control("POST", "faults", kind="x").status_code == 400
    assert client.call(*LOGS).status_code == 500
    # One of an earlier test, whose client did not wait for the answer, may end only now.
    (call,) = [call for call in client.control("GET", "calls").json() if call["fault"] == "500"]
    assert (call["source"], call["set"], call["status"], call["fault"]) == ("cyberalarm", "logs", 500, "500")
    assert client.control("DELETE", "faults").json() == []
    settings = {"page_cap": 3, "heeds_company_id": False, "token_lifetime": 60.0}
    assert client.control("POST", "settings", **settings).json() == settings
    assert client.control("POST", "solve", ids=["i1"]).ok
    assert lab.world.solved.keys() == {"i1"}
    truth = client.control("GET", "truth").json()
    assert truth["sources"]["cyberalarm"]["logs"]["Müller & Zonen BV"]["ids"][-1] == identity
    assert World.load(json.loads(lab.state_file.read_bytes())).reviews[identity]["by"] == "an"
    fresh = client.control("POST", "reset", seed=5, per_day=3, now="2026-11-03T00:00:00Z").json()
    assert (fresh["seed"], fresh["per_day"], fresh["incidents"], fresh["now"]) == (5, 3, [], "2026-11-03T00:00:00.000Z")
    assert client.control("GET", "calls").json() == []


def test_every_fault_is_described() -> None:
    assert all(text and not text.endswith(".") for text in KINDS.values())


def test_secrets_are_for_their_owner_only(lab: Simulators) -> None:
    for path in (*(lab.folder / "secrets").iterdir(), lab.tls.key, lab.folder / "tls" / "ca.key"):
        assert path.stat().st_mode & 0o077 == 0, path
