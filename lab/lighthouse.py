# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Guardian360 knows of a company beside its logs: what is scanned, when, from where, and what was found.

Each list is a function of the world and a company, made when it is asked for. Findings are real texts, see
``data/README.md``.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import json
import random
import typing as t
import uuid
from datetime import date, timedelta
from pathlib import Path

from lab.companies import NAMESPACE, Company

if t.TYPE_CHECKING:
    from lab.world import World

DATA = Path(__file__).parent / "data"
RISKS = ("critical", "high", "medium", "low", "info")
SCANS = 6  # months of history
TREND = timedelta(days=30)
BEFORE = "2025-03-03 10:00:00"  # when all of it was set up
PEOPLE = ("a.peeters@netcure.example", "j.devries@netcure.example")


@functools.cache
def findings() -> tuple[dict, ...]:
    """Real findings of scanners. What scores 9 or more is critical, as CVSS has it."""
    rows = [json.loads(line) for line in (DATA / "findings.ndjson").read_text(encoding="utf-8").splitlines()]
    for row in rows:
        if (row["cvss"] or 0) >= 9:
            row["risk"] = "critical"
    return tuple(rows)


@dataclasses.dataclass(frozen=True)
class ScanObject:
    """Something that is scanned, from where, and by which probe."""

    value: str
    platform: str
    probe: str

    @property
    def id(self) -> str:
        return _id("", self.value)


def platforms(company: Company) -> tuple[str, ...]:
    """The scanner platforms of a company."""
    short = company.short
    return (f"{short} intern", f"{short} DMZ", "Guardian360 publiek", f"{short} productie")


@functools.cache
def scan_objects(company: Company) -> tuple[ScanObject, ...]:
    """What is scanned at a company: hosts of three internal networks, and what the internet sees."""
    inner, dmz, public, plant = platforms(company)
    short = company.short
    hosts = [ScanObject(f"{company.network}.{last}", inner, f"{short}-office") for last in (10, 11, 12, 20, 31)]
    hosts += [ScanObject(f"{company.network}.{last}", dmz, f"{short}-dmz") for last in (101, 102)]
    hosts += [ScanObject(f"https://{name}.{company.domain}", public, "cloud-ams-01") for name in ("www", "mail", "vpn")]
    hosts += [ScanObject(f"{company.network}.150", plant, f"{short}-office")]
    return tuple(hosts)


def probe_names(company: Company) -> list[tuple[str, str]]:
    """(id, name) of the probes of a company."""
    return [(_id("probe", f"{company.short}/{place}"), f"{company.short}-{place}") for place in ("office", "dmz")]


def decoy(company: Company) -> dict:
    """The hacker alert appliance of a company, as its alerts name it."""
    return {"id": "haa-" + probe_names(company)[0][0], "name": f"canary-{company.slug[:12].strip('-')}-01"}


def issue_id(company: Company, title: str, host: str) -> str:
    return _id("issue", f"{company.number}/{title}/{host}")


def owner(company: Company) -> dict:
    """The company as the first version nests it in a record."""
    return {"data": {"id": company.ids["guardian360"], "name": company.name}}


def share(*parts: object) -> float:
    """A number in [0, 1) that follows from ``parts``."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _id(kind: str, name: object) -> str:
    return str(uuid.uuid5(NAMESPACE, f"{kind}/{name}" if kind else str(name)))


def _platform(company: Company, number: int) -> dict:
    return {"id": _id("platform", f"{company.short}/{number}"), "description": platforms(company)[number]}


def _dated(company: Company) -> dict:
    return {"created_at": BEFORE, "updated_at": BEFORE, "company": owner(company)}


def _assets(_world: World, company: Company) -> list[dict]:
    rows = []
    for host in scan_objects(company):
        web = host.value.startswith("https:")
        number = platforms(company).index(host.platform)
        rows.append(
            {
                "id": host.id,
                "name": host.value.rpartition("/")[2],
                "value": host.value,
                "description": f"Scanned from {host.platform}",
                "type": "url" if web else "ipv4",
                "port": 443 if web else None,
                "ssl": int(web),
                "enabled": not host.value.endswith(".150"),
                "reference": "",
                "scannerplatform": {"data": _platform(company, number)},
                **_dated(company),
            }
        )
    return rows


def _companies(_world: World, company: Company) -> list[dict]:
    return [
        {
            "id": company.ids["guardian360"],
            "name": company.name,
            "telephone": "+32 2 555 01 00",
            "email": f"info@{company.domain}",
            "website": f"https://www.{company.domain}",
            "billable_employees": round(100 * company.weight),
            "reference": f"K{company.number:04d}",
            "is_distributor": False,
            "has_contract": True,
            "unassignable": False,
            "restrict_access_to_related_companies": 0,
            "created_at": BEFORE,
            "updated_at": BEFORE,
        }
    ]


def _decoys(world: World, company: Company) -> list[dict]:
    return [_appliance(world, company, decoy(company), 200, "Decoy")]


def _probes(world: World, company: Company) -> list[dict]:
    rows = []
    for number, (identity, name) in enumerate(probe_names(company)):
        row = _appliance(world, company, {"id": identity, "name": name}, 5 + number, "Scanner")
        progress = {
            "activeScanObjects": len(scan_objects(company)),
            "percentage_of_scheduled_time": round(share(identity, world.now.date()) * 100),
            "scannerplatform": {"data": _platform(company, number)},
        }
        rows.append({**row, **progress})
    return rows


def _appliance(world: World, company: Company, known: dict, last: int, what: str) -> dict:
    status, seen = world.probe_state(known["id"])
    return {
        **known,
        "description": f"{what} of {company.name}",
        "hypervisor": "hyper-v",
        "network_type": "DHCP",
        "ipv4": f"{company.network}.{last}",
        "notification_emails": f"it@{company.domain}",
        "status": status,
        "memory": "4096",
        "memory_bytes": 4294967296,
        "created_at": BEFORE,
        "updated_at": seen.strftime("%Y-%m-%d %H:%M:%S"),
        "company": owner(company),
    }


def _decoy_exclusions(_world: World, company: Company) -> list[dict]:
    own = {"name": "Scans of our own", "type": "ipv4", "value": f"{company.network}.5", "reason": "The probe scans it."}
    watch = {
        "name": "Monitoring",
        "type": "ipv4-range",
        "value": f"{company.network}.240/29",
        "reason": "Pings all day.",
    }
    return [
        {
            "id": _id("decoy exclusion", f"{company.short}/{number}"),
            **rule,
            "port": None,
            "appliance": decoy(company),
            "created_by": PEOPLE[number],
            **_dated(company),
        }
        for number, rule in enumerate((own, watch))
    ]


def _scanner_exclusions(_world: World, company: Company) -> list[dict]:
    host = scan_objects(company)[-1]
    rules = (
        ("Fragile port", "port", "9100", "Printing stops when it is scanned."),
        ("At night", "path", "/backup", ""),
    )
    return [
        {
            "id": _id("scanner exclusion", f"{company.short}/{number}"),
            "name": name,
            "type": kind,
            "value": value,
            "reason": reason,
            "scanobject": {"data": {"id": host.id, "value": host.value}},
            "created_by": PEOPLE[number],
            **_dated(company),
        }
        for number, (name, kind, value, reason) in enumerate(rules)
    ]


def _scanner_platforms(_world: World, company: Company) -> list[dict]:
    rows = []
    for number, name in enumerate(platforms(company)):
        mine = [{"id": host.id, "value": host.value} for host in scan_objects(company) if host.platform == name]
        known = {"company_id": company.ids["guardian360"], "scanobject_count": len(mine), "scanobjects": {"data": mine}}
        rows.append({**_platform(company, number), **known})
    return rows


def _schedules(_world: World, company: Company) -> list[dict]:
    times = (("Nights", "Every night", "22:00", "06:00", True), ("Weekend", "Deep scan", "00:00", "23:59", False))
    keys = ("name", "description", "from", "to", "active")
    return [
        {"id": _id("schedule", f"{company.short}/{row[0]}"), **dict(zip(keys, row)), "company": owner(company)}
        for row in times
    ]


# What was found.


def drawn(seed: int, company: Company) -> t.Iterator[tuple[ScanObject, dict, int, int]]:
    """Every finding of the kept history of a company: (where, finding, found, solved).

    Both count months before the latest scan: ``found`` by the first scan that saw it, ``solved`` by the first that
    no longer did, -1 for what is still open. Most findings are old, a few are new, some are solved.
    """
    rng, objects = random.Random(f"{seed}/findings/{company.number}"), scan_objects(company)
    for row in rng.sample(findings(), 34):
        web = row["port"] in (80, 443, 8080)
        hosts = [host for host in objects if web or not host.value.startswith("https:")]
        for host in rng.sample(hosts, rng.choices((1, 2, 3), (5, 3, 2))[0]):
            found = min(rng.randrange(SCANS * 3) % (SCANS + 4), SCANS)
            solved = rng.randrange(SCANS * 2)
            yield host, row, found, solved if solved < found else -1


def all_issues(world: World, company: Company) -> tuple[dict, ...]:
    """What the latest monthly scan found, with what was solved since: the same findings as in the CSV exports."""
    return _found(world.seed, world.now.year * 12 + world.now.month - 1, company)


@functools.lru_cache(maxsize=64)
def _found(seed: int, month: int, company: Company) -> tuple[dict, ...]:
    return tuple(
        _issue(company, host, row, _first_of(month - found), _first_of(month))
        for host, row, found, solved in drawn(seed, company)
        if solved < 0
    )


def _first_of(month: int) -> date:
    return date(month // 12, month % 12 + 1, 1)


def _issue(company: Company, host: ScanObject, row: dict, first: date, last: date) -> dict:
    same = ("title", "description", "solution", "technical_data", "risk", "cvss", "cve", "scanner", "port", "protocol")
    return {
        "id": issue_id(company, row["title"], host.value),
        **{key: row[key] for key in same},
        "scanobject": {"data": {"id": host.id, "value": host.value}},
        "status": "open",
        "first_seen": first.isoformat(),
        "last_seen": last.isoformat(),
        "company": owner(company),
    }


def _issues(world: World, company: Company) -> list[dict]:
    return [row for row in all_issues(world, company) if row["id"] not in world.solved]


# Figures. They name no company.


def _count(rows: t.Iterable[dict]) -> dict[str, int]:
    counts = collections.Counter(row["risk"] for row in rows)
    return {risk: counts[risk] for risk in RISKS}


def _live_assets(world: World, company: Company) -> list[dict]:
    alive = [host for host in scan_objects(company) if share(host.value, world.now.date()) < 0.9]
    return [{"company_id": company.ids["guardian360"], "count": len(alive)}]


def _trend(world: World, company: Company) -> list[dict]:
    today, everything = world.now.date(), _count(all_issues(world, company))
    day, rows = max(world.start.date(), today - TREND), []
    while day < today:
        moved = {risk: int(share(world.seed, "trend", company.number, day, risk) * 3) for risk in RISKS}
        rows.append({"date": day.isoformat(), **{risk: everything[risk] + moved[risk] for risk in RISKS}})
        day += timedelta(days=1)
    present = _count(_issues(world, company))
    present["info"] += world.now.hour  # today's figure moves all day
    return [*rows, {"date": today.isoformat(), **present}]


def _grouped(rows: t.Iterable[dict], key: t.Callable[[dict], str]) -> dict[str, list[dict]]:
    groups: dict[str, list[dict]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return dict(sorted(groups.items()))


def _per_date(world: World, company: Company) -> list[dict]:
    groups = _grouped(all_issues(world, company), lambda row: row["first_seen"])
    return [
        {"date": day, **_count(row for row in rows if row["id"] not in world.solved)} for day, rows in groups.items()
    ]


def _per_scanner(world: World, company: Company) -> list[dict]:
    groups = _grouped(_issues(world, company), lambda row: row["scanner"])
    return [{"scanner": scanner, **_count(rows)} for scanner, rows in groups.items()]


def _per_asset(world: World, company: Company) -> list[dict]:
    groups = _grouped(_issues(world, company), lambda row: row["scanobject"]["data"]["id"])
    return [{"scanobject": rows[0]["scanobject"], **_count(rows)} for rows in groups.values()]


LISTS: dict[str, t.Callable[[World, Company], list[dict]]] = {
    "assets": _assets,
    "companies": _companies,
    "hacker_alert_appliances": _decoys,
    "hacker_alert_exclusions": _decoy_exclusions,
    "issues": _issues,
    "live_assets": _live_assets,
    "probes": _probes,
    "risk_trend": _trend,
    "risks_per_asset": _per_asset,
    "risks_per_date": _per_date,
    "risks_per_scanner": _per_scanner,
    "scanner_exclusions": _scanner_exclusions,
    "scanner_platforms": _scanner_platforms,
    "schedules": _schedules,
}


def total(rows: list[dict], key: t.Callable[[dict], object]) -> list[dict]:
    """Figures of all companies together: what the vendor says when it is asked about none."""
    sums: dict[object, dict] = {}
    for row in rows:
        so_far = sums.setdefault(key(row), {**row, **dict.fromkeys(RISKS, 0)})
        for risk in RISKS:
            so_far[risk] += row[risk]
    return list(sums.values())


def second_version(data_set: str, company: Company, row: dict, relations: set[str]) -> dict:
    """A record as the second version of the API shows it, with the ``relations`` that were asked for."""
    kept = {key: value for key, value in row.items() if key not in ("company", "scannerplatform", "reference")}
    kept |= {"created_at": row.get("created_at", BEFORE), "updated_at": row.get("updated_at", BEFORE)}
    nested: dict[str, dict] = {"company": {"id": company.ids["guardian360"], "name": company.name}}
    if "scannerplatform" in row:
        inner = row["scannerplatform"]["data"]
        nested["scannerplatform"] = {"id": inner["id"], "type": "private", "name": inner["description"]}
    if data_set == "assets":
        kept |= {"ssl": bool(row["ssl"]), "exclusions": []}
    elif data_set == "probes":
        kept = {key: value for key, value in kept.items() if not key.startswith(("active", "percentage", "memory_"))}
        kept["scanner_version"] = "5.8.1"
    elif data_set == "scanner_platforms":
        public = row["description"].startswith("Guardian360")
        identity, name = probe_names(company)[0]
        nested["probe"] = {"id": identity, "name": name}
        kept = {"id": row["id"], "type": "public" if public else "private", "name": row["description"]}
        kept |= {"endpoint": f"https://{row['id']}.scan.example", "created_at": BEFORE, "updated_at": BEFORE}
    return {**kept, **{name: nested[name] for name in nested if name in relations}}
