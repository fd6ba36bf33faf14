# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, timedelta

import orjson
import pytest
from ansible_collections.netcure.soc.plugins.module_utils._collect.normalise import Company as Tenant
from ansible_collections.netcure.soc.plugins.module_utils._collect.normalise import normalise
from ansible_collections.netcure.soc.plugins.module_utils._collect.profile import load
from ansible_collections.netcure.soc.plugins.module_utils._core.ids import slug

from lab.companies import COMPANIES, find
from lab.exports import findings_csv, left_out, mapping_csv, write_exports
from lab.security import DUTIES, roles
from lab.world import PROFILES, World, alerts, findings

DAY = date(2026, 11, 5)
LOGS = [
    ("cyberalarm", "logs"),
    ("guardian360", "hacker_alerts"),
    ("guardian360", "issue_operations"),
    ("watchguard", "incidents"),
    ("watchguard", "firebox"),
]
GUARDIAN360 = PROFILES["guardian360"]


@pytest.fixture
def world() -> World:
    return World(per_day=10, now=datetime(2026, 11, 4, 12, tzinfo=UTC), start=datetime(2026, 11, 2, tzinfo=UTC))


def bytes_of(world: World, day: date = DAY) -> bytes:
    days = (world.day(*log, company, day) for log in LOGS for company in COMPANIES)
    return orjson.dumps([[(record.time, record.id, record.body) for record in rows] for rows in days])


def test_one_seed_gives_the_same_bytes_whatever_else_was_asked() -> None:
    one, other = World(seed=7), World(seed=7, start=datetime(2026, 1, 1, tzinfo=UTC))
    for _record in other.log("cyberalarm", "logs", since=other.now - timedelta(days=1)):
        pass
    assert bytes_of(one) == bytes_of(other)


def test_another_seed_another_day_and_another_volume_differ() -> None:
    mine = bytes_of(World(seed=7))
    assert mine != bytes_of(World(seed=8))
    assert mine != bytes_of(World(seed=7), DAY + timedelta(days=1))
    assert mine != bytes_of(World(seed=7, per_day=41))


def test_any_day_has_records_of_that_day_in_order() -> None:
    for day in (date(1999, 12, 31), date(2028, 2, 29)):
        records = World().day("cyberalarm", "logs", COMPANIES[0], day)
        assert records
        assert [record.key for record in records] == sorted(record.key for record in records)
        assert {record.body["timestamp"][:10] for record in records} == {day.isoformat()}


def test_ids_are_unique_and_times_are_not(world: World) -> None:
    for log in LOGS[:3]:
        records = list(world.log(*log))
        assert len({record.id for record in records}) == len(records)
        assert len({record.time for record in records}) < len(records), "no ties"


def test_all_levels_and_directions_occur() -> None:
    levels = {record.body["level"] for record in World(per_day=200).day("cyberalarm", "logs", COMPANIES[0], DAY)}
    assert levels == {1, 2, 3, 4}
    assert {row["direction"] for level in (1, 2, 3) for row in alerts(level)} == {"in", "out", "internal"}


def test_the_log_from_a_cursor_is_the_rest_of_the_log(world: World) -> None:
    world.raise_incident("muller-zonen-bv", 2, 5)
    keys = [record.key for record in world.log("cyberalarm", "logs")]
    assert keys == sorted(keys)
    for position in (0, 7, len(keys) - 3):
        assert [record.key for record in world.log("cyberalarm", "logs", keys[position])] == keys[position + 1 :]
    since = datetime.fromtimestamp(keys[9][0] / 1000, UTC)
    assert [record.key for record in world.log("cyberalarm", "logs", since=since)] == [
        k for k in keys if k[0] >= keys[9][0]
    ]


def test_time_moves_only_when_told_and_never_back(world: World) -> None:
    before = len(list(world.log("cyberalarm", "logs")))
    world.advance(6 * 3600)
    assert len(list(world.log("cyberalarm", "logs"))) > before
    with pytest.raises(ValueError, match="does not go back"):
        world.set_clock(world.now - timedelta(seconds=1))


def test_the_truth_leaves_out_what_is_not_to_be_collected(world: World) -> None:
    truth = world.truth()["sources"]
    assert "Gemeente Oostdijk" not in truth["cyberalarm"]["logs"]
    assert "Gemeente Oostdijk" in truth["guardian360"]["hacker_alerts"]
    levels = {level for company in truth["cyberalarm"]["logs"].values() for level in company.get("levels", {})}
    assert levels <= {"1", "2", "3"}
    there = {
        record.id
        for record in world.log("cyberalarm", "logs")
        if record.company.subscribed and record.body["level"] < 4
    }
    assert {identity for company in truth["cyberalarm"]["logs"].values() for identity in company["ids"]} == there


def test_late_records_are_not_there_before_their_time(world: World) -> None:
    everything = {record.id for record in world.log("cyberalarm", "logs")}
    world.delay_records(0.5, 86_400)
    early = {record.id for record in world.log("cyberalarm", "logs")}
    assert early < everything
    assert sum(company["count"] for company in world.truth()["sources"]["cyberalarm"]["logs"].values()) < len(
        everything
    )
    world.advance(86_400)
    assert everything <= {record.id for record in world.log("cyberalarm", "logs")}


def test_an_incident_is_one_victim_and_one_signature_now(world: World) -> None:
    ids = world.raise_incident("Transport Coppée SA", 2, 12)
    records = [record for record in world.log("cyberalarm", "logs") if record.id in ids]
    assert len(records) == len(ids) == 12
    assert len({record.body["signature_id"] for record in records}) == 1
    assert {record.body["level"] for record in records} == {2}
    assert not any(world.body(record)["reviewed"] for record in records)
    assert (world.now - timedelta(minutes=1)).timestamp() * 1000 < records[0].time <= world.now.timestamp() * 1000
    with pytest.raises(ValueError, match="no subscription"):
        world.raise_incident("gemeente-oostdijk", 1)
    with pytest.raises(KeyError, match="There is no company"):
        world.raise_incident("nobody", 1)


def test_a_review_changes_the_record_and_nothing_else(world: World) -> None:
    (identity,) = world.raise_incident("muller-zonen-bv", 1)
    world.review(identity, "an@netcure.example")
    (record,) = [record for record in world.log("cyberalarm", "logs") if record.id == identity]
    body = world.body(record)
    assert (body["reviewed"], body["reviewed_by"]) == (True, "an@netcure.example")
    assert {key for key in body if body[key] != record.body[key]} == {"reviewed", "reviewed_by", "reviewed_at"}
    alert = next(iter(world.log("guardian360", "hacker_alerts")))
    world.review(alert.id)
    assert world.body(alert)["acknowledged"] == 1


def test_what_a_probe_is_told_it_does(world: World) -> None:
    _company, probe = world.probes("cyberalarm")[0]
    world.set_probe(probe["id"], "offline")
    world.advance(3600)
    assert world.probes("cyberalarm")[0][1]["status"] == "offline"
    assert world.probes("cyberalarm")[0][1]["last_seen"] == "2026-11-04T12:00:00.000Z"


def test_a_probe_that_falls_silent_still_calls_itself_online(world: World) -> None:
    _company, probe = world.probes("guardian360")[0]
    for status, seen in (("silent", "2026-11-04 12:00:00"), ("online", "2026-11-04 14:00:00")):
        world.set_probe(probe["id"], status)
        world.advance(3600)
        _company, now = world.probes("guardian360")[0]
        assert (now["status"], now["updated_at"]) == ("online", seen)


@pytest.mark.parametrize("name", sorted(GUARDIAN360["sets"]))
def test_what_the_simulators_serve_is_what_the_profile_expects(world: World, name: str) -> None:
    source = load(GUARDIAN360)
    data_set, names = source.sets[name], {company.ids["guardian360"]: company.name for company in COMPANIES}
    served = world.listed("guardian360", name)
    assert {company for company, _record in served} == set(COMPANIES)
    for company, record in served:
        asked = Tenant(company.ids["guardian360"], company.name) if data_set.ask else None
        found = normalise(record, source, data_set, "2026-11-04T12:00:00.000Z", lambda _id, of: slug(of), asked, names)
        assert found.rejected == ()
        assert (found.tenant, found.source["organization"]["name"]) == (company.ids["guardian360"], company.name)


@pytest.mark.parametrize("name", sorted(GUARDIAN360["sets"]))
def test_lists_follow_from_the_seed_and_ids_are_unique(world: World, name: str) -> None:
    same = World(per_day=10, now=world.now, start=world.start)
    assert same.listed("guardian360", name) == world.listed("guardian360", name)
    for company in world.truth()["sources"]["guardian360"][name].values():
        assert company["count"] == len(company["ids"]) == len(set(company["ids"])) > 0


def test_an_issue_that_is_solved_leaves_the_lists_and_lowers_the_figures(world: World) -> None:
    issue, company = first_issue(world), COMPANIES[0]

    def risks(name: str) -> int:
        return sum(record[issue["risk"]] for record in world.figures(name, company))

    before = {name: risks(name) for name in ("risks_per_asset", "risks_per_date", "risks_per_scanner")}
    past = world.figures("risk_trend", company)
    world.solve(issue["id"])
    assert issue["id"] not in {record["id"] for _company, record in world.listed("guardian360", "issues")}
    assert {name: risks(name) for name in before} == {name: count - 1 for name, count in before.items()}
    trend = world.figures("risk_trend", company)
    assert trend[:-1] == past[:-1], "the past changed"
    assert trend[-1][issue["risk"]] == past[-1][issue["risk"]] - 1


def test_todays_figure_moves_and_those_of_other_days_stay(world: World) -> None:
    before = world.figures("risk_trend", COMPANIES[0])
    assert [record["date"] for record in before] == ["2026-11-02", "2026-11-03", "2026-11-04"]
    world.advance(3600)
    after = world.figures("risk_trend", COMPANIES[0])
    assert after[:-1] == before[:-1]
    assert after[-1] != before[-1]
    world.advance(86_400)
    assert len(world.figures("risk_trend", COMPANIES[0])) == 4


def test_the_issues_of_a_company_are_those_of_its_export() -> None:
    world, company = World(), COMPANIES[2]
    exported = {(row["Scan object"], row["Issue"]) for row in rows(findings_csv(world, company.slug))}
    listed = [record for _company, record in world.listed("guardian360", "issues", company)]
    assert {(record["scanobject"]["data"]["value"], record["title"]) for record in listed} == exported


def test_incidents_belong_to_those_with_a_firewall_and_are_closed_in_time(world: World) -> None:
    world.advance(3 * 86_400)
    truth = world.truth()["sources"]["watchguard"]["incidents"]
    assert set(truth) == {company.name for company in COMPANIES if company.firewall}
    assert {status for entry in truth.values() for status in entry.get("statuses", {})} == {"new", "closed"}


def test_a_saved_world_goes_on_as_it_was(world: World) -> None:
    (identity,) = world.raise_incident("muller-zonen-bv", 1)
    world.review(identity)
    world.delay_records(0.5, 86_400)
    world.solve(first_issue(world)["id"])
    world.heed_company_id(False)
    world.advance(1800)
    again = World.load(orjson.loads(orjson.dumps(world.save())))
    assert again.truth() == world.truth()
    assert again.save() == world.save()
    world.delay_records(0, 0)
    assert again.truth() != world.truth(), "the delay was not saved"


def test_no_alarm_shows_an_address_that_could_be_real(world: World) -> None:
    allowed = ("10.2", "192.0.2.", "198.51.100.", "203.0.113.")
    for record in world.log("cyberalarm", "logs"):
        assert record.body["src_ip"].startswith(allowed)
        assert record.body["dst_ip"].startswith(allowed)


def first_issue(world: World) -> dict:
    return world.listed("guardian360", "issues", COMPANIES[0])[0][1]


def rows(text: str) -> list[dict]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("company", COMPANIES, ids=lambda company: company.slug)
def test_the_exports_of_a_company(company) -> None:
    world = World()
    found, mapping = rows(findings_csv(world, company.slug)), rows(mapping_csv(company.slug))
    assert 30 <= len(found) <= 60
    assert {row["Company"] for row in found} == {company.name}
    platform = {row["Scan object"]: row["Scanner platform"] for row in mapping}
    assert 3 <= len(set(platform.values())) <= 4
    assert left_out(company.slug).value not in platform
    assert {row["Scan object"] for row in found} - set(platform) <= {left_out(company.slug).value}
    before = rows(findings_csv(world, company.slug, back=1))
    present, past = ({(row["Scan object"], row["Issue"]) for row in scan} for scan in (found, before))
    assert present - past, "nothing new"
    assert past - present, "nothing solved"
    assert findings_csv(World(), company.slug) == findings_csv(world, company.slug)


def test_the_exported_files(tmp_path) -> None:
    findings_file, mapping_file = write_exports(World(), "muller-zonen-bv", tmp_path)
    assert findings_file.read_bytes().startswith(b"\xef\xbb\xbfCompany,")
    assert rows(mapping_file.read_text("utf-8-sig"))[0].keys() == {"Scan object", "Scanner platform", "Probe"}


def test_the_real_texts_are_whole() -> None:
    assert len(findings()) > 100
    assert all(row["title"] and row["description"] for row in findings())
    assert {row["risk"] for row in findings()} == {"critical", "high", "medium", "low", "info"}


def test_no_company_reads_what_is_anothers() -> None:
    wanted = roles([company.slug for company in COMPANIES])
    short, long = find("het-groene-hart-bv"), find("tuincentrum-het-groene-hart-bv")
    indices = {name: set(role["indices"][0]["names"]) for name, role in wanted.items()}
    assert indices[f"reader-{short.slug}"].isdisjoint(indices[f"reader-{long.slug}"])
    assert not any("*" in name for key, names in indices.items() if key not in DUTIES for name in names)
    assert not any("soc-probe" in names for key, names in indices.items() if key not in DUTIES)
    assert len(indices[f"reader-{short.slug}"]) == sum(len(profile["sets"]) for profile in PROFILES.values())


def test_no_duty_may_do_more_than_its_own() -> None:
    assert not {"delete", "delete_index", "all", "write", "manage"} & set(DUTIES["collector"])
    assert not {"index", "create", "create_index", "create_doc", "all", "write"} & set(DUTIES["retention"])
    assert set(DUTIES["escalator"]) <= {"read", "maintenance", "view_index_metadata"}
