# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t
from datetime import UTC, datetime

import pytest
import requests

from lab.faults import KINDS, Faults
from lab.simulators import CONTROL_HEADER, Simulators
from lab.world import PROFILES, World

NOW = datetime(2026, 11, 4, 12, tzinfo=UTC)
LOGS = ("cyberalarm", "logs")
ALERTS = ("guardian360", "hacker_alerts")


class Client:
    """What a plain client sees: no retries, no cleverness."""

    def __init__(self, lab: Simulators) -> None:
        self.lab, self.session = lab, requests.Session()
        self.session.trust_env, self.session.verify = False, str(lab.tls.ca)

    def call(self, source: str, name: str, timeout: float = 5, **asked: t.Any) -> requests.Response:
        entry, vendor = PROFILES[source]["sets"][name], self.lab.vendors[source]
        headers = {"Authorization": f"Bearer {vendor.token.value}"}
        if vendor.api_key:
            headers["Api-Key"] = vendor.api_key.value
        post = entry.get("method") == "POST"
        body = {"json": {**entry.get("body", {}), **asked}} if post else {"params": asked}
        method, url = "POST" if post else "GET", self.lab.url(source) + entry["path"]
        return self.session.request(method, url, headers=headers, timeout=timeout, **body)

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
            meta = answer["meta"].get("pagination", answer["meta"])
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


@pytest.mark.parametrize("name", ["issue_operations", "probes"])
def test_walking_pages_gives_the_truth(lab: Simulators, client: Client, name: str) -> None:
    ids = flat(client.walk_pages("guardian360", name))
    assert len(ids) == len(set(ids))
    assert set(ids) == true_ids(lab, "guardian360", name)


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


def test_subscriptions_name_every_company(lab: Simulators, client: Client) -> None:
    headers = {"Authorization": f"Bearer {lab.vendors['cyberalarm'].token.value}"}
    url = lab.url("cyberalarm") + PROFILES["cyberalarm"]["subscriptions"]["path"]
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
    (call,) = client.control("GET", "calls").json()
    assert (call["source"], call["set"], call["status"], call["fault"]) == ("cyberalarm", "logs", 500, "500")
    assert client.control("DELETE", "faults").json() == []
    assert client.control("POST", "settings", page_cap=3).json() == {"page_cap": 3}
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
