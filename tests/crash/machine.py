# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random schedules in which a collecting process is killed, and then the counting: nothing lost, nothing twice.

Hypothesis draws schedules: things happen at the vendor, and runs meet faults of the vendor, of Elasticsearch, of the disk
and of the clock, and SIGKILL. Each run is a process of its own, forked from this one, with the product's own code down to
its HTTP connections; what they would say to the network goes through a pipe to the vendor and the index in this process,
which live on. A schedule that fails is shrunk and printed, and can be run again:

    python -m tests.crash.machine --schedules 500 --seed 1
    python -m tests.crash.machine --replay "Schedule(...)"

Run it with PYTHONHASHSEED=0: then the same seed gives the same schedules, and a process that is killed in the middle
dies at the same line.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import gc
import io
import json
import multiprocessing.connection
import os
import re
import resource
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time
import traceback
import typing as t
from datetime import UTC, datetime, timedelta
from pathlib import Path

import elastic_transport
import elasticsearch
import hypothesis
import requests
import urllib3
from ansible_collections.netcure.soc.plugins.module_utils import _collect
from ansible_collections.netcure.soc.plugins.module_utils._collect import journal, run
from ansible_collections.netcure.soc.plugins.module_utils._core.elastic import Elastic
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import SocError
from ansible_collections.netcure.soc.plugins.module_utils._core.module import Run
from hypothesis import strategies as st

from tests.crash.fakes import (
    KINDS,
    PROFILE,
    SETS,
    SKIPPED,
    SUBSCRIBED,
    USABLE,
    Disk,
    Index,
    Record,
    Vendor,
    asked_for,
    journal_bytes,
)

LOOK_BACK = 40 * 60
# Late records are later than nothing that is promised, also when their neighbours' clocks are fast.
LATEST, FAST_CLOCK = 25 * 60, 5 * 60
HANGS = 30  # seconds in which a run says nothing
CHUNK = 25  # schedules a process
ROOM = Path(_collect.__path__[0])
POINTS = tuple(
    sorted(
        {
            name
            for path in ROOM.glob("*.py")
            if path.stem != "replay"  # it has points of its own, which no collecting run comes past
            for name in re.findall(r'reach\("(\w+)"\)', path.read_text())
        }
    )
)
# So small that a few records fill several segments and several bulk calls.
SIZES = {"SEGMENT_SIZE": 6000, "SHIP_SIZE": 1500}


# What a schedule is made of


class Plain:
    """Shows itself as the call that makes it, without what is as usual."""

    def __repr__(self) -> str:
        fields = [f for f in dataclasses.fields(self) if getattr(self, f.name) != f.default]
        return f"{type(self).__name__}({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in fields)})"


@dataclasses.dataclass(frozen=True, repr=False)
class Arrive(Plain):
    """``count`` records, ``ago`` seconds back and ``apart`` seconds from each other, listed ``late`` seconds from now."""

    set: str
    count: int = 1
    ago: int = 0
    late: int = 0
    tenant: str = "c1"
    shape: str = "good"
    apart: int = 0


@dataclasses.dataclass(frozen=True, repr=False)
class Review(Plain):
    """The flag of a record is set or taken away."""

    set: str
    number: int = 0
    on: bool = True


@dataclasses.dataclass(frozen=True, repr=False)
class Toggle(Plain):
    """A member of a snapshot goes, or comes back."""

    number: int = 0


@dataclasses.dataclass(frozen=True, repr=False)
class Purge(Plain):
    """The vendor forgets a record for good."""

    set: str
    number: int = 0


@dataclasses.dataclass(frozen=True, repr=False)
class Rename(Plain):
    """A company takes another name."""

    tenant: str
    name: str


@dataclasses.dataclass(frozen=True, repr=False)
class Advance(Plain):
    """Time goes on."""

    seconds: int


@dataclasses.dataclass(frozen=True, repr=False)
class Collect(Plain):
    """One run of the collector.

    ``kill`` is () or (point, nth), ("line", nth), ("write", nth), ("vendor", nth, "before" | "after"),
    ("index", nth, "before" | "half" | "after"); ``power`` is the salt of a power cut after it, or 0. ``vendor`` and
    ``index`` hold (nth call, fault). ``disk`` is () or ("write" | "fsync" | "commit" | "unsure" | "limit", number).
    The collector's clock is ``skew`` seconds fast, and from its fifth reading on ``jump`` seconds more.
    ``meanwhile`` holds (nth call of the vendor, step) for what happens during the run.
    """

    kill: tuple = ()
    power: int = 0
    vendor: tuple = ()
    index: tuple = ()
    disk: tuple = ()
    skew: int = 0
    jump: int = 0
    meanwhile: tuple = ()
    sets: tuple = ()
    at_once: int = 1
    due: bool = False
    check: bool = False


@dataclasses.dataclass(frozen=True, repr=False)
class Schedule(Plain):
    """A world, and what happens in it. A vendor that is ``odd`` sorts local times as text."""

    start: int
    sets: tuple
    page: int = 3
    odd: bool = False
    history: tuple = ()
    steps: tuple = ()


class Broken(AssertionError):
    """A promise was not kept. ``lost`` and ``duplicated`` count documents."""

    def __init__(self, message: str, lost: int = 0, duplicated: int = 0) -> None:
        super().__init__(message)
        self.lost, self.duplicated = lost, duplicated


# The collecting process


class Wire:
    """The collecting process's way to this one."""

    def __init__(self, connection: multiprocessing.connection.Connection) -> None:
        self._connection, self._lock = connection, threading.Lock()

    def tell(self, *message: t.Any) -> None:
        """Say something that needs no answer."""
        with self._lock:
            self._connection.send(message)

    def ask(self, *message: t.Any) -> t.Any:
        """Say something, and wait for the answer."""
        with self._lock:
            self._connection.send(message)
            return self._connection.recv()


class Fault:
    """Counts the passages at one place of the process, and strikes at one of them."""

    def __init__(self, nth: int, strike: t.Callable[..., t.Any]) -> None:
        self._left, self._strike = nth, strike

    def pass_by(self, *about: t.Any) -> t.Any:
        """Come past it."""
        self._left -= 1
        return self._strike(*about) if self._left == 0 else None


def die() -> t.NoReturn:
    """SIGKILL, as nothing else ends a process."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemError("still alive")


class Network(requests.adapters.HTTPAdapter):
    """What requests sends goes through the wire."""

    wire: t.ClassVar[Wire]

    def send(self, request: t.Any, *_args: t.Any, **_options: t.Any) -> t.Any:
        headers = {key.lower(): value for key, value in request.headers.items()}
        answer = self.wire.ask("vendor", request.path_url, headers, request.body)
        if isinstance(answer, str):
            raise {"timeout": requests.exceptions.ReadTimeout, "reset": requests.exceptions.ConnectionError}[answer](
                answer
            )
        status, content, length = answer
        headers = {"Content-Type": "application/json", "Content-Length": str(length), "Retry-After": "0"}
        raw = urllib3.HTTPResponse(
            io.BytesIO(content), headers=headers, status=status, preload_content=False, request_method=request.method
        )
        return self.build_response(request, raw)


class Answer(t.NamedTuple):
    """What a node of the client of Elasticsearch gives."""

    meta: t.Any
    body: bytes


class Node(elastic_transport.BaseNode):
    """What the client of Elasticsearch sends goes through the wire."""

    wire: t.ClassVar[Wire]

    def perform_request(
        self, method: str, target: str, body: t.Any = None, headers: t.Any = None, request_timeout: t.Any = None
    ) -> t.Any:
        answer = self.wire.ask("index", method, target, body)
        if answer == "down":
            raise elastic_transport.ConnectionError("refused")
        if answer == "timeout":
            raise elastic_transport.ConnectionTimeout("timed out")
        status, content = answer
        kept = elastic_transport.HttpHeaders({"content-type": "application/json", "x-elastic-product": "Elasticsearch"})
        meta = elastic_transport.ApiResponseMeta(
            node=self.config, duration=0.0, http_version="1.1", status=status, headers=kept
        )
        return Answer(meta, json.dumps(content).encode())

    def close(self) -> None:
        """Nothing is open."""


CLIENT = elasticsearch.Elasticsearch("http://index.example:9200", node_class=Node, max_retries=2)


class Database(sqlite3.Connection):
    """A connection of which one COMMIT fails.

    A disk that does not take the sync makes SQLite say that it failed, and yet the next process may find that it took
    place: then this one is ``doomed`` to die before it can write anything else.
    """

    fault: t.ClassVar[Fault]
    doomed: t.ClassVar[bool] = False

    def execute(self, sql: str, *parameters: t.Any) -> t.Any:
        if self.doomed and sql.startswith("BEGIN"):
            die()
        if sql == "COMMIT":
            self.fault.pass_by(super().execute)
        return super().execute(sql, *parameters)


def work(connection: multiprocessing.connection.Connection, plan: Collect, params: dict, now: int) -> None:
    """One run of the product in this process, with the faults of ``plan``. Says how it ended."""
    wire = Network.wire = Node.wire = Wire(connection)
    time.sleep = lambda _seconds: None
    requests.Session.get_adapter = lambda _session, url: Network()
    run.connect = lambda _params: Elastic(CLIENT, sleep=lambda _seconds: None)
    _watch_disk(wire)
    reach = _plan_kill(plan.kill)
    _break_disk(plan.disk)
    readings = 0

    def clock() -> datetime:
        nonlocal readings
        readings += 1
        fast = plan.skew + (plan.jump if readings >= 5 else 0)
        return datetime.fromtimestamp(now + fast, UTC) + timedelta(milliseconds=readings)

    profile = {**PROFILE, "at_once": plan.at_once}
    try:
        wire.tell("done", run.fetch(Run(params, plan.check, clock, params["tmp"], lambda _text: None), profile, reach))
    except SocError as exc:
        wire.tell("refused", exc.code, exc.message)
    except BaseException:
        wire.tell("fault", traceback.format_exc())


def _watch_disk(wire: Wire) -> None:
    """Tell which bytes and which names were made durable."""
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        fsync(descriptor)
        path, number = os.readlink(f"/proc/self/fd/{descriptor}"), os.fstat(descriptor).st_ino
        if os.path.isdir(path):
            with os.scandir(path) as entries:
                wire.tell("folder", path, {entry.name: entry.inode() for entry in entries if entry.is_file()})
        elif Disk.ours(os.path.basename(path)):
            with open(path, "rb") as handle:
                wire.tell("synced", path, number, handle.read())

    os.fsync = watched


def _plan_kill(kill: tuple) -> t.Callable[[str], None]:
    place = kill[0] if kill else ""
    if place == "line":
        fault = Fault(kill[1], die)

        def line(_frame: t.Any, event: str, _argument: object) -> t.Any:
            if event == "line":
                fault.pass_by()
            return line

        def call(frame: t.Any, _event: str, _argument: object) -> t.Any:
            return line if "/module_utils/_" in frame.f_code.co_filename else None

        threading.settrace(call)
        sys.settrace(call)
    elif place == "write":

        def half(descriptor: int, data: t.Any) -> None:
            write(descriptor, data[: len(data) // 2])
            die()

        write = _hook_write(Fault(kill[1], half))
    elif place in POINTS:
        point = Fault(kill[1], die)
        return lambda name: point.pass_by() if name == place else None
    return lambda _name: None


def _hook_write(fault: Fault) -> t.Callable[[int, t.Any], int]:
    write = os.write

    def hooked(descriptor: int, data: t.Any) -> int:
        fault.pass_by(descriptor, data)
        return write(descriptor, data)

    os.write = hooked
    return write


def _break_disk(disk: tuple) -> None:
    """The disk is full, or fails, once."""
    if not disk:
        return
    kind, number = disk
    if kind == "limit":  # no file may grow beyond this many bytes: the kernel refuses, half way through a write
        resource.setrlimit(resource.RLIMIT_FSIZE, (number, resource.RLIM_INFINITY))
    elif kind == "write":

        def refuse(descriptor: int, data: t.Any) -> None:
            write(descriptor, data[: len(data) // 2])
            raise OSError(28, "No space left on device")

        write = _hook_write(Fault(number, refuse))
    elif kind == "fsync":
        fsync = os.fsync

        def fail(_descriptor: int) -> None:
            raise OSError(5, "Input/output error")

        fault = Fault(number, fail)

        def failing(descriptor: int) -> None:
            fault.pass_by(descriptor)
            fsync(descriptor)

        os.fsync = failing
    else:

        def commit(execute: t.Callable[[str], t.Any]) -> None:
            if kind == "unsure":
                execute("COMMIT")
                Database.doomed = True
            raise sqlite3.OperationalError("disk I/O error")

        Database.fault = Fault(number, commit)
        connect = sqlite3.connect
        sqlite3.connect = lambda *args, **options: connect(*args, **{"factory": Database, **options})


# The world around it


@dataclasses.dataclass
class Tally:
    """What the schedules came to."""

    schedules: int = 0
    kills: int = 0
    lost: int = 0
    duplicated: int = 0
    runs: int = 0
    where: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    failed: str = ""

    def add(self, other: Tally) -> None:
        """Take the figures of ``other``."""
        for name in ("schedules", "kills", "lost", "duplicated", "runs"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.where.update(other.where)
        self.failed = self.failed or other.failed


class World:
    """Vendor, index, disk and clock of one schedule, and the collector's folders."""

    def __init__(self, schedule: Schedule, folder: Path, tally: Tally, tell: t.Callable = lambda *_words: None) -> None:
        """``tell`` is given what happens, for whoever wants to follow it."""
        self.schedule, self.folder, self.tally, self.tell = schedule, folder, tally, tell
        self.vendor = Vendor(schedule.start, schedule.page, schedule.odd)
        self.index, self.disk = Index(), Disk(folder / "state", folder / "archive")
        self.state = folder / "state" / PROFILE["source"]
        self.token = folder / "token"
        self._cursors: dict[str, tuple] = {}
        self._gone: set[str] = set()
        spec = run.argument_spec(PROFILE)
        self.params = {name: option.get("default") for name, option in spec.options.items()} | {
            "token_file": str(self.token),
            "state_dir": str(folder / "state"),
            "log_dir": str(folder / "log"),
            "archive_dir": str(folder / "archive"),
            "elasticsearch_url": "https://index.example",
            "look_back": "40m",
            "tmp": str(folder),
        }
        self.token.write_text("token-1")
        for step in schedule.history:
            self.happen(step)

    # Steps

    def happen(self, step: t.Any) -> None:
        """One step of a schedule."""
        vendor = self.vendor
        self.tell(step)
        if isinstance(step, Collect):
            self.collect(step)
        elif isinstance(step, Arrive):
            for number in range(step.count):
                time_ = vendor.now - step.ago - number * step.apart
                vendor.add(step.set, time_, vendor.now + step.late, step.tenant, step.shape)
        elif isinstance(step, Advance):
            vendor.now += step.seconds
        elif isinstance(step, Rename):
            vendor.names[step.tenant] = step.name
        else:
            record = vendor.pick("probes" if isinstance(step, Toggle) else step.set, step.number)
            if record is None:
                return
            if isinstance(step, Toggle):
                record.present = not record.present
            elif isinstance(step, Purge):
                record.purged = True
            elif isinstance(step, Review):
                record.reopened = record.reopened or (record.reviewed and not step.on)
                record.reviewed = step.on

    def collect(self, plan: Collect) -> dict:
        """One run; its result, with ``failure`` also where it was killed or refused to go on."""
        self.tally.runs += 1
        chosen = [name for name in plan.sets if name in self.schedule.sets] or list(self.schedule.sets)
        params = {**self.params, "sets": chosen}
        if "only_due" in params:
            params["only_due"] = plan.due
        before = self._everything() if plan.check else {}
        here, there = multiprocessing.connection.Pipe()
        child = os.fork()
        if not child:
            try:
                here.close()
                work(there, plan, params, self.vendor.now)
            finally:
                os._exit(0)
        there.close()
        ending = Talk(self, plan, child, here).listen()
        here.close()
        _child, status = os.waitpid(child, 0)
        self.token.write_text(f"token-{self.vendor.token}")
        killed = os.WIFSIGNALED(status)
        self.tell("   ", "killed" if killed else ending)
        if killed:
            self.tally.kills += 1
            self.tally.where[plan.kill[0] if plan.kill and plan.disk[:1] != ("unsure",) else "unsure"] += 1
        elif not ending:
            raise Broken(f"a run ended without a word: {status}")
        if plan.check and not killed and (after := self._everything()) != before:
            changed = sorted(str(key) for key in after.keys() | before.keys() if after.get(key) != before.get(key))
            raise Broken(f"a rehearsal changed {changed}")
        if ending and ending[0] == "fault" and not killed:
            raise Broken(f"a traceback left the run:\n{ending[1]}")
        if plan.power:
            self.disk.cut_power(plan.power)
        self.inspect(plan)
        return ending[1] if ending and ending[0] == "done" else {"failure": ending}

    def _everything(self) -> dict:
        files = {
            p: p.read_bytes()
            for p in self.folder.rglob("*")
            if p.is_file() and p != self.token and not p.name.endswith("-shm")
        }
        return {**files, **self.index.documents}

    # What must be true at any time

    @contextlib.contextmanager
    def database(self) -> t.Iterator[sqlite3.Connection | None]:
        """The journal's database, read from a copy: looking at it must not mend it."""
        path = self.state / "journal.sqlite"
        if not path.exists():
            yield None
            return
        copy = self.folder / "copy"
        copy.mkdir(exist_ok=True)
        for name in ("journal.sqlite", "journal.sqlite-wal"):
            (copy / name).unlink(missing_ok=True)
            if (self.state / name).exists():
                shutil.copyfile(self.state / name, copy / name)
        (copy / "journal.sqlite-shm").unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(copy / "journal.sqlite")) as database:
            database.row_factory = sqlite3.Row
            yield database

    def inspect(self, plan: Collect) -> None:
        """The cursors never go back, what counts as acknowledged is in the index, and what is marked as gone is gone."""
        with self.database() as database:
            if database is None or not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'page'").fetchall():
                return
            for row in database.execute("SELECT data_set, time, tie FROM cursor"):
                cursor = (row["time"], row["tie"])
                if cursor < self._cursors.get(row["data_set"], cursor):
                    raise Broken(f"the cursor of {row['data_set']} went back to {cursor}")
                self._cursors[row["data_set"]] = cursor
            gone: dict[tuple[str, str], tuple[int, str]] = {}
            for shipped, key, version, source in self._vouched(database):
                held = self.index.documents.get(key, (-1, {}))[0]
                if shipped and key not in self.index.refused and held < version:
                    raise Broken(f"{key} counts as acknowledged, and is not in the index", 1)
                if ".probes-" in key[0]:
                    body = json.loads(source)
                    gone[key] = max(
                        gone.get(key, (-1, "")), (version, "" if body["soc"]["present"] else body["event"]["id"])
                    )
        self._vanish({identity for _version, identity in gone.values() if identity}, plan)

    def _vouched(self, database: sqlite3.Connection) -> t.Iterator[tuple[bool, tuple[str, str], int, bytes]]:
        """(acknowledged, index and id, version, source) of all that the journal vouches for."""
        segments = journal_bytes(self.state, self.folder / "archive")
        for (number,) in database.execute("SELECT number FROM segment WHERE sealed = 1"):
            if number not in segments:
                raise Broken(f"segment {number} counts as sealed, and is nowhere")
            for operation in operations(segments[number]):
                yield True, *operation
        for row in database.execute("SELECT * FROM page ORDER BY segment, start"):
            piece = segments.get(row["segment"], b"")[row["start"] : row["start"] + row["length"]]
            if len(piece) != row["length"]:
                raise Broken(f"the journal vouches for bytes that are not there: {dict(row)}", row["records"])
            for operation in operations(piece):
                yield bool(row["shipped"]), *operation

    def _vanish(self, gone: set[str], plan: Collect) -> None:
        """What a run marks as gone must be gone, unless the list moved under it."""
        moved = any(isinstance(step, Toggle) or getattr(step, "set", "") == "probes" for _nth, step in plan.meanwhile)
        there = {r.id for r in self.vendor.records if r.set == "probes" and r.present and r.visible <= self.vendor.now}
        if not moved and (wrong := (gone - self._gone) & there):
            raise Broken(f"the probes {sorted(wrong)} are marked as gone, and are there")
        self._gone = gone

    # The end

    def settle(self) -> None:
        """The faults stop, time goes on beyond the horizon, and then everything must be in its place."""
        self.index.catch_up()
        self.vendor.now += LATEST + 60
        self._complete()
        self.check()
        again = self._complete()
        for name, tally in again["sets"].items():
            if any(tally[what] for what in ("new", "changed", "vanished", "dead_letters")):
                raise Broken(f"a second run wrote to {name}, though nothing had happened: {tally}")
        self.check()

    def _complete(self) -> dict:
        result = self.collect(Collect())
        if result.get("failure") or result["waiting"]:
            raise Broken(f"a run without faults did not complete: {result.get('failure') or result}")
        return result

    def check(self) -> None:
        """Count: everything once, as the vendor has it, in its own index, and the same again out of the journal."""
        found: dict[tuple, list] = collections.defaultdict(list)
        homes: dict[str, str] = {}
        for (index, _id), (_version, body) in self.index.documents.items():
            if index == "soc-probe":  # what the collector says of its own work
                continue
            tenant = body["organization"]["id"]
            if homes.setdefault(index, tenant) != tenant:
                raise Broken(f"{index} holds documents of {tenant} and of {homes[index]}")
            found[body["soc"]["set"], tenant, body["event"]["id"]].append((index, body))
        must, may, dead = self._expected()
        missing = [key for key in must if key not in found]
        extra = [key for key in found if key not in must and key not in may]
        twice = [key for key, bodies in found.items() if len(bodies) > 1]
        if missing or extra or twice:
            raise Broken(
                f"missing {missing}, never seen at the vendor {extra}, twice {twice}",
                len(missing),
                len(twice) + len(extra),
            )
        if self.index.rewritten:
            raise Broken(f"events were written again: {self.index.rewritten}", 0, len(self.index.rewritten))
        for key, records in must.items():
            self._compare(key, records, found[key][0][1])
        self._journal(dead)

    def _expected(self) -> tuple[dict[tuple, list[Record]], set[tuple], int]:
        """What must be there, by (set, company, id); what may be there; how many dead letters."""
        must: dict[tuple, list[Record]] = collections.defaultdict(list)
        may, dead = set(), 0
        for record in self.vendor.records:
            if record.visible > self.vendor.now or record.set not in self.schedule.sets:
                continue
            key = (record.set, record.tenant, record.id)
            if record.purged or not record.present:
                may.add(key)
            elif record.shape in (*USABLE, "clash"):
                must[key].append(record)
            dead += record.shape not in ("good", "twin", *SKIPPED)
        return must, may, dead

    def _compare(self, key: tuple, records: list[Record], body: dict) -> None:
        record = next((r for r in records if r.text == body.get("message")), None)
        if record is None:
            raise Broken(f"{key} says {body.get('message')!r}, the vendor {[r.text for r in records]}")
        if record.set != "probes" and body["@timestamp"] != record.stamp():
            raise Broken(f"{key} is of {body['@timestamp']}, the vendor says {record.stamp()}")
        kind = KINDS[record.set]
        if kind != "event" and body["soc"].get("reviewed") != record.reviewed and not self._beyond(record):
            raise Broken(f"{key} has reviewed={body['soc'].get('reviewed')}, the vendor {record.reviewed}")
        if kind == "snapshot" and not body["soc"]["present"]:
            raise Broken(f"{key} is there, and marked as gone")

    def _beyond(self, record: Record) -> bool:
        """Whether nobody promised to look: it was closed, opened again, and is older than what a walk reads."""
        times = [r.time for r in self.vendor.records if r.set == record.set and r.visible <= self.vendor.now]
        newest = max((time_ for time_ in times if time_ <= self.vendor.now), default=0)
        return record.reopened and not record.reviewed and record.time < newest - LOOK_BACK

    def _journal(self, dead: int) -> None:
        """Every byte is vouched for, and the journal by itself makes the same index. Vanished members are marked."""
        segments = journal_bytes(self.state, self.folder / "archive")
        with self.database() as database:
            assert database
            for number, content in segments.items():
                end = 0
                if database.execute("SELECT 1 FROM segment WHERE number = ? AND sealed", (number,)).fetchall():
                    continue  # its manifest vouches for it
                for row in database.execute("SELECT * FROM page WHERE segment = ? ORDER BY start", (number,)):
                    if row["start"] != end:
                        raise Broken(f"segment {number}: nobody vouches for the bytes from {end} on")
                    end += row["length"]
                if end != len(content):
                    raise Broken(f"segment {number} has {len(content)} bytes, of which {end} are vouched for")
            letters = database.execute("SELECT COUNT(*) FROM dead_letter").fetchone()[0]
            for row in database.execute("SELECT id, segment, start, length, version FROM record"):
                piece = segments[row["segment"]][row["start"] : row["start"] + row["length"]]
                ((key, version, _source),) = operations(piece)
                if key[1] != row["id"] or version not in (0, row["version"]):
                    raise Broken(f"the journal looks for {row['id']} where {key} is")
        replayed, created = Index(), collections.Counter()
        for number in sorted(segments):
            replayed.bulk(segments[number])
            created.update(key for key, version, _source in operations(segments[number]) if not version)
        twice = [key for key, times in created.items() if times > 1 and key[0] != "soc-probe"]
        if twice:
            raise Broken(f"the journal holds events twice: {twice}", 0, len(twice))
        if replayed.documents != self.index.documents:
            keys = {
                key
                for key in replayed.documents.keys() | self.index.documents.keys()
                if replayed.documents.get(key) != self.index.documents.get(key)
            }
            raise Broken(f"the journal makes another index than the one there is: {sorted(keys)}", len(keys))
        if letters != dead:
            raise Broken(f"{letters} dead letters for {dead} records that cannot be used", max(0, dead - letters))
        for record in self.vendor.records:
            if record.set == "probes" and not record.present and self.vendor.lists("probes"):
                for (_index, _id), (_version, body) in self.index.documents.items():
                    if (
                        body["event"]["id"] == record.id
                        and body["soc"].get("set") == "probes"
                        and body["soc"]["present"]
                    ):
                        raise Broken(f"probe {record.id} has gone, and is not marked")


def operations(piece: bytes) -> t.Iterator[tuple[tuple[str, str], int, bytes]]:
    """(index and id, version, source) of each operation in bulk bytes."""
    lines = piece.splitlines()
    for action, source in zip(lines[::2], lines[1::2], strict=True):
        (target,) = json.loads(action).values()
        yield (target["_index"], target["_id"]), target.get("version", 0), source


class Talk:
    """This process's end of the wire while a run lasts."""

    def __init__(
        self, world: World, plan: Collect, child: int, connection: multiprocessing.connection.Connection
    ) -> None:
        self._world, self._plan, self._child, self._connection = world, plan, child, connection
        self._calls = collections.Counter()
        self._faults = {"vendor": dict(plan.vendor), "index": dict(plan.index)}
        self._gone = {"vendor": False, "index": False}

    def listen(self) -> tuple | None:
        """Answer until the process has ended; its last word, if it had one."""
        ending = None
        while True:
            try:
                if not self._connection.poll(HANGS):
                    os.kill(self._child, signal.SIGKILL)
                    raise Broken("a run hangs")
                kind, *message = self._connection.recv()
            except (EOFError, ConnectionResetError):
                return ending
            if kind in ("vendor", "index"):
                self._calls[kind] += 1
                with contextlib.suppress(BrokenPipeError):
                    self._connection.send(getattr(self, f"_{kind}")(self._calls[kind], *message))
            elif kind == "synced":
                self._world.disk.synced(*message)
            elif kind == "folder":
                self._world.disk.synced_folder(*message)
            else:
                ending = (kind, *message)

    def _strike(self, place: str, nth: int, moment: str) -> None:
        if self._plan.kill == (place, nth, moment):
            os.kill(self._child, signal.SIGKILL)

    def _vendor(self, nth: int, target: str, headers: dict, body: bytes | None) -> t.Any:
        world, vendor = self._world, self._world.vendor
        self._strike("vendor", nth, "before")
        for when, step in self._plan.meanwhile:
            if when == nth:
                world.happen(step)
        fault = self._faults["vendor"].get(nth, "")
        self._gone["vendor"] = self._gone["vendor"] or fault == "dead"
        if fault in ("expired", "denied"):
            vendor.token += 1
            if fault == "expired":  # whoever renews tokens did so in time
                world.token.write_text(f"token-{vendor.token}")
        if self._gone["vendor"] or fault in ("timeout", "reset"):
            answer: t.Any = fault if fault in ("timeout", "reset") else "timeout"
        elif headers.get("authorization") != f"Bearer token-{vendor.token}":
            answer = self._whole(401, b'{"error": "unauthorized"}')
        elif fault in ("429", "500"):
            answer = self._whole(int(fault), b"<html><title>busy</title></html>")
        elif fault == "html":
            answer = self._whole(200, b"<html><title>maintenance</title></html>")
        else:
            path, query = asked_for(target)
            status, content = vendor.answer(path, query, json.loads(body) if body else {}, fault)
            whole = json.dumps(content).encode()
            cut = whole[: len(whole) * 2 // 3]
            answer = (
                (status, cut, len(whole) if nth % 2 else len(cut)) if fault == "cut" else self._whole(status, whole)
            )
        world.tell("   ", nth, target, body, fault, answer)
        self._strike("vendor", nth, "after")
        return answer

    @staticmethod
    def _whole(status: int, content: bytes) -> tuple[int, bytes, int]:
        return status, content, len(content)

    def _index(self, nth: int, method: str, target: str, body: bytes | None) -> t.Any:
        index = self._world.index
        if not target.startswith("/_bulk"):
            raise Broken(f"the run asks Elasticsearch for {method} {target}")
        assert body
        self._strike("index", nth, "before")
        fault = self._faults["index"].get(nth, "")
        self._gone["index"] = self._gone["index"] or fault == "dead"
        if self._gone["index"] or fault == "down":
            return "down"
        if fault == "503":
            return 503, {"error": {"type": "unavailable"}}
        if fault == "full":
            kind = {"type": "validation_exception", "reason": "this action would add shards"}
            count = len(body.splitlines()) // 2
            return 200, {"errors": True, "items": [{"create": {"status": 400, "error": kind}}] * count}
        if fault == "slow":  # it gives up waiting, and later the call takes place all the same
            index.late.append(body)
            return "timeout"
        late, index.late = index.late, []
        if self._plan.kill == ("index", nth, "half"):
            index.bulk(body, until=max(1, len(body.splitlines()) // 4))
            os.kill(self._child, signal.SIGKILL)
            return 200, {}
        answer = index.bulk(body, busy=range(nth % 2, 1000, 2) if fault == "busy" else ())
        for payload in late:  # a call that was overtaken
            index.bulk(payload)
        self._strike("index", nth, "after")
        return "timeout" if fault == "lost" else (200, answer)


# Drawing schedules

VENDOR_FAULTS = ("429", "500", "timeout", "reset", "cut", "html", "expired", "repeat", "shuffle", "short")
VENDOR_FAULTS += ("again", "again", "again")
VENDOR_ENDS = ("denied", "dead")
INDEX_FAULTS = ("lost", "slow", "busy", "503", "down", "full", "dead")
# Noon in winter, and half an hour before the clocks of Brussels go back and forth.
STARTS = (
    int(datetime(2026, 11, 9, 11, tzinfo=UTC).timestamp()),
    int(datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()),
    int(datetime(2026, 3, 29, 0, 30, tzinfo=UTC).timestamp()),
)
KILLS = st.one_of(
    st.tuples(st.sampled_from(POINTS), st.integers(1, 4)),
    st.tuples(st.sampled_from(POINTS), st.just(1)),
    st.tuples(st.just("line"), st.integers(1, 6000)),
    st.tuples(st.just("line"), st.integers(1, 2000)),
    st.tuples(st.just("write"), st.integers(1, 4)),
    st.tuples(st.just("vendor"), st.integers(1, 10), st.sampled_from(("before", "after"))),
    st.tuples(st.just("index"), st.integers(1, 3), st.sampled_from(("before", "half", "after"))),
)
BROKEN_DISKS = st.one_of(
    st.tuples(st.sampled_from(("write", "fsync", "commit", "unsure")), st.integers(1, 8)),
    st.tuples(st.just("limit"), st.sampled_from((1000, 3000, 5000, 20_000, 80_000, 150_000))),
)
small = st.integers(0, 30)


def arrivals(sets: tuple, history: bool = False) -> st.SearchStrategy:
    """Records that come."""
    ago = st.sampled_from((0, 0, 0, 1, 60, 600, LATEST - 60, LATEST, -FAST_CLOCK, -10 * 365 * 86400))
    shapes = ("good",) * 10 + ("twin", "misfit", "foreign", "level4", "no_company", "no_id", "bad_time")
    return st.builds(
        Arrive,
        set=st.sampled_from(sets),
        count=st.sampled_from((1, 1, 2, 3, 5, 8, 20) if history else (1, 1, 2, 3, 5, 8)),
        ago=st.sampled_from((0, 1, 3600, 7200, 86400, 4 * 86400)) if history else ago,
        late=st.sampled_from((0, 0, 0, 30, 300)) if not history else st.just(0),
        tenant=st.sampled_from(SUBSCRIBED),
        shape=st.sampled_from((*shapes, "no_level", "poison", "clash")),
        apart=st.sampled_from((0, 0, 1, 2000, 3600)) if history else st.just(0),
    ).map(_on_time)


def _on_time(arrive: Arrive) -> Arrive:
    """No later than what is promised."""
    if arrive.late and arrive.ago + arrive.late > LATEST:
        return dataclasses.replace(arrive, late=max(0, LATEST - arrive.ago))
    return arrive


def changes(sets: tuple) -> list[st.SearchStrategy]:
    """What happens to records that are there."""
    stateful = tuple(name for name in sets if KINDS[name] == "state")
    strategies = []
    if stateful:
        on = st.sampled_from((True, True, False))
        strategies.append(st.builds(Review, set=st.sampled_from(stateful), number=small, on=on))
    if "probes" in sets:
        strategies += [
            st.builds(Toggle, number=small),
            st.builds(Review, set=st.just("probes"), number=small, on=st.booleans()),
        ]
    return strategies


@st.composite
def runs(draw: st.DrawFn, sets: tuple) -> Collect:
    """Runs of the collector, with what goes wrong. Most are about one thing, because faults hide each other."""
    nth = st.integers(1, 12)
    about = draw(st.sampled_from(("kill",) * 7 + ("vendor", "vendor", "index", "disk", "all", "")))
    plan: dict[str, t.Any] = {}

    def some(name: str, strategy: st.SearchStrategy) -> None:
        if about in (name, "all"):
            plan[name] = draw(strategy)

    some("kill", KILLS)
    some("disk", BROKEN_DISKS)
    vendor = st.tuples(nth, st.sampled_from(VENDOR_FAULTS * 2 + VENDOR_ENDS))
    some("vendor", st.lists(vendor, min_size=1, max_size=4).map(tuple))
    index = st.tuples(st.integers(1, 6), st.sampled_from(INDEX_FAULTS))
    some("index", st.lists(index, min_size=1, max_size=3).map(tuple))
    if about:
        plan["power"] = draw(st.one_of(st.just(0), st.integers(1, 999)))
        plan["meanwhile"] = draw(st.lists(st.tuples(nth, happenings(sets)), max_size=2).map(tuple))
        plan["skew"] = draw(st.sampled_from((0, 0, 0, 0, 0, 0, 60, -60, 7200, -7200)))
        plan["jump"] = draw(st.sampled_from((0, 0, 0, 0, 0, 0, 3600, -3600)))
    odd = draw(st.integers(0, 19))
    if odd < 4:
        plan["sets"] = tuple(draw(st.lists(st.sampled_from(sets), max_size=2)))
    elif odd < 6:
        plan["at_once"] = 3
    elif odd < 8:
        plan["due"] = True
    elif odd < 9:
        plan["check"] = True
    return Collect(**plan)


def happenings(sets: tuple) -> st.SearchStrategy:
    """What may happen at any time."""
    return st.one_of(arrivals(sets), *changes(sets))


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """Worlds, and what happens in them: a few things, a run, a few things, a run."""
    sets = tuple(sorted(draw(st.sets(st.sampled_from(SETS), min_size=1, max_size=3)), key=SETS.index))
    rare = [st.builds(Rename, st.sampled_from(SUBSCRIBED), st.sampled_from(("Acme NV", "Other", "...")))]
    asked = tuple(name for name in sets if KINDS[name] == "state")
    if asked:
        rare.append(st.builds(Purge, st.sampled_from(asked), small))
    advance = st.builds(Advance, st.sampled_from((1, 60, 300, 900, 1500, 1800, 3600, 4 * 3600, 86400)))
    between = st.lists(st.one_of(happenings(sets), advance, st.one_of(*rare)), max_size=4)
    steps: list = []
    for _round in range(draw(st.integers(3, 9))):
        steps += [*draw(between), draw(runs(sets))]
    return Schedule(
        start=draw(st.sampled_from(STARTS)),
        sets=sets,
        page=draw(st.sampled_from((1, 2, 3, 5))),
        odd=draw(st.booleans()),
        history=tuple(draw(st.lists(arrivals(sets, history=True), min_size=1, max_size=4))),
        steps=(*steps, *draw(between)),
    )


# Running them


def play(schedule: Schedule, tally: Tally, tell: t.Callable = lambda *_words: None) -> None:
    """Run one schedule to its end, and count. Raises Broken."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="soc-crash-", dir=memory if memory.is_dir() else None) as folder:
        world = World(schedule, Path(folder), tally, tell)
        for step in schedule.steps:
            world.happen(step)
        world.settle()
    tally.schedules += 1


def explore(seed: int, number: int, shrink: bool = True) -> Tally:
    """Draw ``number`` schedules from ``seed`` and run them in this process."""
    tally, last = Tally(), Tally()
    phases = [hypothesis.Phase.generate, *([hypothesis.Phase.shrink] if shrink else [])]

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=number,
        phases=phases,
        database=None,
        deadline=None,
        print_blob=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(schedules())
    def one(schedule: Schedule) -> None:
        try:
            play(schedule, last if last.failed else tally)
        except Broken as exc:
            last.failed = f'{exc}\n    python -m tests.crash.machine --replay "{schedule!r}"'
            last.lost, last.duplicated = exc.lost, exc.duplicated
            raise

    with contextlib.redirect_stdout(io.StringIO()):
        try:
            one()
        except Exception as exc:
            tally.failed = f"seed {seed}: {last.failed or ''.join(traceback.format_exception(exc))}"
            tally.lost, tally.duplicated = last.lost, last.duplicated
    return tally


def explore_all(seed: int, number: int, workers: int, shrink: bool = True) -> Tally:
    """Draw and run ``number`` schedules, in processes that live for CHUNK of them, so that memory stays as it is."""
    total = Tally()
    chunks = [(seed * 1_000_003 + start, min(CHUNK, number - start)) for start in range(0, number, CHUNK)]
    running: dict[t.Any, int] = {}
    gc.freeze()
    while (chunks and not total.failed) or running:
        while chunks and not total.failed and len(running) < workers:
            here, there = multiprocessing.connection.Pipe()
            chunk = chunks.pop(0)
            child = os.fork()
            if not child:
                here.close()
                there.send(explore(*chunk, shrink))
                os._exit(0)
            there.close()
            running[here] = child
        for connection in multiprocessing.connection.wait(list(running)):
            try:
                total.add(connection.recv())
            except EOFError:
                total.failed = total.failed or "a process that runs schedules died"
            os.waitpid(running.pop(connection), 0)
            connection.close()
    return total


def main() -> int:
    for name, size in SIZES.items():
        setattr(journal, name, size)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schedules", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--no-shrink", action="store_true", help="stop at the first schedule that fails, as it is")
    parser.add_argument("--replay", metavar="SCHEDULE", help="run the schedule that a failure printed")
    options = parser.parse_args()
    if options.replay:
        tally = Tally()
        play(eval(options.replay), tally, print)  # it is what this program printed
    else:
        tally = explore_all(options.seed, options.schedules, options.workers, not options.no_shrink)
    if tally.failed:
        print(tally.failed)
    print("runs={} kills at {}".format(tally.runs, ", ".join(f"{k} {v}" for k, v in sorted(tally.where.items()))))
    print(
        f"schedules={tally.schedules} kills={tally.kills} lost={tally.lost} duplicated={tally.duplicated}", flush=True
    )
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
