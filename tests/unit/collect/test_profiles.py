# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the profiles of Guardian360 and CyberAlarm make of records as the vendors are known, or assumed, to send them."""

from __future__ import annotations

import json
import typing as t
from datetime import timedelta

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._collect.normalise import (
    Company,
    Document,
    Malformed,
    normalise,
)
from ansible_collections.netcure.soc.plugins.module_utils._collect.profile import Source, dig, load, merge
from ansible_collections.netcure.soc.plugins.module_utils._collect.profiles import cyberalarm, guardian360
from ansible_collections.netcure.soc.plugins.module_utils._core.ids import slug

OBSERVED = "2026-11-20T12:00:00.000Z"
ACME = Company("c1", "Acme NV")
NAMES = {"c1": "Acme NV"}
OWNER = {"company": {"data": {"id": "c1", "name": "Acme NV", "email": "info@acme.example"}}}
STAMPS = {"created_at": "2026-11-01 08:00:00", "updated_at": "2026-11-20 09:14:02"}
ON = {"scanobject": {"data": {"id": "so1", "value": "10.0.0.20"}}}
RISKS = {"critical": 1, "high": 4, "medium": 17, "low": 30, "info": 80}
V2 = merge(guardian360.PROFILE, guardian360.PROFILE["api"]["v2"])

PROBE = {
    "id": "p1",
    "name": "probe-bru-01",
    "status": "online",
    "ipv4": "10.0.0.5",
    "memory": "4096",
    "memory_bytes": 4294967296,
    "image_location": "https://images.example/p1",
    "notification_emails": "it@acme.example",
    "scannerplatform": {"data": {"id": "sp1", "description": "Acme internal"}},
    **OWNER,
    **STAMPS,
}
ISSUE = {
    "id": "i1",
    "title": "TLS 1.0 enabled",
    "description": "The server offers TLS 1.0.",
    "solution": "Switch it off.",
    "technical_data": "TLSv1 accepted",
    "risk": "medium",
    "cvss": 5.9,
    "cve": ["CVE-2011-3389"],
    "scanner": "openvas",
    "port": 443,
    "protocol": "tcp",
    "status": "open",
    "first_seen": "2026-10-01",
    "last_seen": "2026-11-19",
    **ON,
    **OWNER,
}

# A record of each set, and what is expected of its document: vendor id, @timestamp, and fields.
SAMPLES: dict[str, tuple[dict, str, str, dict]] = {
    "assets": (
        {"id": "so1", "name": "web", "value": "https://www.acme.example", "type": "url", "port": 443, "ssl": 1}
        | {"enabled": True, "scannerplatform": {"data": {"description": "Public"}}, **OWNER, **STAMPS},
        "so1",
        "2026-11-20T09:14:02.000Z",
        {"host.name": "https://www.acme.example", "server.port": 443, "soc.enabled": True, "soc.platform": "Public"},
    ),
    "companies": (
        {"id": "c1", "name": "Acme NV", "website": "https://acme.example", "email": "info@acme.example"}
        | {"has_contract": True, "billable_employees": 40, **STAMPS},
        "c1",
        "2026-11-20T09:14:02.000Z",
        {"url.original": "https://acme.example", "soc.contract": True, "soc.employees": 40},
    ),
    "hacker_alert_appliances": (
        {**PROBE, "id": "haa1", "scannerplatform": None},
        "haa1",
        "2026-11-20T09:14:02.000Z",
        {"host.id": "haa1", "host.ip": "10.0.0.5", "soc.status": "online"},
    ),
    "hacker_alert_exclusions": (
        {"id": "x1", "name": "Monitoring", "type": "ipv4-range", "value": "10.0.0.0/29", "reason": "It pings."}
        | {"port": None, "appliance": {"id": "haa1", "name": "canary-01"}, **OWNER, **STAMPS},
        "x1",
        "2026-11-20T09:14:02.000Z",
        {"source.address": "10.0.0.0/29", "message": "It pings.", "observer.name": "canary-01"},
    ),
    "hacker_alerts": (
        {"id": "ha1", "appliance": {"id": "haa1", "name": "canary-01"}, "source_ip": "10.0.0.66", "source_port": 51322}
        | {"destination_ip": "10.0.0.9", "destination_port": 22, "protocol": "tcp", "service": "ssh"}
        | {"severity": "high", "message": "SSH login attempt on decoy", "username": "root", "acknowledged": 1}
        | {"acknowledged_by": "an", **OWNER, **STAMPS},
        "ha1",
        "2026-11-01T08:00:00.000Z",
        {"source.ip": "10.0.0.66", "user.name": "root", "soc.reviewed": True, "observer.name": "canary-01"},
    ),
    "issue_operations": (
        {"id": "o1", "operation": "closed", "issue": {"id": "i1", "title": "TLS 1.0 enabled", "risk": "medium"}}
        | {"performed_by": "an", **ON, **OWNER, **STAMPS},
        "o1",
        "2026-11-01T08:00:00.000Z",
        {"event.action": "closed", "host.name": "10.0.0.20", "soc.issue_id": "i1", "vulnerability.severity": "medium"},
    ),
    "issues": (
        ISSUE,
        "i1",
        "2026-11-19T00:00:00.000Z",
        {"vulnerability.id": ["CVE-2011-3389"], "vulnerability.score.base": 5.9, "host.name": "10.0.0.20"}
        | {"vulnerability.scanner.vendor": "openvas", "soc.solution": "Switch it off.", "server.port": 443}
        | {"soc.first_seen": "2026-10-01T00:00:00.000Z"},
    ),
    "live_assets": ({"company_id": "c1", "count": 37}, "c1", OBSERVED, {"soc.count": 37}),
    "probes": (
        PROBE,
        "p1",
        "2026-11-20T09:14:02.000Z",
        {"host.name": "probe-bru-01", "soc.platform": "Acme internal", "soc.last_seen": "2026-11-20T09:14:02.000Z"},
    ),
    "risk_trend": ({"date": "2026-11-01", **RISKS}, "2026-11-01", "2026-11-01T00:00:00.000Z", {"soc.risks.high": 4}),
    "risks_per_asset": ({**ON, **RISKS}, "so1", OBSERVED, {"host.name": "10.0.0.20", "soc.risks.info": 80}),
    "risks_per_date": ({"date": "2026-10-03", **RISKS}, "2026-10-03", "2026-10-03T00:00:00.000Z", {}),
    "risks_per_scanner": (
        {"scanner": "nuclei", **RISKS},
        "nuclei",
        OBSERVED,
        {"vulnerability.scanner.vendor": "nuclei", "soc.risks.critical": 1},
    ),
    "scanner_exclusions": (
        {
            "id": "x2",
            "name": "Fragile",
            "type": "port",
            "value": "9100",
            "reason": "It prints.",
            **ON,
            **OWNER,
            **STAMPS,
        },
        "x2",
        "2026-11-20T09:14:02.000Z",
        {"soc.value": "9100", "host.id": "so1", "message": "It prints."},
    ),
    "scanner_platforms": (
        {"id": "sp1", "description": "Acme internal", "company_id": "c1", "scanobject_count": 12}
        | {"scanobjects": {"data": [{"id": "so1"}]}},
        "sp1",
        OBSERVED,
        {"soc.platform": "Acme internal", "soc.count": 12},
    ),
    "schedules": (
        {"id": "s1", "name": "Nights", "description": "Every night", "from": "22:00", "to": "06:00", "active": True}
        | OWNER,
        "s1",
        OBSERVED,
        {"soc.name": "Nights", "soc.window_begin": "22:00", "soc.window_end": "06:00", "soc.enabled": True},
    ),
}
STATISTICS = ("risk_trend", "risks_per_asset", "risks_per_date", "risks_per_scanner")


def document(profile: dict, name: str, record: dict, company: Company | None = None) -> Document:
    source = load(profile)
    return normalise(record, source, source.sets[name], OBSERVED, lambda _id, given: slug(given), company, NAMES)


def value(found: Document, field: str) -> t.Any:
    return dig(found.source, (tuple(field.split(".")),))


@pytest.fixture
def source() -> Source:
    return load(guardian360.PROFILE)


@pytest.mark.parametrize("profile", [guardian360.PROFILE, cyberalarm.PROFILE], ids=lambda profile: profile["source"])
def test_a_profile_is_data(profile: dict) -> None:
    assert json.loads(json.dumps(profile)) == profile


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_record_becomes_a_document_of_its_company(name: str) -> None:
    record, identity, time, fields = SAMPLES[name]
    found = document(guardian360.PROFILE, name, record, ACME if name in STATISTICS else None)
    assert found.rejected == ()
    assert (found.vendor_id, found.time, found.tenant) == (identity, time, "c1")
    assert found.source["organization"] == {"id": "c1", "name": "Acme NV"}
    assert {field: value(found, field) for field in fields} == fields
    assert found.index == f"soc-guardian360.{name.replace('_', '-')}-acme-nv"


@pytest.mark.parametrize("name", sorted(set(SAMPLES) - {"issues", "live_assets", "issue_operations", *STATISTICS}))
def test_what_only_moves_with_time_is_no_change(name: str) -> None:
    record = SAMPLES[name][0]
    later = {**record, "updated_at": "2026-11-20 10:00:00", "meta": {"page": 2}}
    if name == "probes":
        later |= {"percentage_of_scheduled_time": 7, "numberOfFailedScanJobs": 1}
    one, other = (document(guardian360.PROFILE, name, each) for each in (record, later))
    assert one.digest == other.digest


def test_all_sixteen_calls_are_there_and_none_without_a_sample(source: Source) -> None:
    assert set(source.sets) == set(SAMPLES)
    assert len(source.sets) == 16


def test_what_moves_fast_is_asked_every_five_minutes_and_the_rest_daily(source: Source) -> None:
    often = {name for name, data_set in source.sets.items() if data_set.every == timedelta(minutes=5)}
    assert often == {"hacker_alerts", "hacker_alert_appliances", "probes"}
    assert {data_set.every for data_set in source.sets.values()} == {timedelta(minutes=5), timedelta(hours=24)}


def test_kinds_follow_from_how_a_list_behaves(source: Source) -> None:
    kinds = {name: data_set.kind for name, data_set in source.sets.items()}
    assert {name for name, kind in kinds.items() if kind == "state"} == {
        "hacker_alerts",
        "risk_trend",
        "risks_per_date",
    }
    assert {name for name, kind in kinds.items() if kind == "event"} == {"issue_operations"}
    assert {name for name in source.sets if source.sets[name].newest_first} == {"hacker_alerts", "issue_operations"}


def test_only_statistics_are_asked_company_by_company(source: Source) -> None:
    asked = {name: data_set.ask for name, data_set in source.sets.items() if data_set.ask}
    assert asked == dict.fromkeys(STATISTICS, {"param": "company_id"})
    with pytest.raises(Malformed, match="names no company"):
        document(guardian360.PROFILE, "risk_trend", SAMPLES["risk_trend"][0])


@pytest.mark.parametrize(("name", "private"), [("companies", "info@acme.example"), ("probes", "it@acme.example")])
def test_how_people_are_reached_stays_in_the_portal(name: str, private: str) -> None:
    record = SAMPLES[name][0]
    assert private in str(record)
    assert private not in str(document(guardian360.PROFILE, name, record).source)


def test_an_open_alert_is_one_that_nobody_acknowledged() -> None:
    record = SAMPLES["hacker_alerts"][0]
    assert document(guardian360.PROFILE, "hacker_alerts", record).open is False
    assert document(guardian360.PROFILE, "hacker_alerts", {**record, "acknowledged": 0}).open is True


def test_an_issue_that_was_seen_again_is_written_again() -> None:
    before = document(guardian360.PROFILE, "issues", ISSUE)
    assert document(guardian360.PROFILE, "issues", {**ISSUE, "last_seen": "2026-11-20"}).digest != before.digest


@pytest.mark.parametrize(
    ("name", "record", "fields"),
    [
        (
            "probes",
            {"id": "p1", "name": "p", "status": "offline", "scanner_version": "5.8"}
            | {"scannerplatform": {"id": "sp1", "name": "Acme internal"}},
            {"observer.version": "5.8", "soc.platform": "Acme internal", "soc.status": "offline"},
        ),
        (
            "assets",
            {"id": "so1", "value": "10.0.0.20", "type": "ipv4", "ssl": False, "enabled": False},
            {"host.name": "10.0.0.20", "soc.enabled": False},
        ),
        (
            "scanner_platforms",
            {"id": "sp1", "type": "private", "name": "Acme internal", "endpoint": "https://sp1.example"}
            | {"probe": {"id": "p1", "name": "p"}},
            {"soc.platform": "Acme internal", "soc.platform_type": "private", "observer.name": "p"},
        ),
        ("schedules", {"id": "s1", "name": "Nights", "from": "22:00", "to": "06:00"}, {"soc.window_end": "06:00"}),
    ],
)
def test_records_of_the_second_version(name: str, record: dict, fields: dict) -> None:
    found = document(V2, name, {**record, "company": {"id": "c1", "name": "Acme NV"}, **STAMPS})
    assert found.rejected == ()
    assert (found.tenant, found.time) == ("c1", "2026-11-20T09:14:02.000Z")
    assert {field: value(found, field) for field in fields} == fields
    one = document(guardian360.PROFILE, name, {**SAMPLES[name][0], "id": record["id"]})
    assert (one.id, one.index) == (found.id, found.index), "the same document in both versions"


def test_the_second_version_is_asked_in_its_own_way(source: Source) -> None:
    second = load(V2)
    changed = {name for name in second.sets if second.sets[name].path != source.sets[name].path}
    assert changed == {"assets", "probes", "scanner_platforms", "schedules"}
    for name in changed:
        data_set = second.sets[name]
        assert data_set.path.startswith("/api/v2/")
        assert data_set.paging["size_param"] == "per_page"
        assert data_set.paging["last_page"] == ["meta.last_page"]
        assert all("company" in variant["with"] for variant in data_set.variants)


@pytest.mark.parametrize("profile", [guardian360.PROFILE, cyberalarm.PROFILE], ids=lambda profile: profile["source"])
def test_probes_of_both_vendors_have_a_derived_state(profile: dict) -> None:
    rules = load(merge(profile, {"base_url": "https://vendor.example"})).sets["probes"].derive
    assert (rules.target, rules.offline_after, rules.recent) == (
        ("soc", "state"),
        timedelta(minutes=15),
        timedelta(hours=24),
    )


def test_what_is_known_and_what_is_assumed(source: Source) -> None:
    known = {name for name, data_set in source.sets.items() if not data_set.assumed}
    assert known == {
        "assets",
        "companies",
        "hacker_alert_appliances",
        "probes",
        "scanner_platforms",
        "schedules",
    }
