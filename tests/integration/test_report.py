# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""render_report through Ansible, action plugin and all."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from tests.conftest import ROOT, run_here, run_module

FINDINGS = """Company;Scan object;Issue;Risk;CVSS;CVE;Port;Description;Solution;Technical data
Acme NV;https://www.acme.example/;TLS 1.0 enabled;medium;5.9;CVE-2011-3389;443;Old.;Switch it off.;{{ 7*7 }} <script>alert(1)</script>
Acme NV;10.0.0.20;TLS 1.0 enabled;medium;5.9;CVE-2011-3389;443;Old.;Switch it off.;cipher
Acme NV;10.0.0.99;SNMP public;high;8.7;;161;Default.;Change it.;public
"""
MAPPING = "Scan object;Scanner platform\nwww.acme.example;Internet\n10.0.0.20;Office\n"


@pytest.fixture
def report(tmp_path: Path) -> t.Callable:
    (tmp_path / "findings.csv").write_text(FINDINGS)
    (tmp_path / "mapping.csv").write_text(MAPPING)
    options = {
        "findings_csv": str(tmp_path / "findings.csv"),
        "mapping_csv": str(tmp_path / "mapping.csv"),
        "output_dir": str(tmp_path / "out"),
        "scan_date": "2026-11-20",
    }

    def run(*flags: str, ansible: bool = False, **more: t.Any) -> t.Any:
        """One run, in this process or through Ansible, whose action plugin says where the templates are."""
        if ansible:
            return run_module("render_report", {**options, **more}, *flags)
        return run_here("render_report", {**options, "templates_dir": str(ROOT / "templates"), **more}, *flags)

    return run


def test_check_render_and_again(report: t.Callable, tmp_path: Path) -> None:
    rehearsed = report("--check", "--diff", ansible=True)
    assert rehearsed.changed, rehearsed.output
    assert not (tmp_path / "out").exists()
    done = report("--diff", ansible=True)
    assert (done.changed, done.unmapped) == (True, ["10.0.0.99"])
    assert done.counts == {**done.counts, "findings": 2, "occurrences": 3, "high": 1, "medium": 1}
    assert [entry["sha256"] for entry in done.reports] == [entry["sha256"] for entry in rehearsed.reports]
    html, pdf = (Path(entry["path"]) for entry in done.reports)
    assert pdf.read_bytes()[:5] == b"%PDF-"
    text = html.read_text()
    assert "{{ 7*7 }}" in text and "<script>alert(1)" not in text
    assert not html.stat().st_mode & 0o007
    assert report(formats=["html"]).changed is False
    assert report("--check", formats=["html"]).changed is False


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (FINDINGS.replace("Risk", "Colour"), "risk"),
        ("", "empty"),
        (FINDINGS.replace("Old.", '"Old.', 1), "findings.csv"),
        (FINDINGS.replace("high", "purple"), "purple"),
    ],
)
def test_a_csv_that_cannot_be_understood_is_told(
    report: t.Callable, tmp_path: Path, content: str, sentence: str
) -> None:
    (tmp_path / "findings.csv").write_text(content)
    outcome = report()
    assert outcome.failed
    assert outcome.failure["code"] == "input_invalid"
    assert sentence in outcome.msg
    assert "Traceback" not in outcome.output
    assert not (tmp_path / "out").exists()
