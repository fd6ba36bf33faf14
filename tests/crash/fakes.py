# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A vendor, an Elasticsearch and a disk that live in memory, so that a collecting process can be killed thousands of times.

The vendor answers by the profile below. The index keeps Elasticsearch's promises on single documents, and no more.
The disk knows which bytes were made durable, and takes the others away when the power is cut.
"""

from __future__ import annotations

import collections
import dataclasses
import gzip
import json
import random
import typing as t
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs
from zoneinfo import ZoneInfo

BRUSSELS = ZoneInfo("Europe/Brussels")
# The second company has the name of the first one in an index, and the last one has no subscription.
COMPANIES = {"c1": "Acme NV", "c2": "ACME n.v.", "c3": "Zo\u00eb & Zonen", "c4": "Nobody BV"}
SUBSCRIBED = ("c1", "c2", "c3")
TENANT = {"id": "company.id", "name": "company.name"}
ECS = {"message": "text", "source.ip": "src_ip", "rule.name": "text"}
COUNTED = ["meta.last_page"]
ALERT = {"event.kind": "alert"}

PROFILE: dict = {
    "source": "crash",
    "base_url": "https://vendor.example",
    "api_key_header": "Api-Key",
    "envelope": {"items": ["data"]},
    "paging": {"cap": 500, "page_param": "page", "first": 1},
    "retry": {"statuses": [429, 500, 502, 503, 504], "max": 3},
    "companies": {
        "path": "/companies",
        "envelope": {"items": ["data"]},
        "paging": {"style": "page", "page_param": "page", "first": 1, "cap": 50},
        "id": "id",
        "name": "name",
        "flag": "subscribed",
    },
    "sets": {
        # State, searched for; who closed it long after the look-back is asked for by id.
        "alarms": {
            "path": "/alarms/search",
            "method": "POST",
            "repeatable": True,
            "body": {"size": 3, "sort": [{"timestamp": "asc"}, {"id": "asc"}]},
            "paging": {
                "style": "search_after",
                "from": "from",
                "send": "search_after",
                "tenants": "company_ids",
                "cursor": ["hits[-1].sort", "search_after"],
            },
            "envelope": {"items": ["hits"], "record": "_source"},
            "kind": "state",
            "id": "id",
            "time": "timestamp",
            "tenant": TENANT,
            "only": {"level": [1, 2, 3]},
            "constants": ALERT,
            "ecs": {**ECS, "soc.level": "level", "soc.reviewed": "reviewed"},
            "open_until": "soc.reviewed",
            "ask_again": {"by": "search", "param": "ids"},
        },
        # Events, searched for by GET, with an opaque cursor.
        "flows": {
            "path": "/flows",
            "paging": {"style": "search_after", "from": "from", "send": "after", "cursor": "next"},
            "kind": "event",
            "id": "id",
            "time": "timestamp",
            "tenant": TENANT,
            "constants": ALERT,
            "ecs": ECS,
        },
        # State in numbered pages, newest first, in the vendor's local time, asked again one by one.
        "tickets": {
            "path": "/tickets",
            "paging": {"style": "page", "newest_first": True, "last_page": COUNTED},
            "kind": "state",
            "id": "id",
            "time": "created",
            "zone": "Europe/Brussels",
            "tenant": TENANT,
            "constants": ALERT,
            "ecs": {**ECS, "soc.reviewed": "reviewed"},
            "open_until": "soc.reviewed",
            "ask_again": {"by": "get", "path": "/tickets/{id}"},
        },
        # Events in numbered pages, newest first, in local time, without a counter.
        "operations": {
            "path": "/operations",
            "paging": {"style": "page", "newest_first": True},
            "kind": "event",
            "id": "id",
            "time": "created",
            "zone": "Europe/Brussels",
            "tenant": TENANT,
            "constants": ALERT,
            "ecs": ECS,
        },
        # State in numbered pages, newest first, of which only the lists tell what became of it.
        "issues": {
            "path": "/issues",
            "paging": {"style": "page", "newest_first": True, "last_page": COUNTED},
            "kind": "state",
            "id": "id",
            "time": "timestamp",
            "tenant": TENANT,
            "constants": ALERT,
            "ecs": {**ECS, "soc.reviewed": "reviewed"},
            "open_until": "soc.reviewed",
        },
        "probes": {
            "path": "/probes",
            "paging": {"style": "page", "last_page": COUNTED},
            "kind": "snapshot",
            "id": "id",
            "time": "last_seen",
            "tenant": TENANT,
            "volatile": ["last_seen"],
            "constants": {"event.kind": "asset"},
            "ecs": {"message": "text", "soc.reviewed": "reviewed"},
        },
    },
}
SETS = tuple(PROFILE["sets"])
KINDS = {name: entry["kind"] for name, entry in PROFILE["sets"].items()}
LOCAL = {name for name, entry in PROFILE["sets"].items() if "zone" in entry}
# What is wrong with a record. The first group makes a document all the same; so does the twin, which shares its id with
# a record of another company.
SHAPES = (
    "good",
    "twin",
    "misfit",
    "foreign",
    "level4",
    "no_company",
    "no_id",
    "bad_time",
    "no_level",
    "poison",
    "clash",
)
USABLE = ("good", "twin", "misfit")
SKIPPED = ("foreign", "level4")


def to_text(seconds: int) -> str:
    """Epoch seconds as a vendor writes them."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def to_local(seconds: int) -> str:
    """Epoch seconds as a vendor in Brussels writes them, without saying so."""
    return datetime.fromtimestamp(seconds, BRUSSELS).strftime("%Y-%m-%d %H:%M:%S")


@dataclasses.dataclass
class Record:
    """One thing that happened at the vendor. Times are epoch seconds; ``visible`` is when the vendor lists it."""

    number: int
    set: str
    id: str
    tenant: str
    time: int
    visible: int
    shape: str
    text: str
    name: str = ""  # of the company, where it stays as it was
    reviewed: bool = False
    present: bool = True
    reopened: bool = False
    purged: bool = False

    def body(self, names: dict[str, str], now: int) -> dict:
        """As the vendor shows it."""
        company: dict | None = {"id": self.tenant, "name": self.name or names[self.tenant]}
        body: dict = {"id": self.id, "company": company, "text": self.text, "src_ip": "10.0.0.1", "level": 1}
        body["created" if self.set in LOCAL else "timestamp"] = (
            to_local(self.time) if self.set in LOCAL else to_text(self.time)
        )
        if KINDS[self.set] != "event":
            body["reviewed"] = self.reviewed
        if self.set == "probes":
            body["last_seen"] = to_text(now)
        wrong: dict = {
            "misfit": {"src_ip": "not an address"},
            "level4": {"level": 4},
            "no_company": {"company": None},
            "no_id": {"id": None},
            "bad_time": {"created": "yesterday", "timestamp": "yesterday"},
            "no_level": {"level": None},
        }
        return {**body, **wrong.get(self.shape, {})}

    def stamp(self) -> str:
        """What @timestamp of its document must be: an hour that comes twice is taken for the first of the two."""
        if self.set not in LOCAL:
            return to_text(self.time)
        local = datetime.fromisoformat(to_local(self.time)).replace(tzinfo=BRUSSELS, fold=0)
        return to_text(int(local.timestamp()))


class Vendor:
    """The vendor's side of the profile. ``now`` is the true time. For ``odd`` see machine.Schedule."""

    def __init__(self, now: int, page_size: int, odd: bool) -> None:
        self.now, self.page_size, self.odd = now, page_size, odd
        self.records: list[Record] = []
        self.names = dict(COMPANIES)
        self.token = 1
        self._earlier: dict[str, tuple[list, dict]] = {}

    # The world goes on

    def add(self, data_set: str, time: int, visible: int, tenant: str, shape: str) -> Record:
        """A new record."""
        if shape in ("no_level", "level4") and data_set != "alarms":
            shape = "good"
        if shape in ("clash", "twin") and (not self._good(data_set) or KINDS[data_set] != "event" and shape == "clash"):
            shape = "good"
        if data_set == "probes" and shape not in ("good", "foreign"):
            shape = "good"
        number = len(self.records)
        identity = f"{number * 7919 % 10007:05d}"  # ids are not in the order of arrival
        if shape == "foreign":
            tenant = "c4"
        if shape in ("clash", "twin"):
            other = self._good(data_set)[-1]
            same = [record for record in self.records if (record.set, record.id) == (data_set, other.id)]
            free = [company for company in SUBSCRIBED if company not in {record.tenant for record in same}]
            taken = {record.time for record in same}
            if time in taken or shape == "twin" and not free:  # even this vendor tells them apart by time and id
                shape = "good"
            else:
                identity, tenant = other.id, free[0] if shape == "twin" else other.tenant
        text = f"{'POISON ' if shape == 'poison' else ''}text of {number}"
        # A record that cannot be used is known by its content: with another name in it, it would count as another one.
        name = "" if shape in ("good", "twin", *SKIPPED) else self.names[tenant]
        record = Record(number, data_set, identity, tenant, time, visible, shape, text, name)
        self.records.append(record)
        return record

    def _good(self, data_set: str) -> list[Record]:
        return [record for record in self.records if record.set == data_set and record.shape == "good"]

    def pick(self, data_set: str, number: int) -> Record | None:
        """One of the records that are there and usable."""
        there = [
            record
            for record in self.records
            if record.set == data_set and record.shape in ("good", "twin") and not record.purged
        ]
        return there[number % len(there)] if there else None

    # What it answers

    def answer(self, path: str, query: dict, body: dict, disturb: str = "") -> tuple[int, dict]:
        """(status, JSON) of one request; ``disturb`` is one of repeat, shuffle, again, short."""
        if path == "/companies":
            page = int(query.get("page", 1))
            listed = [{"id": key, "name": name, "subscribed": key in SUBSCRIBED} for key, name in self.names.items()]
            return 200, {"data": listed if page == 1 else []}
        _empty, name, *rest = path.split("/")
        if name in ("alarms", "flows"):
            return 200, self._search(name, {**query, **body}, disturb)
        if rest:
            found = [r for r in self._there(name) if r.id == rest[0]]
            return (200, self._body(found[0])) if found else (404, {"message": "not found"})
        return 200, self._list(name, int(query.get("page", 1)), disturb)

    def lists(self, name: str) -> bool:
        """Whether it has anything to show."""
        return bool(self._there(name))

    def _there(self, name: str) -> list[Record]:
        return [
            record
            for record in self.records
            if record.set == name and record.visible <= self.now and record.present and not record.purged
        ]

    def _body(self, record: Record) -> dict:
        return record.body(self.names, self.now)

    def _search(self, name: str, asked: dict, disturb: str) -> dict:
        sort = [next(iter(key)) for key in asked.get("sort", [{"timestamp": ""}, {"id": ""}])]

        def key(record: Record) -> list:
            return [record.time * 1000, record.id][: len(sort)]

        found = self._there(name)
        if asked.get("ids"):
            wanted = asked["ids"] if isinstance(asked["ids"], list) else asked["ids"].split(",")
            found = [record for record in found if record.id in wanted]
        if asked.get("company_ids"):
            found = [record for record in found if record.tenant in asked["company_ids"]]
        if asked.get("from"):
            since = datetime.fromisoformat(asked["from"]).timestamp()
            found = [record for record in found if record.time >= since]
        found.sort(key=lambda record: (record.time, record.id))
        if len(sort) < 2:  # nobody promises anything about the order of equals
            found.sort(key=lambda record: (record.time, record.text[::-1]))
        before: list[Record] = []
        after = asked.get("search_after") or asked.get("after")
        if after:
            place = json.loads(after) if isinstance(after, str) else list(after)
            place = [int(place[0]), *map(str, place[1:])]
            before = [record for record in found if key(record)[: len(place)] <= place]
            found = [record for record in found if key(record)[: len(place)] > place]
        page = found[: 1 if disturb == "short" else self.page_size]
        shown = page
        if disturb == "repeat":
            shown = before[-2:] + page[:1] + page
        elif disturb == "shuffle":  # whatever comes last: the cursor must not pass what was not sent
            shown = page[:-1][::-1] + page[-1:]
        last = key(page[-1]) if page else None
        if name == "flows":
            answer: dict = {"data": [self._body(record) for record in shown]}
            return {**answer, "next": json.dumps(last)} if page else answer
        hits = [{"sort": key(record), "_source": self._body(record)} for record in shown]
        return {"hits": hits, "search_after": last}

    def _list(self, name: str, number: int, disturb: str) -> dict:
        found = self._there(name)
        if PROFILE["sets"][name]["paging"].get("newest_first"):
            found.sort(key=lambda r: (to_local(r.time) if self.odd else "", r.time, r.id), reverse=True)
        else:
            found.sort(key=lambda r: r.id)
        size, counted = self.page_size, "last_page" in PROFILE["sets"][name]["paging"]
        start = (number - 1) * size
        page = found[start : start + size]
        if disturb == "again" and counted and number > 1:
            page = found[start - size : start]
        elif disturb == "repeat":
            page = found[max(0, start - 2) : start] + page
        elif disturb == "shuffle":
            page = page[::-1]
        answer: dict = {"data": [self._body(record) for record in page]}
        if counted:
            answer["meta"] = {"last_page": max(1, -(-len(found) // size))}
        return answer


def asked_for(target: str) -> tuple[str, dict]:
    """Path and query of a request target; a parameter that is there once is text, otherwise a list."""
    path, _mark, query = target.partition("?")
    return path, {key: values[0] if len(values) == 1 else values for key, values in parse_qs(query).items()}


class Index:
    """Documents by (index, id), with Elasticsearch's rules of create and of external versions."""

    def __init__(self) -> None:
        self.documents: dict[tuple[str, str], tuple[int, dict]] = {}
        self.refused: set[tuple[str, str]] = set()
        self.rewritten: list[tuple[str, str]] = []
        self.late: list[bytes] = []

    def bulk(self, payload: bytes, busy: t.Container[int] = (), until: int | None = None) -> dict:
        """Carry out bulk lines, those at the positions ``busy`` excepted, and only the first ``until`` of them."""
        items = []
        lines = payload.splitlines()
        for position, (action, source) in enumerate(zip(lines[::2], lines[1::2], strict=True)):
            if until is not None and position >= until:
                break
            ((name, target),) = json.loads(action).items()
            items.append({name: _status(429) if position in busy else self._write(name, target, source)})
        return {"errors": any("error" in next(iter(item.values())) for item in items), "items": items}

    def _write(self, name: str, target: dict, source: bytes) -> dict:
        key = (target["_index"], target["_id"])
        if b"POISON" in source:
            self.refused.add(key)
            return _status(400)
        there = self.documents.get(key)
        if there and (name == "create" or target.get("version", there[0] + 1) <= there[0]):
            return _status(409)
        body = json.loads(source)
        if there and body["event"].get("kind") == "alert" and KINDS.get(body["soc"].get("set")) == "event":
            self.rewritten.append(key)
        self.documents[key] = (target.get("version", there[0] + 1 if there else 1), body)
        return {"status": 200 if there else 201}

    def catch_up(self) -> None:
        """What came late takes place now."""
        late, self.late = self.late, []
        for payload in late:
            self.bulk(payload)


def _status(status: int) -> dict:
    kinds = {400: "document_parsing_exception", 409: "version_conflict_engine_exception"}
    return {"status": status, "error": {"type": kinds.get(status, "es_rejected_execution_exception"), "reason": "x"}}


class Disk:
    """What of the files in ``folders`` would survive a power cut: what was fsynced, under names whose folder was fsynced.

    SQLite's files are left as they are: it syncs them itself.
    """

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self._bytes: dict[int, bytes] = {}
        self._names: dict[str, dict[str, int]] = collections.defaultdict(dict)

    @staticmethod
    def ours(name: str) -> bool:
        """Whether the rules of this class hold for a file of this name."""
        return ".sqlite" not in name and name != "lock" and not name.endswith(".log")

    def synced(self, path: str, number: int, content: bytes) -> None:
        """A file was fsynced."""
        self._bytes[number] = content

    def synced_folder(self, path: str, names: dict[str, int]) -> None:
        """A folder was fsynced, with ``names`` in it."""
        self._names[path] = names

    def cut_power(self, salt: int) -> None:
        """Take away, garble or keep what nobody made durable, by the whim of ``salt``."""
        rng = random.Random(salt)
        inside = [path for folder in self._folders for path in (folder, *folder.rglob("*")) if path.is_dir()]
        for folder in sorted(inside):
            durable = {name: number for name, number in self._names[str(folder)].items() if self.ours(name)}
            there = {path.name: path for path in sorted(folder.iterdir()) if path.is_file() and self.ours(path.name)}
            for name, path in there.items():
                content, number = path.read_bytes(), path.stat().st_ino
                if durable.get(name) != number and rng.random() < 0.7:  # the name itself was not durable
                    path.unlink()
                    if name in durable:
                        path.write_bytes(self._bytes.get(durable[name], b""))
                    continue
                after = self._survivor(rng, self._bytes.get(number, b""), content)
                if after != content:
                    path.write_bytes(after)
            for name in durable.keys() - there.keys():
                if rng.random() < 0.7:  # that it was removed was not durable
                    (folder / name).write_bytes(self._bytes.get(durable[name], b""))
            left = {path.name: path.stat().st_ino for path in folder.iterdir() if path.is_file()}
            self._names[str(folder)] = left
            self._bytes.update({left[name]: (folder / name).read_bytes() for name in left if self.ours(name)})

    @staticmethod
    def _survivor(rng: random.Random, durable: bytes, content: bytes) -> bytes:
        if not content.startswith(durable):
            return rng.choice((durable, content))
        tail = content[len(durable) :]
        if not tail:
            return content
        tail = tail[: rng.randint(0, len(tail))]
        if tail and rng.random() < 0.3:
            tail = bytes(len(tail))
        elif tail and rng.random() < 0.3:
            tail = rng.randbytes(len(tail))
        return durable + tail


def journal_bytes(folder: Path, archive: Path) -> dict[int, bytes]:
    """The segments by number, whether they lie in the journal or sealed in the archive."""
    found = {int(path.name.split(".")[0]): gzip.decompress(path.read_bytes()) for path in archive.rglob("*.ndjson.gz")}
    return found | {int(path.stem): path.read_bytes() for path in folder.glob("segments/*.ndjson")}
