# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The world that the simulators serve: what happens at eight companies, as a function of a seed and the time.

What happens on a day at a company follows from the seed, the company and the day alone, so that any volume and any
day can be served, and one seed always gives the same bytes. The texts are real: alerts of Suricata and findings of
scanners, see ``data/README.md``. On top of that come the things that somebody does: incidents, reviews, probes
that go down. They are kept, and a world can be saved and loaded.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import heapq
import json
import random
import typing as t
import uuid
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from ansible_collections.netcure.soc.plugins.module_utils._collect.profile import compile_paths, dig
from ansible_collections.netcure.soc.plugins.module_utils._collect.profiles import cyberalarm, guardian360, watchguard
from ansible_collections.netcure.soc.plugins.module_utils._core.clock import format_time, parse_time
from ansible_collections.netcure.soc.plugins.module_utils._core.ids import index_name, slug

from lab import firebox, lighthouse
from lab.companies import COMPANIES, NAMESPACE, Company, find
from lab.lighthouse import findings, issue_id, owner, scan_objects, share

DATA = Path(__file__).parent / "data"
PROFILES = {profile["source"]: profile for profile in (cyberalarm.PROFILE, guardian360.PROFILE, watchguard.PROFILE)}
PROVIDER = {"id": "provider", "name": "Provider"}  # under whom the product writes what names no company

START = datetime(2026, 11, 2, tzinfo=UTC)
NOW = datetime(2026, 11, 9, 9, tzinfo=UTC)
LEVELS = {1: 0.015, 2: 0.14, 3: 0.785, 4: 0.06}  # 4 is noise that the SOC does not collect
TIES = 0.3  # of the alarms have exactly the time of another
# Suricata calls these severe too; for a SOC they are not what wakes people up.
NOT_URGENT = ("Potential Corporate Privacy Violation", "Generic Protocol Command Decode", "Attempted Information Leak")
# Which records an analyst of the vendor has dealt with before the lab opens.
REVIEWED, REVIEW_AGE = 0.8, timedelta(hours=2)
ANALYSTS = ("a.peeters@netcure.example", "j.devries@netcure.example")
PUBLIC_NETS = ("192.0.2", "198.51.100", "203.0.113")
SERVICES = {22: "ssh", 21: "ftp", 23: "telnet", 80: "http", 445: "smb", 1433: "mssql", 3389: "rdp", 5900: "vnc"}
OPERATIONS = ("found", "found", "rescanned", "rescanned", "accepted", "closed")


@functools.cache
def alerts(level: int) -> tuple[dict, ...]:
    """Real Suricata alerts that serve as the alarms of a level."""
    rows = [json.loads(line) for line in (DATA / "alerts.ndjson").read_text(encoding="utf-8").splitlines()]
    urgent = [row for row in rows if row["severity"] == 1 and row["category"] not in NOT_URGENT]
    rest = [row for row in rows if row not in urgent]
    wanted = {1: urgent, 2: [row for row in rest if row["severity"] < 3]}
    return tuple(wanted.get(level, [row for row in rest if row["severity"] == 3]))


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """One record of a vendor. ``time`` is in epoch milliseconds; ``body`` is as it was when it came about."""

    time: int
    id: str
    company: Company
    body: dict

    @property
    def key(self) -> tuple[int, str]:
        return (self.time, self.id)


def _ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)


def _when(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _zulu(ms: int) -> str:
    """A time as WatchGuard Cloud writes it."""
    return _when(ms).strftime("%Y-%m-%dT%H:%M:%SZ")


def _plain(ms: int) -> str:
    """A time as Guardian360 writes it."""
    return _when(ms).strftime("%Y-%m-%d %H:%M:%S")


class World:
    """Everything that the vendors know at a moment.

    ``per_day`` is the mean number of alarms of a company on a day. Nothing is older than ``start``. ``now`` is the
    world's own clock: it moves only when it is told to, and never backwards.
    """

    def __init__(self, seed: int = 1, per_day: int = 40, start: datetime = START, now: datetime | None = None) -> None:
        self.seed, self.per_day = seed, per_day
        self.start = start.replace(hour=0, minute=0, second=0, microsecond=0)
        self.opened = self.now = now or max(NOW, start)
        self.incidents: list[dict] = []
        self.reviews: dict[str, dict] = {}
        self.probe_states: dict[str, dict] = {}
        self.solved: dict[str, str] = {}
        self.late_share, self.late_seconds = 0.0, 0
        # A vendor that does not heed it answers about all companies together.
        self.heeds_company_id = True
        self.version = 0  # changes with everything that may change an answer
        # A few hundred thousand records at most stay in memory.
        self._day = functools.lru_cache(maxsize=max(32, 400_000 // max(per_day, 1)))(self._make_day)

    # What somebody does.

    def set_clock(self, now: datetime) -> None:
        if now < self.now:
            raise ValueError(f"The clock of the lab stands at {format_time(self.now)} and does not go back.")
        self.now = now
        self.version += 1

    def advance(self, seconds: float) -> None:
        self.set_clock(self.now + timedelta(seconds=seconds))

    def raise_incident(self, company: str, level: int, count: int = 1) -> list[str]:
        """``count`` alarms of ``level`` at a company, now: one signature, one victim. Returns their ids."""
        owner = find(company)
        if not owner.subscribed:
            raise ValueError(f"{owner.name} has no subscription to CyberAlarm.")
        incident = {"company": owner.slug, "level": int(level), "count": int(count), "at": format_time(self.now)}
        self.incidents.append(incident)
        self.version += 1
        return [record.id for record in self._make_incident(len(self.incidents) - 1)]

    def review(self, alarm_id: str, by: str = ANALYSTS[0]) -> None:
        """An analyst marks an alarm of CyberAlarm as reviewed, or acknowledges a hacker alert."""
        self.reviews[alarm_id] = {"by": by, "at": format_time(self.now)}
        self.version += 1

    def review_open(self, level: int, company: str | None = None) -> list[str]:
        """Analysts work off all open alarms of a level, everywhere or at one company. Returns their ids."""
        owner = find(company) if company else None
        opened = [
            record.id
            for record in self.log("cyberalarm", "logs")
            if record.body["level"] == level and owner in (None, record.company) and not self.body(record)["reviewed"]
        ]
        for identity in opened:
            self.review(identity)
        return opened

    def set_probe(self, probe_id: str, status: str) -> None:
        """A probe is ``online`` or ``offline`` from now on, whatever its day had in store.

        One that is ``silent`` is not seen any more, though the vendor goes on to call it online.
        """
        self.probe_states[probe_id] = {"status": status, "since": format_time(self.now)}
        self.version += 1

    def solve(self, identity: str) -> None:
        """Somebody solves an issue: from now on it is in no list of Guardian360 any more."""
        self.solved[identity] = format_time(self.now)
        self.version += 1

    def heed_company_id(self, heeds: bool) -> None:
        """Whether Guardian360 heeds the question about one company when it is asked for figures."""
        self.heeds_company_id = bool(heeds)
        self.version += 1

    def delay_records(self, share: float, seconds: int) -> None:
        """From here on ``share`` of all records of a log appear only ``seconds`` after their own time."""
        self.late_share, self.late_seconds = float(share), int(seconds)
        self.version += 1

    def save(self) -> dict:
        """All of it as JSON values, for load()."""
        return {
            "seed": self.seed,
            "per_day": self.per_day,
            "start": format_time(self.start),
            "opened": format_time(self.opened),
            "now": format_time(self.now),
            "incidents": self.incidents,
            "reviews": self.reviews,
            "probe_states": self.probe_states,
            "solved": self.solved,
            "heeds_company_id": self.heeds_company_id,
            "late": [self.late_share, self.late_seconds],
        }

    @classmethod
    def load(cls, saved: dict) -> World:
        world = cls(saved["seed"], saved["per_day"], parse_time(saved["start"]), parse_time(saved["opened"]))
        world.now = parse_time(saved["now"])
        world.incidents, world.reviews = saved["incidents"], saved["reviews"]
        world.probe_states, world.solved = saved["probe_states"], saved.get("solved", {})
        world.heeds_company_id = saved.get("heeds_company_id", True)
        world.late_share, world.late_seconds = saved["late"]
        return world

    # What happens by itself.

    def day(self, source: str, data_set: str, company: Company, day: date) -> tuple[Record, ...]:
        """The records of one company and one day, by (time, id): a function of the seed and these four."""
        return self._day(source, data_set, company, day)

    def _make_day(self, source: str, data_set: str, company: Company, day: date) -> tuple[Record, ...]:
        makers: dict[tuple[str, str], tuple[t.Callable[..., Record], float]] = {
            ("cyberalarm", "logs"): (self._alarm, 1.0),
            ("guardian360", "hacker_alerts"): (self._hacker_alert, 0.15),
            ("guardian360", "issue_operations"): (self._operation, 0.25),
            ("watchguard", "incidents"): (self._cloud_incident, 0.05),
            ("watchguard", "firebox"): (self._firebox_line, 0.5),
        }
        make, part = makers[source, data_set]
        if source == "watchguard" and not company.firewall:
            return ()
        rng = random.Random(f"{self.seed}/{source}/{data_set}/{company.number}/{day.isoformat()}")
        midnight = _ms(datetime(day.year, day.month, day.day, tzinfo=UTC))
        count = round(self.per_day * part * company.weight * rng.uniform(0.8, 1.2))
        records, times = [], []
        for number in range(count):
            tie = times and rng.random() < TIES
            ms = rng.choice(times) if tie else midnight + rng.randrange(86_400_000)
            times.append(ms)
            records.append(make(rng, company, day, number, ms))
        return tuple(sorted(records, key=lambda record: record.key))

    def _alarm(self, rng: random.Random, company: Company, day: date, number: int, ms: int) -> Record:
        level = rng.choices(tuple(LEVELS), tuple(LEVELS.values()))[0]
        identity = f"al-{day:%y%m%d}-{company.number}-{number:05d}"
        return self._alarm_record(rng, company, identity, ms, level, rng.choice(alerts(level)))

    def _alarm_record(
        self,
        rng: random.Random,
        company: Company,
        identity: str,
        ms: int,
        level: int,
        alert: dict,
        inside: str | None = None,
    ) -> Record:
        inside = inside or f"{company.network}.{rng.randrange(10, 40)}"
        outside = f"{rng.choice(PUBLIC_NETS)}.{rng.randrange(1, 255)}"
        if alert["direction"] == "internal":
            outside = f"{company.network}.{rng.randrange(40, 90)}"
        source, destination = (inside, outside) if alert["direction"] == "out" else (outside, inside)
        probe = self._own_probes(company)[0]
        body = {
            "id": identity,
            "timestamp": format_time(_when(ms)),
            "level": level,
            "category": alert["category"],
            "signature": alert["signature"],
            "signature_id": alert["signature_id"],
            "description": f"{alert['signature']} ({alert['category']}) seen by {probe[1]}",
            "company": {"id": company.ids["cyberalarm"], "name": company.name},
            "probe": {"id": probe[0], "name": probe[1]},
            "src_ip": source,
            "src_port": rng.randrange(1024, 65536),
            "dst_ip": destination,
            "dst_port": alert["dest_port"] or 0,
            "protocol": alert["protocol"],
            "count": 1 if rng.random() < 0.9 else rng.randrange(2, 30),
            "reviewed": False,
            "reviewed_by": None,
            "reviewed_at": None,
        }
        return Record(ms, identity, company, body)

    def _hacker_alert(self, rng: random.Random, company: Company, day: date, number: int, ms: int) -> Record:
        ms -= ms % 1000  # the vendor's times have no milliseconds: more ties
        identity = str(uuid.uuid5(NAMESPACE, f"ha/{self.seed}/{company.number}/{day}/{number}"))
        port = rng.choice(tuple(SERVICES))
        user = rng.choice(("root", "admin", "administrator", "sa", "backup", "scan"))
        body = {
            "id": identity,
            "company": owner(company),
            "appliance": lighthouse.decoy(company),
            "source_ip": f"{company.network}.{rng.randrange(10, 40)}",
            "source_port": rng.randrange(1024, 65536),
            "destination_ip": f"{company.network}.{rng.randrange(200, 210)}",
            "destination_port": port,
            "protocol": "tcp",
            "service": SERVICES[port],
            "severity": rng.choices(("high", "medium", "low"), (1, 4, 5))[0],
            "message": f"{SERVICES[port].upper()} login attempt on decoy",
            "username": user,
            "acknowledged": 0,
            "acknowledged_by": None,
            "created_at": _plain(ms),
            "updated_at": _plain(ms),
        }
        return Record(ms, identity, company, body)

    def _operation(self, rng: random.Random, company: Company, day: date, number: int, ms: int) -> Record:
        ms -= ms % 1000
        identity = str(uuid.uuid5(NAMESPACE, f"op/{self.seed}/{company.number}/{day}/{number}"))
        row, host = rng.choice(findings()), rng.choice(scan_objects(company))
        operation = rng.choice(OPERATIONS)
        body = {
            "id": identity,
            "operation": operation,
            "issue": {
                "id": issue_id(company, row["title"], host.value),
                "title": row["title"],
                "cve": row["cve"],
                "risk": row["risk"],
            },
            "scanobject": {"data": {"id": host.id, "value": host.value}},
            "performed_by": "scanner" if operation in ("found", "rescanned") else rng.choice(ANALYSTS),
            "created_at": _plain(ms),
            "company": owner(company),
        }
        return Record(ms, identity, company, body)

    def _cloud_incident(self, rng: random.Random, company: Company, day: date, number: int, ms: int) -> Record:
        ms -= ms % 1000
        identity = str(uuid.uuid5(NAMESPACE, f"cloud/{self.seed}/{company.number}/{day}/{number}"))
        alert = rng.choice(alerts(rng.choice((1, 2))))
        name, serial = company.firebox
        body = {
            "id": identity,
            "account_id": company.ids["watchguard"],
            "title": alert["category"],
            "description": f"{alert['signature']} at {name}",
            "severity": rng.randrange(1, 11),
            "status": "new",
            "created_at": _zulu(ms),
            "updated_at": _zulu(ms),
            "device": {"name": name, "serial": serial},
            "source_ip": f"{rng.choice(PUBLIC_NETS)}.{rng.randrange(1, 255)}",
            "user": rng.choice((None, None, f"{rng.choice(('j.maes', 'k.bakker', 'l.dubois'))}@{company.domain}")),
        }
        return Record(ms, identity, company, body)

    def _firebox_line(self, rng: random.Random, company: Company, _day: date, number: int, ms: int) -> Record:
        signature = rng.choice(alerts(2))["signature"]
        line = firebox.line(rng, company, _when(ms), signature)
        return Record(ms, f"{number:05d}", company, {"line": line})

    def _make_incident(self, number: int) -> list[Record]:
        incident = self.incidents[number]
        company = find(incident["company"])
        rng = random.Random(f"{self.seed}/incident/{number}")
        alert = rng.choice(alerts(incident["level"]))
        inside = f"{company.network}.{rng.randrange(10, 40)}"
        at = _ms(parse_time(incident["at"]))
        return [
            self._alarm_record(
                rng,
                company,
                f"al-x{number:03d}-{company.number}-{step:05d}",
                at - (incident["count"] - 1 - step) // 2 * 500,  # two at a time, the last ones now
                incident["level"],
                alert,
                inside,
            )
            for step in range(incident["count"])
        ]

    # What the vendors show.

    def log(
        self, source: str, data_set: str, after: tuple[int, str] = (0, ""), since: datetime | None = None
    ) -> t.Iterator[Record]:
        """The records that exist now, by (time, id), from ``since`` on and after the key ``after``."""
        first = max(self.start, since or self.start, _when(after[0]))
        floor = max((_ms(since), "") if since else (0, ""), after)
        extra = self._extra(source, data_set)
        day = first.date()
        while day <= self.now.date():
            lists: list[t.Sequence[Record]] = [self.day(source, data_set, company, day) for company in COMPANIES]
            lists.append([record for record in extra if _when(record.time).date() == day])
            for record in heapq.merge(*(_from(rows, floor) for rows in lists), key=lambda record: record.key):
                if record.key > after and self._visible(record):
                    yield record
            day += timedelta(days=1)

    def _extra(self, source: str, data_set: str) -> list[Record]:
        if (source, data_set) != ("cyberalarm", "logs"):
            return []
        records = (record for number in range(len(self.incidents)) for record in self._make_incident(number))
        return sorted(records, key=lambda record: record.key)

    def _visible(self, record: Record) -> bool:
        # Syslog has no vendor in between who could be late.
        may_be = self.late_share and "line" not in record.body
        late = may_be and share(self.seed, "late", record.id) < self.late_share
        return record.time + (self.late_seconds * 1000 if late else 0) <= _ms(self.now)

    def body(self, record: Record) -> dict:
        """The record as the vendor shows it now, with what analysts have done to it."""
        mark = self.reviews.get(record.id)
        if mark is None:
            old = record.time < _ms(self.opened - REVIEW_AGE)
            if not old or share(self.seed, "reviewed", record.id) >= REVIEWED:
                return record.body
            by = ANALYSTS[int(share("who", record.id) * len(ANALYSTS))]
            mark = {"by": by, "at": format_time(_when(record.time + 3_600_000))}
        if "account_id" in record.body:
            return {**record.body, "status": "closed", "updated_at": _zulu(_ms(parse_time(mark["at"])))}
        if "reviewed" in record.body:
            return {**record.body, "reviewed": True, "reviewed_by": mark["by"], "reviewed_at": mark["at"]}
        if "acknowledged" in record.body:
            at = _plain(_ms(parse_time(mark["at"])))
            return {**record.body, "acknowledged": 1, "acknowledged_by": mark["by"], "updated_at": at}
        return record.body

    def listed(self, source: str, data_set: str, company: Company | None = None) -> list[tuple[Company, dict]]:
        """What a vendor's list holds now, of all companies or of one, each record with its company; logs oldest first."""
        companies = [company] if company else COMPANIES
        make = lighthouse.LISTS.get(data_set) if source == "guardian360" else None
        if make:
            return [(one, row) for one in companies for row in make(self, one)]
        if data_set == "probes":
            return [entry for entry in self.probes(source) if entry[0] in companies]
        return [
            (record.company, self.body(record)) for record in self.log(source, data_set) if record.company in companies
        ]

    def firebox_records(self, company: Company, since: datetime, until: datetime) -> list[Record]:
        """What a company's Firebox logged after ``since`` and up to ``until``, in order, each line a record."""
        found, day = [], since.date()
        while day <= until.date():
            rows = self.day("watchguard", "firebox", company, day)
            found += [record for record in rows if _ms(since) < record.time <= _ms(until)]
            day += timedelta(days=1)
        return found

    def probes(self, source: str) -> list[tuple[Company, dict]]:
        """The probes of a source in their present state, each with its company."""
        if source == "guardian360":
            return [(company, row) for company in COMPANIES for row in lighthouse.LISTS["probes"](self, company)]
        found = []
        for company in COMPANIES:
            for identity, name in self._own_probes(company):
                status, seen = self.probe_state(identity)
                body = {
                    "id": identity,
                    "name": name,
                    "company": {"id": company.ids[source], "name": company.name},
                    "status": status,
                    "last_seen": format_time(seen),
                    "version": "4.2.1",
                }
                found.append((company, body))
        return found

    @staticmethod
    def _own_probes(company: Company) -> list[tuple[str, str]]:
        count = 2 if company.weight > 1 else 1
        return [(f"p{company.number}{number}", f"{company.short}-core-{number:02d}") for number in range(1, count + 1)]

    def probe_state(self, identity: str) -> tuple[str, datetime]:
        """What a probe says of itself now, and when it was last seen."""
        minute = self.now.replace(second=0, microsecond=0)
        told = self.probe_states.get(identity)
        if told and told["status"] != "online":
            return {"silent": "online"}.get(told["status"], told["status"]), parse_time(told["since"])
        if told:
            return "online", minute
        midnight = self.now.replace(hour=0, minute=0, second=0, microsecond=0)
        rng = random.Random(f"{self.seed}/probe/{identity}/{midnight.date()}")
        if rng.random() < 0.08:
            begin = midnight + timedelta(minutes=rng.randrange(0, 1300))
            if begin <= self.now < begin + timedelta(minutes=rng.randrange(20, 300)):
                return "offline", begin
        return "online", minute

    # What a SOC that missed nothing has.

    def truth(self, ids: bool = True) -> dict:
        """What a complete collector holds now: by source, set and company's name.

        Each entry has ``slug``, ``index``, ``count``, ``reviewed`` (how many) and, unless ``ids`` is false, the
        vendor ``ids``; alarms have ``levels`` too, probes ``statuses``. Levels beyond 3, companies without a
        subscription to CyberAlarm, and those without a Firebox are not part of it. Of a list that shows the present
        it has what the list shows now. A line in a file has no id: there the lines themselves are the ``ids``.
        """
        sources: dict = {}
        for source, profile in PROFILES.items():
            for name, entry in profile["sets"].items():
                sources.setdefault(source, {})[name] = self._truth_of(source, name, entry, ids)
        return {"now": format_time(self.now), "sources": sources}

    def figures(self, data_set: str, company: Company | None) -> list[dict]:
        """Statistics of Guardian360 about one company, or about all of them together."""
        rows = [row for _company, row in self.listed("guardian360", data_set, company)]
        id_of = compile_paths(PROFILES["guardian360"]["sets"][data_set]["id"])
        return rows if company else lighthouse.total(rows, lambda row: dig(row, id_of))

    def _truth_of(self, source: str, name: str, entry: dict, ids: bool) -> dict:
        rows: list[tuple[t.Any, dict]]
        clients = {"cyberalarm": "subscribed", "watchguard": "firewall"}.get(source)
        owners = {one.name: one.slug for one in COMPANIES if clients is None or getattr(one, clients)}
        if (entry["tenant"].get("ask") or {}).get("param") and not self.heeds_company_id:
            owners = {PROVIDER["name"]: slug(PROVIDER["name"])}
            rows = [(PROVIDER["name"], row) for row in self.figures(name, None)]
        else:
            rows = [(one.name, body) for one, body in self.listed(source, "firebox" if entry.get("files") else name)]
        allowed, id_of = entry.get("only", {}), compile_paths("line" if entry.get("files") else entry["id"])
        found: dict = {}
        for owner_name, owner_slug in owners.items():
            index = index_name(source, entry.get("index", name), owner_slug)
            found[owner_name] = {"slug": owner_slug, "index": index, "count": 0, "reviewed": 0, "ids": []}
        for owner_name, body in rows:
            mine = found.get(owner_name)
            if mine is None or any(body[field] not in values for field, values in allowed.items()):
                continue
            mine["count"] += 1
            mine["ids"].append(str(dig(body, id_of)))
            mine["reviewed"] += bool(body.get("reviewed") or body.get("acknowledged"))
            for field, into in (("level", "levels"), ("status", "statuses")):
                if field in body:
                    tally = mine.setdefault(into, {})
                    tally[str(body[field])] = tally.get(str(body[field]), 0) + 1
        for mine in found.values():
            if not ids:
                del mine["ids"]
        return found


def _from(rows: t.Sequence[Record], key: tuple[int, str]) -> t.Sequence[Record]:
    return rows[bisect.bisect_left(rows, key, key=lambda record: record.key) :]
