# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small exports and the shortest ways to a report."""

from __future__ import annotations

import csv
import pathlib
import random
from datetime import date

from ansible_collections.netcure.soc.plugins.module_utils._core.clock import clock
from ansible_collections.netcure.soc.plugins.module_utils._core.module import Run
from ansible_collections.netcure.soc.plugins.module_utils._report import assets
from ansible_collections.netcure.soc.plugins.module_utils._report import run as work
from ansible_collections.netcure.soc.plugins.module_utils._report.csvio import FINDINGS, MAPPING, read_sheet
from ansible_collections.netcure.soc.plugins.module_utils._report.model import Report, build

TEMPLATES = pathlib.Path(__file__).resolve().parents[3] / "templates"
ASSETS = assets.load(str(TEMPLATES))
DAY = date(2026, 11, 20)
COLUMNS = (
    "Scan object",
    "Issue",
    "Risk",
    "CVSS",
    "CVE",
    "Port",
    "Protocol",
    "Description",
    "Solution",
    "Technical data",
)


def write_csv(path: pathlib.Path, header: tuple[str, ...], rows: list[tuple]) -> str:
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([header, *rows])
    return str(path)


def row(scan_object: str = "10.0.0.1", title: str = "Old TLS", risk: str = "medium", **more: str) -> tuple:
    known = {"Scan object": scan_object, "Issue": title, "Risk": risk, "Solution": "Update it.", **more}
    return tuple(known.get(column, "") for column in COLUMNS)


def some_rows(count: int, seed: int = 1) -> list[tuple]:
    """``count`` findings, each on one to four of twelve hosts."""
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        risk = chance.choice(["Critical", "Hoog", "medium", "1", "info"])
        for host in chance.sample(range(1, 13), chance.randint(1, 4)):
            more = {
                "Port": "443",
                "Protocol": "TCP",
                "Description": "What it is.\n\nWhy.",
                "Technical data": f"host {host}",
            }
            rows.append(row(f"10.0.0.{host}", f"Problem {number}", risk, **more))
    return rows


def mapping_rows(hosts: int = 10) -> list[tuple]:
    return [
        (f"https://10.0.0.{host}/", ("Office", "DMZ")[host % 2], f"probe-{host % 2}") for host in range(1, hosts + 1)
    ]


def files(tmp_path: pathlib.Path, rows: list[tuple], mapping: list[tuple] | None = None) -> tuple[str, str]:
    findings = write_csv(tmp_path / "findings.csv", COLUMNS, rows)
    header = ("Scan object", "Scanner platform", "Probe")
    return findings, write_csv(tmp_path / "mapping.csv", header, mapping_rows() if mapping is None else mapping)


def report(tmp_path: pathlib.Path, rows: list[tuple], mapping: list[tuple] | None = None) -> Report:
    findings, platforms = files(tmp_path, rows, mapping)
    return build(read_sheet(findings, FINDINGS), read_sheet(platforms, MAPPING), None, DAY)


def run(tmp_path: pathlib.Path, *, check_mode: bool = False, **options: object) -> tuple[dict, list[str]]:
    """What the module would return, and its warnings."""
    warnings: list[str] = []
    params = {name: spec.get("default") for name, spec in work.argument_spec().options.items()}
    params |= {
        "scan_date": "2026-11-20",
        "output_dir": str(tmp_path / "out"),
        "templates_dir": str(TEMPLATES),
        **options,
    }
    return work.render_report(
        Run(params, check_mode, clock("2026-11-21T09:00:00Z"), str(tmp_path), warnings.append)
    ), warnings
