# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import random

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import InputError
from ansible_collections.netcure.soc.plugins.module_utils._report.csvio import FINDINGS, MAPPING, read_sheet
from ansible_collections.netcure.soc.plugins.module_utils._report.model import (
    RANK,
    SEVERITIES,
    build,
    parse_score,
    parse_severity,
    split_scan_object,
)
from ansible_collections.netcure.soc.tests.unit.report.helpers import (
    DAY,
    mapping_rows,
    report,
    row,
    some_rows,
    write_csv,
)


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        ("Critical", "critical"),
        ("KRITIEK", "critical"),
        ("hoog", "high"),
        ("Midden", "medium"),
        ("laag", "low"),
        ("None", "info"),
        ("élevé", "high"),
        ("0", "info"),
        ("4", "critical"),
        ("4.0", "medium"),
        ("3.9", "low"),
        ("7,5", "high"),
        ("9.0", "critical"),
        ("0.0", "info"),
        ("10", "critical"),
        ("10.1", None),
        ("-1", None),
        ("urgent", None),
        ("", None),
    ],
)
def test_severities(text, severity):
    assert parse_severity(text) == severity


def test_a_missing_risk_falls_back_on_the_score_but_an_unknown_one_does_not():
    assert parse_severity("", 9.8) == "critical"
    assert parse_severity("urgent", 9.8) is None


@pytest.mark.parametrize(
    ("text", "score"), [("7.5", 7.5), ("7,5 (AV:N)", 7.5), ("10.0", 10.0), ("11", None), ("CVSS2#AV", None), ("", None)]
)
def test_scores(text, score):
    assert parse_score(text) == score


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("https://WWW.Acme.example:8443/App/", ("www.acme.example/app", "8443")),
        (" web ", ("web", "")),
        ("10.0.0.0/24", ("10.0.0.0/24", "")),
        ("2001:db8::1", ("2001:db8::1", "")),
        ("[2001:DB8::1]:443", ("2001:db8::1", "443")),
    ],
)
def test_scan_objects(text, parts):
    assert split_scan_object(text) == parts


def test_findings_assets_and_occurrences_are_counted_apart(tmp_path):
    rows = [row("web:80"), row("https://WEB/"), row("web:80"), row("db"), row("db", Solution="Another one.")]
    counts = report(tmp_path, rows).counts
    assert (counts.findings, counts.assets, counts.occurrences) == (2, 2, 4)


@pytest.mark.parametrize("seed", range(8))
def test_numbers_hold_whatever_the_data(tmp_path, seed):
    rows = some_rows(random.Random(seed).randint(0, 30), seed)
    result = report(tmp_path, rows)
    counts = result.counts
    assert sum(counts.severity.values()) == counts.findings == len(result.findings)
    assert counts.occurrences == len(set(rows)) == sum(len(one.occurrences) for one in result.findings)
    assert counts.occurrences == sum(platform.counts.occurrences for platform in result.platforms)
    assert counts.assets == len({one[0] for one in rows}) <= counts.scope
    assert counts.assets == sum(platform.counts.assets for platform in result.platforms)
    assert {one.id for one in result.findings} == {one.id for p in result.platforms for one in p.findings}
    assert [one.id for one in result.findings] == [f"F-{number:04d}" for number in range(1, len(result.findings) + 1)]
    ranks = [RANK[one.severity] for one in result.findings]
    assert ranks == sorted(ranks)
    assert set(result.unmapped) == {one[0] for one in rows if one[0] in ("10.0.0.11", "10.0.0.12")}


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_rows_changes_nothing_but_the_checksum(tmp_path, seed):
    rows = some_rows(12, seed)
    one = report(tmp_path, rows)
    random.Random(seed).shuffle(rows)
    other = report(tmp_path, rows, list(reversed(mapping_rows())))
    assert (one.findings, one.platforms, one.bars, one.fix_first) == (
        other.findings,
        other.platforms,
        other.bars,
        other.fix_first,
    )


def test_a_finding_takes_the_worst_of_its_occurrences(tmp_path):
    rows = [
        row("a", risk="low", CVSS="3.1", CVE="CVE-2026-2"),
        row("b", risk="high", CVSS="8.8", CVE="cve-2026-10;CVE-2026-2"),
    ]
    (finding,) = report(tmp_path, rows).findings
    assert (finding.severity, finding.cvss, finding.cves) == ("high", 8.8, ("CVE-2026-2", "CVE-2026-10"))


def test_assets_are_in_the_order_that_people_count(tmp_path):
    (finding,) = report(tmp_path, [row("10.0.0.10"), row("10.0.0.9")]).findings
    assert finding.assets == ("10.0.0.9", "10.0.0.10")


def test_fix_first_takes_the_five_most_urgent_and_no_information(tmp_path):
    rows = [row("a", f"T{number}", "high", CVSS=f"7.{number}") for number in range(4)]
    rows += [row("a", "Wide", "high", CVSS="7.3"), row("b", "Wide", "high", CVSS="7.3"), row("a", "Top", "critical")]
    rows += [row("a", "Note", "info", CVSS="10")]
    assert [one.title for one in report(tmp_path, rows).fix_first] == ["Top", "Wide", "T3", "T2", "T1"]
    assert report(tmp_path, [row(risk="info")]).fix_first == ()


def test_unmapped_scan_objects_are_a_platform_and_come_last(tmp_path):
    result = report(tmp_path, [row("10.0.0.1", risk="low"), row("elsewhere", risk="critical")])
    assert [platform.name for platform in result.platforms] == ["DMZ", "Office", ""]
    assert result.unmapped == ("elsewhere",)
    assert result.platforms[-1].counts.severity["critical"] == 1


@pytest.mark.parametrize(
    ("mapped", "found", "port", "platform"),
    [
        ([("web", "A", "")], "https://WEB:443/", "", "A"),
        ([("web:443", "A", "")], "web", "", "A"),
        ([("web:443", "A", ""), ("web:80", "B", "")], "web", "80", "B"),
        ([("web:443", "A", ""), ("web:80", "B", "")], "web:443", "", "A"),
        ([("web:443", "A", ""), ("web:80", "B", "")], "web", "", ""),
        ([("web", "A", ""), ("web:80", "B", "")], "web:80", "", "B"),
    ],
)
def test_the_port_is_optional_in_the_mapping(tmp_path, mapped, found, port, platform):
    (finding,) = report(tmp_path, [row(found, Port=port)], mapped).findings
    assert finding.platforms == (platform,)


def test_two_platforms_for_one_scan_object_are_an_error(tmp_path):
    with pytest.raises(InputError, match=r"mapping.csv:3: .* on B here and on A in line 2"):
        report(tmp_path, [], [("web", "A", ""), ("https://WEB/", "B", "")])


def test_empty_scan_keeps_its_platforms_and_scope(tmp_path):
    result = report(tmp_path, [])
    assert (result.counts.findings, result.counts.assets, result.counts.scope) == (0, 0, 10)
    assert [platform.name for platform in result.platforms] == ["DMZ", "Office"]
    assert list(result.counts.severity) == list(SEVERITIES)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ((" ", "t", "low"), "scan_object is empty"),
        (("a", "", "low"), "issue_title is empty"),
        (("a", "t", "urgent"), "'urgent' is not known"),
    ],
)
def test_rows_that_make_no_sense_name_their_line(tmp_path, cells, words):
    with pytest.raises(InputError, match=f"findings.csv:3: .*{words}"):
        report(tmp_path, [row(), row(*cells)])


def test_a_score_that_is_none_is_left_out_and_told(tmp_path):
    result = report(tmp_path, [row(CVSS="nine")])
    assert result.findings[0].cvss is None
    assert "findings.csv:2" in result.warnings[0]


def companies(tmp_path, company, mapping_header=("Host", "Platform"), extra=()):
    rows = [("Acme NV", "a", "T", "high"), ("Beta", "b", "T", "low"), ("acme  nv", "a2", "T", "low"), *extra]
    findings = write_csv(tmp_path / "f.csv", ("Klant", "Host", "Name", "Risk"), rows)
    mapping = [("a", "Acme office", "Acme NV"), ("c", "Beta secret", "Beta")]
    platforms = write_csv(tmp_path / "m.csv", mapping_header, [one[: len(mapping_header)] for one in mapping])
    return build(read_sheet(findings, FINDINGS), read_sheet(platforms, MAPPING), company, DAY)


def test_several_companies_need_a_choice(tmp_path):
    with pytest.raises(InputError, match=r"2 companies: Acme NV, Beta\. Choose one with company"):
        companies(tmp_path, None)
    with pytest.raises(InputError, match=r"no rows of Gamma\. It holds Acme NV, Beta"):
        companies(tmp_path, "Gamma")


@pytest.mark.parametrize("header", [("Host", "Platform"), ("Host", "Platform", "Company")])
def test_a_report_never_names_another_companys_platform(tmp_path, header):
    result = companies(tmp_path, "ACME nv", header)
    assert (result.company, result.counts.assets) == ("Acme NV", 2)
    assert [platform.name for platform in result.platforms] == ["Acme office", ""]
    assert result.counts.scope == 2


def test_a_row_without_company_beside_named_ones_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"f.csv:5: the company is missing"):
        companies(tmp_path, "Acme NV", extra=[("", "z", "T", "low")])


def test_the_only_company_needs_no_choice_and_a_nameless_export_takes_the_option(tmp_path):
    mapping = read_sheet(write_csv(tmp_path / "m.csv", ("Host", "Platform"), []), MAPPING)
    one = read_sheet(
        write_csv(tmp_path / "f.csv", ("Company", "Host", "Name", "Risk"), [("Acme", "a", "T", "low")]), FINDINGS
    )
    none = read_sheet(write_csv(tmp_path / "g.csv", ("Host", "Name", "Risk"), [("a", "T", "low")]), FINDINGS)
    assert build(one, mapping, None, DAY).company == "Acme"
    assert build(none, mapping, "Given", DAY).company == "Given"


def test_bars_are_few_and_keep_the_unmapped_one(tmp_path):
    mapping = [(f"h{number}", f"P{number:02d}", "") for number in range(30)]
    result = report(tmp_path, [row(f"h{number}") for number in range(30)] + [row("lost", risk="critical")], mapping)
    assert len(result.bars) == 10
    assert (result.bars[-2].others, result.bars[-2].severity["critical"]) == (22, 1)
    assert (result.bars[-1].name, result.bars[-1].others) == ("", 0)
