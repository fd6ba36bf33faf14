# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""What a report says, before anything is drawn: the one source of every number in it.

A *finding* is a title with its solution. Its *assets* are scan objects without scheme, port and case. An *occurrence* is
one row of the export; rows that are identical in every column count once. These three are never mixed into one "total".
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import typing as t
from datetime import date

from .._core.errors import InputError
from .csvio import Row, Sheet

SEVERITIES = ("critical", "high", "medium", "low", "info")
RANK = {name: rank for rank, name in enumerate(SEVERITIES)}
FIX_FIRST = 5

_WORDS = {
    "critical": ("critical", "kritiek", "kritisch", "critique"),
    "high": ("high", "hoog", "élevé", "élevée", "haut", "haute"),
    "medium": ("medium", "moderate", "midden", "middel", "gemiddeld", "moyen", "moyenne"),
    "low": ("low", "laag", "faible", "bas"),
    "info": ("info", "information", "informational", "informatie", "informatief", "none", "geen", "log"),
}
SEVERITY_OF = {word: severity for severity, words in _WORDS.items() for word in words}
# FIRST, Common Vulnerability Scoring System 3.1, section 5 (and 4.0, section 6): the lowest score of each rating.
CVSS_FLOORS = ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.1, "low"), (0.0, "info"))


@dataclasses.dataclass(frozen=True)
class Occurrence:
    """One row of the export. ``asset`` is the key that assets are counted by, ``platform`` is empty when unmapped."""

    scan_object: str
    asset: str
    platform: str
    probe: str
    severity: str
    cvss: float | None
    port: str
    protocol: str
    scanner: str
    technical_data: str
    first_seen: str
    last_seen: str
    status: str

    @property
    def endpoint(self) -> str:
        """Where it was found, for people: the scan object, and the port unless that is part of it already."""
        port = self.port if self.port not in ("", "0") else ""
        if port and split_scan_object(self.scan_object)[1] != port:
            return f"{self.scan_object} · {port}{'/' + self.protocol if self.protocol else ''}"
        return self.scan_object


@dataclasses.dataclass(frozen=True)
class Finding:
    """All occurrences of one problem. ``key`` stays the same from scan to scan, ``id`` counts within one report."""

    id: str
    key: str
    title: str
    solution: str
    descriptions: tuple[str, ...]
    severity: str
    cvss: float | None
    cves: tuple[str, ...]
    platforms: tuple[str, ...]
    assets: tuple[str, ...]
    occurrences: tuple[Occurrence, ...]
    first_seen: str
    last_seen: str
    statuses: tuple[str, ...]
    scanners: tuple[str, ...]

    @property
    def has_evidence(self) -> bool:
        return any(occurrence.technical_data for occurrence in self.occurrences)


@dataclasses.dataclass(frozen=True)
class Counts:
    """The three named numbers, the size of the scope, and findings by severity (worst first, all five present)."""

    findings: int
    assets: int
    occurrences: int
    scope: int
    severity: dict[str, int]

    @property
    def urgent(self) -> int:
        """Findings that are critical or high."""
        return self.severity["critical"] + self.severity["high"]


@dataclasses.dataclass(frozen=True)
class Platform:
    """What one scanner platform saw; ``name`` is empty for scan objects that the mapping does not hold.

    ``assets_of`` gives, by finding id, how many of a finding's assets are on this platform.
    """

    name: str
    probes: tuple[str, ...]
    findings: tuple[Finding, ...]
    assets_of: dict[str, int]
    counts: Counts


@dataclasses.dataclass(frozen=True)
class Bar:
    """One bar of the platform chart: a platform, or with ``others`` > 0 that many platforms taken together."""

    name: str
    severity: dict[str, int]
    others: int = 0


@dataclasses.dataclass(frozen=True)
class Source:
    """An input file as the report names it."""

    file: str
    sha256: str
    rows: int


@dataclasses.dataclass(frozen=True)
class Report:
    """Everything that the templates may show."""

    company: str
    scan_date: date
    counts: Counts
    findings: tuple[Finding, ...]
    platforms: tuple[Platform, ...]
    bars: tuple[Bar, ...]
    fix_first: tuple[Finding, ...]
    unmapped: tuple[str, ...]
    sources: tuple[Source, ...]
    warnings: tuple[str, ...]


def build(findings: Sheet, mapping: Sheet, company: str | None, scan_date: date) -> Report:
    """The report on ``company`` (or on the only company there is). Raises InputError for rows that make no sense."""
    chosen, rows, shared = _choose_company(findings, company)
    warnings: list[str] = []
    scope = _Mapping(mapping, chosen)
    grouped: dict[tuple[str, str], list[tuple[Row, Occurrence]]] = {}
    seen: set[tuple] = set()
    for row in rows:
        identity = tuple(sorted(row.cells.items()))
        if identity in seen:
            continue
        seen.add(identity)
        occurrence = _occurrence(findings.path, row, scope, warnings)
        grouped.setdefault((_squeeze(row["issue_title"]), _squeeze(row["solution"])), []).append((row, occurrence))
    drafts = [_finding(pairs) for pairs in grouped.values()]
    drafts.sort(key=lambda one: (*_urgency(one), one.title.casefold(), one.title, one.solution))
    listed = tuple(dataclasses.replace(one, id=f"F-{number:04d}") for number, one in enumerate(drafts, 1))
    # A mapping that serves several companies would put the names of one customer's networks in another's report.
    whole_mapping = not shared or "company" in mapping.columns
    platforms = _platforms(listed, scope if whole_mapping else None)
    in_scope = set(scope.assets if whole_mapping else ()) | {asset for one in listed for asset in one.assets}
    return Report(
        company=chosen,
        scan_date=scan_date,
        counts=_counts(listed, [o for one in listed for o in one.occurrences], len(in_scope)),
        findings=listed,
        platforms=platforms,
        bars=_bars(platforms),
        fix_first=tuple(
            sorted((f for f in listed if f.severity != "info"), key=lambda f: (*_urgency(f), -len(f.assets), f.id))
        )[:FIX_FIRST],
        unmapped=tuple(sorted({o.scan_object for one in listed for o in one.occurrences if not o.platform})),
        sources=tuple(Source(os.path.basename(s.path), s.sha256, len(s.rows)) for s in (findings, mapping)),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def split_scan_object(text: str) -> tuple[str, str]:
    """A scan object as (address without scheme, port, final slash and case; port or empty).

    An IPv6 address with a port needs brackets, as in a URL; without them every colon belongs to the address.
    """
    rest = re.sub(r"^[a-z][a-z0-9+.-]*://", "", text.strip().lower())
    host, slash, path = rest.partition("/")
    match = re.fullmatch(r"(\[[^\]]*\]|[^:]*):(\d{1,5})", host)
    port = match[2] if match else ""
    host = (match[1] if match else host).strip("[]")
    return (host + slash + path).rstrip("/"), port


def parse_severity(text: str, cvss: float | None = None) -> str | None:
    """A risk as one of SEVERITIES: a word, a whole number 0 (info) to 4 (critical), or a CVSS score.

    Empty text falls back on ``cvss``. None when it is none of these.
    """
    value = text.strip().casefold()
    if not value:
        return None if cvss is None else _of_score(cvss)
    if value in SEVERITY_OF:
        return SEVERITY_OF[value]
    if re.fullmatch(r"[0-4]", value):
        return SEVERITIES[4 - int(value)]
    score = parse_score(value) if re.fullmatch(r"\d+([.,]\d+)?", value) else None
    return None if score is None else _of_score(score)


def parse_score(text: str) -> float | None:
    """The CVSS score at the start of ``text`` (point or comma), or None when there is none between 0 and 10."""
    match = re.match(r"\s*(\d{1,2}(?:[.,]\d+)?)(?![\d.,])", text)
    score = float(match[1].replace(",", ".")) if match else None
    return score if score is not None and score <= 10 else None


def _of_score(score: float) -> str:
    return next(severity for floor, severity in CVSS_FLOORS if score >= floor)


def _squeeze(text: str) -> str:
    return " ".join(text.split())


def _choose_company(sheet: Sheet, wanted: str | None) -> tuple[str, tuple[Row, ...], bool]:
    """The company's name, its rows, and whether the export holds other companies too."""
    named: dict[str, str] = {}
    for row in sheet.rows:
        if row["company"]:
            named.setdefault(_squeeze(row["company"]).casefold(), _squeeze(row["company"]))
    if not named:
        return wanted or "", sheet.rows, False
    listing = ", ".join(sorted(named.values()))
    if wanted is None and len(named) > 1:
        raise InputError(
            f"{sheet.path} holds {len(named)} companies: {listing}. Choose one with company.",
            companies=sorted(named.values()),
        )
    key = next(iter(named)) if wanted is None else _squeeze(wanted).casefold()
    if key not in named:
        raise InputError(f"{sheet.path} has no rows of {wanted}. It holds {listing}.", companies=sorted(named.values()))
    nameless = next((row.line for row in sheet.rows if not row["company"]), None)
    if nameless is not None:
        raise InputError(
            f"{sheet.path}:{nameless}: the company is missing, while other rows name one. Fill it in: nobody's findings "
            "may be dropped or told to another.",
            line=nameless,
        )
    rows = tuple(row for row in sheet.rows if _squeeze(row["company"]).casefold() == key)
    return named[key], rows, len(named) > 1


class _Mapping:
    """Scan object to platform: by address and port first, then by address alone."""

    def __init__(self, sheet: Sheet, company: str) -> None:
        self.exact: dict[tuple[str, str], tuple[str, str, int]] = {}
        self.by_address: dict[str, set[tuple[str, str]]] = {}
        self.assets: dict[str, str] = {}
        self.probes: dict[str, set[str]] = {}
        for row in sheet.rows:
            if row["company"] and company and _squeeze(row["company"]).casefold() != company.casefold():
                continue
            platform, probe = _squeeze(row["scanner_platform"]), _squeeze(row["probe"])
            for column, text in (("scan_object", row["scan_object"]), ("scanner_platform", platform)):
                if not text:
                    raise InputError(f"{sheet.path}:{row.line}: {column} is empty. Fill it in or delete the row.")
            key = split_scan_object(row["scan_object"])
            other = self.exact.setdefault(key, (platform, probe, row.line))
            if other[0] != platform:
                raise InputError(
                    f"{sheet.path}:{row.line}: {row['scan_object']} is on {platform} here and on {other[0]} in line "
                    f"{other[2]}. A scan object has one platform: delete one of the two rows.",
                    line=row.line,
                )
            self.by_address.setdefault(key[0], set()).add((platform, probe))
            self.assets.setdefault(key[0], platform)
            self.probes.setdefault(platform, set()).update({probe} - {""})

    def find(self, scan_object: str, port: str) -> tuple[str, str]:
        """(platform, probe), both empty when the mapping does not know the scan object."""
        address, own_port = split_scan_object(scan_object)
        for key in ((address, own_port), (address, port), (address, "")):
            if key in self.exact:
                return self.exact[key][:2]
        # The mapping names only ports of this address: good enough when they are all on one platform.
        candidates = self.by_address.get(address, set())
        return min(candidates) if len({platform for platform, _probe in candidates}) == 1 else ("", "")


def _occurrence(path: str, row: Row, scope: _Mapping, warnings: list[str]) -> Occurrence:
    for column in ("scan_object", "issue_title"):
        if not row[column]:
            raise InputError(f"{path}:{row.line}: {column} is empty. Fill it in or delete the row.", line=row.line)
    cvss = parse_score(row["cvss"])
    if cvss is None and row["cvss"].casefold() not in ("", "-", "none", "n/a", "na"):
        warnings.append(f"{path}:{row.line}: CVSS {row['cvss'][:40]!r} is not a score from 0 to 10 and was left out.")
    severity = parse_severity(row["risk"], cvss)
    if severity is None:
        raise InputError(
            f"{path}:{row.line}: risk {row['risk'][:40]!r} is not known. Use critical, high, medium, low or info "
            "(also in Dutch or French), 0 to 4, or a CVSS score such as 7.5.",
            line=row.line,
        )
    platform, probe = scope.find(row["scan_object"], row["port"])
    return Occurrence(
        scan_object=row["scan_object"],
        asset=split_scan_object(row["scan_object"])[0],
        platform=platform,
        probe=probe,
        severity=severity,
        cvss=cvss
        if cvss is not None
        else (parse_score(row["risk"]) if re.search("[.,]|^[5-9]$|^10$", row["risk"]) else None),
        port=row["port"],
        protocol=row["protocol"].lower(),
        scanner=_squeeze(row["scanner"]),
        technical_data=row["technical_data"],
        first_seen=_day(row["first_seen"]),
        last_seen=_day(row["last_seen"]),
        status=_squeeze(row["status"]),
    )


def _day(text: str) -> str:
    """The day of an ISO time; any other spelling stays as it is, since 03/04/2026 can be read in two ways."""
    match = re.match(r"(\d{4})[-/](\d\d)[-/](\d\d)(?!\d)", text)
    return "-".join(match.groups()) if match else text


def _natural(text: str) -> list[tuple[int, int, str]]:
    """A sort key that puts 10.0.0.9 before 10.0.0.10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", text)]


def _finding(pairs: list[tuple[Row, Occurrence]]) -> Finding:
    occurrences = tuple(
        sorted(
            (occurrence for _row, occurrence in pairs),
            key=lambda o: (
                _natural(o.asset),
                _natural(o.port),
                o.protocol,
                o.scan_object,
                [str(value) for value in dataclasses.astuple(o)],
            ),
        )
    )
    title = min(_squeeze(row["issue_title"]) for row, _occurrence in pairs)
    solution = min(row["solution"] for row, _occurrence in pairs)
    cves = {
        part.upper() if part.lower().startswith("cve-") else part
        for row, _occurrence in pairs
        for part in re.split(r"[,;\s]+", row["cve"])
        if part
    }
    first = sorted(o.first_seen for o in occurrences if o.first_seen)
    last = sorted(o.last_seen for o in occurrences if o.last_seen)
    return Finding(
        id="",
        key=hashlib.sha256(f"{title}\0{_squeeze(solution)}".encode()).hexdigest()[:16],
        title=title,
        solution=solution,
        descriptions=tuple(sorted({row["description"] for row, _occurrence in pairs if row["description"]})),
        severity=min((o.severity for o in occurrences), key=RANK.__getitem__),
        cvss=max((o.cvss for o in occurrences if o.cvss is not None), default=None),
        cves=tuple(sorted(cves, key=_natural)),
        platforms=tuple(sorted({o.platform for o in occurrences}, key=lambda name: (not name, name.casefold()))),
        assets=tuple(sorted({o.asset for o in occurrences}, key=_natural)),
        occurrences=occurrences,
        first_seen=first[0] if first else "",
        last_seen=last[-1] if last else "",
        statuses=tuple(sorted({o.status for o in occurrences if o.status})),
        scanners=tuple(sorted({o.scanner for o in occurrences if o.scanner})),
    )


def _urgency(finding: Finding) -> tuple[int, float]:
    return RANK[finding.severity], -(finding.cvss or 0.0)


def _counts(findings: t.Sequence[Finding], occurrences: t.Sequence[Occurrence], scope: int) -> Counts:
    return Counts(
        findings=len(findings),
        assets=len({o.asset for o in occurrences}),
        occurrences=len(occurrences),
        scope=scope,
        severity={severity: sum(one.severity == severity for one in findings) for severity in SEVERITIES},
    )


def _platforms(findings: tuple[Finding, ...], scope: _Mapping | None) -> tuple[Platform, ...]:
    """Every platform that has findings or is in ``scope``: worst first, the unmapped one last."""
    here: dict[str, dict[str, list[Occurrence]]] = {name: {} for name in (scope.probes if scope else ())}
    for finding in findings:
        for occurrence in finding.occurrences:
            here.setdefault(occurrence.platform, {}).setdefault(finding.id, []).append(occurrence)
    by_id = {finding.id: finding for finding in findings}
    platforms = []
    for name, found in here.items():
        mine = tuple(by_id[one] for one in found)
        occurrences = [o for group in found.values() for o in group]
        known = {asset for asset, platform in scope.assets.items() if platform == name} if scope else set()
        platforms.append(
            Platform(
                name=name,
                probes=tuple(
                    sorted(
                        {o.probe for o in occurrences if o.probe}
                        | (scope.probes.get(name) if scope and name else set())
                    )
                ),
                findings=mine,
                assets_of={one: len({o.asset for o in group}) for one, group in found.items()},
                counts=_counts(mine, occurrences, len(known | {o.asset for o in occurrences})),
            )
        )
    platforms.sort(
        key=lambda p: (not p.name, [-p.counts.severity[severity] for severity in SEVERITIES], p.name.casefold(), p.name)
    )
    return tuple(platforms)


def _bars(platforms: tuple[Platform, ...], limit: int = 10) -> tuple[Bar, ...]:
    """At most ``limit`` bars: the worst platforms, the rest as one, and always the unmapped one by itself."""
    mapped = [platform for platform in platforms if platform.name]
    unmapped = [Bar("", platform.counts.severity) for platform in platforms if not platform.name]
    room = limit - len(unmapped)
    shown = mapped if len(mapped) <= room else mapped[: room - 1]
    bars = [Bar(platform.name, platform.counts.severity) for platform in shown]
    rest = mapped[len(shown) :]
    if rest:
        together = {finding.id: finding for platform in rest for finding in platform.findings}
        bars.append(Bar("", _counts(tuple(together.values()), (), 0).severity, others=len(rest)))
    return tuple(bars + unmapped)
