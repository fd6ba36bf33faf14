# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two CSV files that a person exports from Guardian360 for a report: findings, and scan object to platform."""

from __future__ import annotations

import csv
import io
import re
from datetime import date
from pathlib import Path

from lab.companies import find
from lab.lighthouse import ScanObject, drawn, scan_objects
from lab.world import World

FINDING_COLUMNS = (
    "Company",
    "Scan object",
    "Issue",
    "Risk",
    "CVSS",
    "CVE",
    "Port",
    "Protocol",
    "Scanner",
    "Description",
    "Solution",
    "Technical data",
    "First seen",
    "Last seen",
    "Status",
)
MAPPING_COLUMNS = ("Scan object", "Scanner platform", "Probe")
ADDRESS = re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b")


def scan_date(world: World, back: int = 0) -> date:
    """The day of the latest monthly scan, or of the one ``back`` months before it."""
    months = world.now.year * 12 + world.now.month - 1 - back
    return date(months // 12, months % 12 + 1, 1)


def findings_csv(world: World, company: str, back: int = 0) -> str:
    """What the scan of ``back`` months ago found at a company, as the text of a CSV file with a header."""
    owner = find(company)
    rows = [
        _row(owner.name, host.value, row, scan_date(world, found), scan_date(world, back))
        for host, row, found, solved in drawn(world.seed, owner)
        if solved < back <= found
    ]
    return _csv(FINDING_COLUMNS, rows)


def _row(company: str, host: str, row: dict, first: date, last: date) -> tuple:
    address = host.removeprefix("https://")
    return (
        company,
        host,
        row["title"],
        row["risk"].capitalize(),
        row["cvss"] if row["cvss"] is not None else "",
        ", ".join(row["cve"]),
        row["port"] or "",
        row["protocol"],
        row["scanner"],
        row["description"],
        row["solution"],
        ADDRESS.sub(address, row["technical_data"]),
        first.isoformat(),
        last.isoformat(),
        "open",
    )


def mapping_csv(company: str) -> str:
    """From which platform each scan object is scanned. One is missing, because exports are never complete."""
    objects = [host for host in scan_objects(find(company)) if host != left_out(company)]
    return _csv(MAPPING_COLUMNS, [(host.value, host.platform, host.probe) for host in objects])


def left_out(company: str) -> ScanObject:
    """The scan object that the mapping lacks."""
    return scan_objects(find(company))[4]


def _csv(columns: tuple[str, ...], rows: list[tuple]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def write_exports(world: World, company: str, folder: Path, back: int = 0) -> tuple[Path, Path]:
    """``findings.csv`` and ``platforms.csv`` of the scan of ``back`` months ago, in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "findings.csv", folder / "platforms.csv"
    for path, text in zip(paths, (findings_csv(world, company, back), mapping_csv(company))):
        # With a BOM, as spreadsheet programs write it.
        path.write_text(text, encoding="utf-8-sig", newline="")
    return paths
