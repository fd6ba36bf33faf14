# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""The journal: what was collected, on disk, before anything else happens to it.

For each page: append the records to the segment and fsync it; then one SQLite transaction inserts the new ids,
records the range of the segment, and moves the cursor. The three can never disagree: bytes behind the last recorded
range belong to a page that was not committed, and are cut off at the next start; that page is asked for again.
The segment holds the very bytes that go to Elasticsearch.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import os
import sqlite3
import threading
import typing as t
from datetime import datetime, timedelta

from .._core.clock import format_time, parse_time
from .._core.errors import StateError
from .._core.ids import document_id, slug
from .._core.libraries import orjson
from .._core.reach import Reach, nowhere
from .._core.state import atomic_write, ensure_folder, open_database, open_read_only, transaction
from .normalise import Document, operation
from .segments import SEGMENT_SIZE, Segments

SHIP_SIZE = 4 * 1024 * 1024
# SQLite takes 999 parameters in its smallest build.
QUERY_SIZE = 500
# A position is forgotten when its writer says so with an empty value.
FORGET = ""

# Ids come in no order. Rows are therefore kept in the order of arrival, and only the slim index on ids is written to all
# over: with the rows themselves in the order of ids, journaling takes three times as long.
SCHEMA = """
CREATE TABLE IF NOT EXISTS record (
    id TEXT NOT NULL UNIQUE, data_set TEXT NOT NULL, tenant TEXT NOT NULL, vendor_id TEXT NOT NULL, time TEXT NOT NULL,
    digest TEXT NOT NULL, version INTEGER NOT NULL, segment INTEGER NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL,
    walk INTEGER NOT NULL, present INTEGER NOT NULL, open INTEGER, note TEXT);
CREATE INDEX IF NOT EXISTS open_records ON record (data_set, time) WHERE open = 1;
CREATE TABLE IF NOT EXISTS segment (number INTEGER PRIMARY KEY, opened TEXT NOT NULL, sealed INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS page (
    number INTEGER PRIMARY KEY AUTOINCREMENT, segment INTEGER NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL,
    records INTEGER NOT NULL, shipped INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS unshipped ON page (number) WHERE shipped = 0;
CREATE INDEX IF NOT EXISTS page_of_segment ON page (segment, start);
CREATE TABLE IF NOT EXISTS cursor (data_set TEXT PRIMARY KEY, time TEXT NOT NULL, tie TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS position (
    data_set TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (data_set, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS walk (
    data_set TEXT PRIMARY KEY, number INTEGER NOT NULL, first TEXT, began TEXT, completed TEXT, reconciled TEXT,
    falling INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS backfill (
    data_set TEXT NOT NULL, what TEXT NOT NULL, reached TEXT NOT NULL, done INTEGER NOT NULL,
    PRIMARY KEY (data_set, what)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hour (
    data_set TEXT NOT NULL, hour TEXT NOT NULL, records INTEGER NOT NULL, PRIMARY KEY (data_set, hour)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lag (
    data_set TEXT NOT NULL, bucket INTEGER NOT NULL, records INTEGER NOT NULL, PRIMARY KEY (data_set, bucket)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS company (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dead_letter (
    id TEXT PRIMARY KEY, data_set TEXT NOT NULL, reason TEXT NOT NULL, observed TEXT NOT NULL, record BLOB NOT NULL,
    setup TEXT, owner TEXT NOT NULL DEFAULT '') WITHOUT ROWID;
"""


@dataclasses.dataclass(frozen=True)
class Cursor:
    """The greatest ``(time, id)`` among the records that a vendor returned."""

    time: str
    tie: str


@dataclasses.dataclass(frozen=True)
class Known:
    """What the journal holds of an id: content, version, the walk that last saw it, and the note kept with it."""

    digest: str
    version: int
    walk: int
    present: bool
    note: str | None = None


@dataclasses.dataclass(frozen=True)
class DeadLetter:
    """A record, or a value of one, that could not be used, and why.

    ``setup`` stands for the settings under which a whole record failed: under others it is tried again. ``owner`` is the
    company that was asked about, [id, name] as JSON, where the record does not say.
    """

    id: str
    data_set: str
    reason: str
    observed: str
    record: bytes
    setup: str | None = None
    owner: str = ""


@dataclasses.dataclass(frozen=True)
class Write:
    """One document that goes to the journal, under ``version``."""

    document: Document
    version: int
    new: bool


@dataclasses.dataclass(frozen=True)
class PagePlan:
    """What one page means for the journal.

    ``writes`` are documents to write, ``unchanged`` counts records that are known, ``clashes`` are events whose id
    another event has, ``seen`` are all ids, and ``fresh`` is how many of them this walk had not met.
    """

    writes: tuple[Write, ...]
    unchanged: int
    clashes: tuple[Document, ...]
    seen: frozenset[str]
    fresh: int


def plan_page(documents: t.Sequence[Document], known: t.Mapping[str, Known], walk: int, stamp: int) -> PagePlan:
    """Decide which documents of a page are written. Pure.

    ``known`` holds what the journal has of their ids, ``stamp`` is the time of observation in microseconds. A document
    that came before is written again only when it is not an event and its content differs, or it had vanished. Of an
    id that occurs several times in a page the last content counts. Versions always grow, even when the clock does not.
    An event never changes: other content under its id is another event, of which the vendor's id does not tell, and to
    meet that one is not to meet the first.
    """
    writes: dict[str, Write] = {}
    seen: set[str] = set()
    clashes: list[Document] = []
    unchanged = fresh = 0
    for document in documents:
        before, earlier = known.get(document.id), writes.get(document.id)
        digest = earlier.document.digest if earlier else before.digest if before else None
        if document.kind == "event" and digest not in (None, document.digest):
            clashes.append(document)
            continue
        if document.id not in seen and (before is None or before.walk != walk):
            fresh += 1
        seen.add(document.id)
        if document.kind == "event" and digest is not None:
            unchanged += 1
            continue
        if digest == document.digest and (earlier is not None or before is None or before.present):
            unchanged += 1
            continue
        version = max(stamp, before.version + 1 if before else 0)
        writes[document.id] = Write(document, version, new=before is None)
    return PagePlan(tuple(writes.values()), unchanged, tuple(clashes), frozenset(seen), fresh)


@dataclasses.dataclass(frozen=True)
class Moved:
    """What else a page moves, in its transaction: the cursor, positions in files, how late its new records were.

    ``retried`` are dead letters whose records are in this page: they go, or come back under their new reason.
    """

    cursor: Cursor | None = None
    retried: t.Sequence[str] = ()
    positions: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    lags: t.Mapping[int, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Batch:
    """A run of journal bytes that Elasticsearch has not acknowledged, and the pages that it covers."""

    payload: bytes
    first: int
    last: int


@dataclasses.dataclass(frozen=True)
class WalkState:
    """When a data set was last walked through to the end, last reconciled, and walked at first; None for never.

    ``falling`` says whether all of it came newest first when it was last seen to the end.
    """

    completed: str | None
    reconciled: str | None
    first: str | None = None
    falling: int | None = None


@dataclasses.dataclass(frozen=True)
class Backfill:
    """How far a backfill came, as the time that its next step starts from; ``paused`` until the next run."""

    reached: str
    done: bool
    paused: bool = False


def _serialised(method: t.Callable) -> t.Callable:
    """Data sets are walked in threads of their own, and there is one journal."""

    @functools.wraps(method)
    def locked(self: Journal, *arguments: t.Any, **named: t.Any) -> t.Any:
        with self._lock:
            return method(self, *arguments, **named)

    return locked


class Journal:
    """One source's journal in ``folder``; ``sealed(number)`` is where a sealed segment is.

    A rehearsal (check mode) works on a private copy that disappears, and leaves the disk as it was. Threads may share
    it. Raises StateError where the disk fails.
    """

    def __init__(
        self,
        folder: str,
        *,
        sealed: t.Callable[[int], str] | None = None,
        archived: int = 0,
        companies: str | None = None,
        rehearsal: bool = False,
        reach: Reach = nowhere,
    ) -> None:
        """``archived`` is the number of the last segment that the archive has, of whatever journal.

        ``companies`` is a file beside the archive that keeps the companies' parts of index names: a journal that was
        lost must not give one to another company, whose key opens what the first one has.
        """
        self._reach, self._rehearsal = reach, rehearsal
        self._lock = threading.RLock()
        self._unsure = False
        path = os.path.join(folder, "journal.sqlite")
        self._segments = Segments(os.path.join(folder, "segments"), sealed, rehearsal, reach)
        self._db = _private_copy(path) if rehearsal else open_database(path, SCHEMA)
        self._opened = ""
        # A journal that was lost and begins anew goes on with the numbers: the archive keeps what it has, and so does the
        # folder. Once it has walked, a file that no segment stands for is a first page that was not committed.
        anew = not self._query("SELECT 1 FROM walk LIMIT 1")
        self._segments.number = max(archived, self._segments.newest() if anew else 0) + 1
        for number, is_sealed in self._query("SELECT number, sealed FROM segment ORDER BY number DESC LIMIT 1"):
            self._segments.number, self._segments.size = (
                (max(number, archived) + 1, 0) if is_sealed or archived >= number else (number, self._vouched(number))
            )
        self._companies = companies
        self._slugs = {row["id"]: row["slug"] for row in self._query("SELECT id, slug FROM company")}
        if companies and not self._slugs:
            self._slugs = _read_companies(companies)
            with transaction(self._db) as db:
                db.executemany("INSERT INTO company VALUES (?, ?)", list(self._slugs.items()))

    def close(self) -> None:
        """Let go of the files."""
        self._segments.close()
        self._db.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _query(self, sql: str, parameters: t.Sequence = ()) -> list[sqlite3.Row]:
        try:
            with self._lock:
                return self._db.execute(sql, parameters).fetchall()
        except sqlite3.Error as exc:
            raise StateError(
                f"The journal's database cannot be read: {exc}. Restore the state folder from a backup."
            ) from exc

    def _vouched(self, segment: int) -> int:
        return self._query("SELECT COALESCE(MAX(start + length), 0) FROM page WHERE segment = ?", (segment,))[0][0]

    # What is known

    def cursor(self, data_set: str) -> Cursor | None:
        """Where the last walk through ``data_set`` came to."""
        rows = self._query("SELECT time, tie FROM cursor WHERE data_set = ?", (data_set,))
        return Cursor(rows[0]["time"], rows[0]["tie"]) if rows else None

    def positions(self, data_set: str) -> dict[str, str]:
        """How far each file of ``data_set`` was read."""
        return dict(self._query("SELECT name, value FROM position WHERE data_set = ?", (data_set,)))

    def known(self, ids: t.Iterable[str]) -> dict[str, Known]:
        """What the journal holds of ``ids``."""
        wanted, found = list(ids), {}
        for start in range(0, len(wanted), QUERY_SIZE):
            part = wanted[start : start + QUERY_SIZE]
            marks = ",".join("?" * len(part))
            for row in self._query(
                f"SELECT id, digest, version, walk, present, note FROM record WHERE id IN ({marks})", part
            ):
                found[row["id"]] = Known(row["digest"], row["version"], row["walk"], bool(row["present"]), row["note"])
        return found

    def unmet_open(self, data_set: str, walk: int, since: str, limit: int = -1) -> list[tuple[str, str]]:
        """(vendor id, tenant) of records that were open when ``walk`` began and that it has not met, newest first.

        What is older than ``since`` is left out; ``limit`` bounds the number.
        """
        rows = self._query(
            "SELECT vendor_id, tenant FROM record WHERE data_set = ? AND open = 1 AND time >= ? AND walk < ?"
            " ORDER BY time DESC LIMIT ?",
            (data_set, since, walk, limit),
        )
        return [(row["vendor_id"], row["tenant"]) for row in rows]

    def hours(self, data_set: str, since: str) -> dict[str, int]:
        """How many records came of each hour (``2026-11-20T09``) from the hour of ``since`` on."""
        sql = "SELECT hour, records FROM hour WHERE data_set = ? AND hour >= ?"
        return dict(self._query(sql, (data_set, since[:13])))

    def records(self, data_set: str, since: str, until: str) -> list[tuple[str, str, str]]:
        """(id, tenant, time) of the records of a stretch of time."""
        sql = "SELECT id, tenant, time FROM record WHERE data_set = ? AND time >= ? AND time < ?"
        return [tuple(row) for row in self._query(sql, (data_set, since, until))]

    def lags(self, data_set: str) -> dict[int, int]:
        """How many records came how late: counts by bucket (watch.lag_bucket)."""
        return dict(self._query("SELECT bucket, records FROM lag WHERE data_set = ?", (data_set,)))

    def waiting(self) -> int:
        """How many documents Elasticsearch has not acknowledged."""
        return self._query("SELECT COALESCE(SUM(records), 0) FROM page WHERE shipped = 0")[0][0]

    def dead_letters(self) -> int:
        """How many records could not be used, ever."""
        return self._query("SELECT COUNT(*) FROM dead_letter")[0][0]

    def retriable(self, data_set: str, setup: str, limit: int = 500) -> list[DeadLetter]:
        """Dead letters of one owner that are whole records and failed under other settings than ``setup``, newest first."""
        rows = self._query(
            "SELECT * FROM dead_letter WHERE data_set = ?1 AND setup <> ?2 AND owner ="
            " (SELECT owner FROM dead_letter WHERE data_set = ?1 AND setup <> ?2 LIMIT 1) ORDER BY observed DESC, id LIMIT ?3",
            (data_set, setup, limit),
        )
        return [DeadLetter(*row) for row in rows]

    @_serialised
    def slug_of(self, tenant_id: str, name: str) -> str:
        """The company's part of index names, given at first sight and kept for good, whatever it calls itself later."""
        known = self._slugs.get(tenant_id)
        if known:
            return known
        short = document_id("", "", "", tenant_id)[:8]
        chosen = slug(name) or short
        if chosen in self._slugs.values():
            chosen = f"{chosen}-{short}"
        with transaction(self._db):
            self._db.execute("INSERT INTO company VALUES (?, ?)", (tenant_id, chosen))
        self._slugs[tenant_id] = chosen
        self._keep_companies()
        return chosen

    def _keep_companies(self) -> None:
        if not self._companies or self._rehearsal or not self._slugs:
            return
        with contextlib.suppress(
            StateError
        ):  # an archive that is away must not stop the collecting; the next run writes it
            ensure_folder(os.path.dirname(self._companies))
            atomic_write(self._companies, orjson.dumps(self._slugs, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2))

    # Walks

    @_serialised
    def begin_walk(self, data_set: str, began: str = "") -> int:
        """The number of a new walk through ``data_set``."""
        with transaction(self._db):
            self._db.execute(
                "INSERT INTO walk (data_set, number, first, began) VALUES (?, 1, ?, ?)"
                " ON CONFLICT (data_set) DO UPDATE SET number = number + 1, began = excluded.began",
                (data_set, began, began),
            )
            return self._db.execute("SELECT number FROM walk WHERE data_set = ?", (data_set,)).fetchone()[0]

    @_serialised
    def end_walk(
        self,
        data_set: str,
        cursor: Cursor | None,
        whole: bool = True,
        reconciled: bool = False,
        falling: bool | None = None,
    ) -> None:
        """The walk came to its end: the cursor moves to the newest record, and a set that was seen whole is not due.

        ``falling`` says whether it came newest first; None where the walk cannot tell.
        """
        with transaction(self._db) as db:
            if cursor:
                _move_cursor(db, data_set, cursor)
            for column in ["completed"] * whole + ["reconciled"] * reconciled:
                db.execute(f"UPDATE walk SET {column} = began WHERE data_set = ?", (data_set,))
            if falling is not None:
                db.execute("UPDATE walk SET falling = ? WHERE data_set = ?", (falling, data_set))

    def last_walk(self, data_set: str) -> WalkState:
        """When ``data_set`` was last walked through to the end."""
        rows = self._query("SELECT completed, reconciled, first, falling FROM walk WHERE data_set = ?", (data_set,))
        return WalkState(*rows[0]) if rows else WalkState(None, None)

    def backfill(self, data_set: str, what: str) -> Backfill | None:
        """How far the backfill ``what`` of ``data_set`` came; None when it has not begun."""
        rows = self._query("SELECT reached, done FROM backfill WHERE data_set = ? AND what = ?", (data_set, what))
        return Backfill(rows[0]["reached"], bool(rows[0]["done"])) if rows else None

    @_serialised
    def move_backfill(self, data_set: str, what: str, state: Backfill) -> None:
        """Remember how far a backfill came."""
        with transaction(self._db) as db:
            db.execute(
                "INSERT OR REPLACE INTO backfill VALUES (?, ?, ?, ?)", (data_set, what, state.reached, state.done)
            )

    # Pages

    @_serialised
    def write_page(
        self, data_set: str, walk: int, plan: PagePlan, dead: t.Sequence[DeadLetter] = (), moved: Moved = Moved()
    ) -> int:
        """Make one page durable: all of it, or none of it. Returns how many dead letters are new.

        The cursor moves only forwards.
        """
        pieces = [operation(write.document, write.version) for write in plan.writes]
        with self._page(pieces) as (db, places):
            written = {write.document.id for write in plan.writes}
            db.executemany(
                "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?)",
                [
                    (
                        write.document.id,
                        data_set,
                        write.document.tenant,
                        write.document.vendor_id,
                        write.document.time,
                        write.document.digest,
                        write.version,
                        *place,
                        walk,
                        write.document.open,
                        write.document.note,
                    )
                    for write, place in zip(plan.writes, places)
                ],
            )
            db.executemany("UPDATE record SET walk = ? WHERE id = ?", [(walk, key) for key in plan.seen - written])
            if moved.cursor:
                _move_cursor(db, data_set, moved.cursor)
            for name, value in moved.positions.items():
                if value == FORGET:
                    db.execute("DELETE FROM position WHERE data_set = ? AND name = ?", (data_set, name))
                else:
                    db.execute("INSERT OR REPLACE INTO position VALUES (?, ?, ?)", (data_set, name, value))
            db.executemany("DELETE FROM dead_letter WHERE id = ?", [(key,) for key in moved.retried])
            _count(db, "lag", "bucket", data_set, moved.lags)
            hours = collections.Counter(write.document.time[:13] for write in plan.writes if write.new)
            _count(db, "hour", "hour", data_set, hours)
            return _insert_dead(db, dead)

    @_serialised
    def write_notes(self, operations: t.Sequence[bytes]) -> None:
        """Journal documents that the SOC makes of itself. Nothing is remembered of them but their bytes."""
        if operations:
            with self._page(list(operations), counted=False):
                pass

    @contextlib.contextmanager
    def _page(
        self, pieces: list[bytes], counted: bool = True
    ) -> t.Iterator[tuple[sqlite3.Connection, list[tuple[int, int, int]]]]:
        """Append ``pieces`` durably, then open the transaction that vouches for them.

        Unless they are ``counted``, nobody is told that they wait.

        Yields the database and the place (segment, start, length) of each piece. A transaction that fails may have
        been committed all the same, when only the word of it was lost: nothing follows in this run, and the next one
        asks the database, as it was recovered, up to where the bytes count.
        """
        segments = self._segments
        if self._unsure:
            raise StateError("The journal could not be written before in this run. Nothing was lost: run again.")
        if segments.size >= SEGMENT_SIZE:
            segments.turn()
        start = segments.append(b"".join(pieces)) if pieces else segments.size
        places, end = [], start
        for piece in pieces:
            places.append((segments.number, end, len(piece)))
            end += len(piece)
        self._reach("before_commit")
        try:
            with transaction(self._db) as db:
                yield db, places
                if pieces:
                    db.execute(
                        "INSERT OR IGNORE INTO segment (number, opened) VALUES (?, ?)", (segments.number, self._opened)
                    )
                    db.execute(
                        "INSERT INTO page (segment, start, length, records) VALUES (?, ?, ?, ?)",
                        (segments.number, start, end - start, len(pieces) if counted else 0),
                    )
        except BaseException:
            self._unsure = True
            raise
        segments.size = end
        self._reach("after_commit")

    # Snapshots

    def vanished(
        self, data_set: str, walk: int, spared: t.Collection[str] = (), limit: int = 500
    ) -> list[tuple[str, Document, int]]:
        """Documents of a snapshot that ``walk``, a complete one, did not meet: (id, last document, last version).

        Companies in ``spared`` are left alone.
        """
        marks = ",".join("?" * len(spared))
        rows = self._query(
            "SELECT id, tenant, digest, version, segment, start, length, note FROM record"
            f" WHERE data_set = ? AND walk < ? AND present = 1 AND tenant NOT IN ({marks}) ORDER BY id LIMIT ?",
            (data_set, walk, *spared, limit),
        )
        return [(row["id"], self._read_document(row), row["version"]) for row in rows]

    @_serialised
    def write_vanished(
        self, data_set: str, walk: int, gone: list[tuple[str, Document, int]], observed: datetime
    ) -> None:
        """Journal that the documents in ``gone`` are no longer in the snapshot: marked, never deleted."""
        stamp = int(observed.timestamp() * 1_000_000)
        versions = [max(stamp, version + 1) for _id, _document, version in gone]
        pieces = []
        for (_id, document, _version), version in zip(gone, versions):
            mark = {"present": False, "vanished": format_time(observed)}
            body = {**document.source, "soc": {**document.source["soc"], **mark}}
            pieces.append(operation(dataclasses.replace(document, source=body), version))
        with self._page(pieces) as (db, places):
            db.executemany(
                "UPDATE record SET present = 0, version = ?, segment = ?, start = ?, length = ?, walk = ? WHERE id = ?",
                [
                    (version, *place, walk, key)
                    for (key, _document, _old), version, place in zip(gone, versions, places)
                ],
            )

    def _read_document(self, row: sqlite3.Row) -> Document:
        with self._lock:
            payload = self._segments.read(row["segment"], row["start"], row["length"])
        action, source = payload.splitlines()
        target, body = next(iter(orjson.loads(action).values())), orjson.loads(source)
        return Document(
            id=row["id"],
            index=target["_index"],
            kind="snapshot",
            time=body["@timestamp"],
            vendor_id=body["event"]["id"],
            tenant=row["tenant"],
            digest=row["digest"],
            source=body,
            note=row["note"],
        )

    # Shipping

    def batches(self) -> t.Iterator[Batch]:
        """What Elasticsearch has not acknowledged, oldest first, in payloads of about SHIP_SIZE."""
        after = 0
        while found := self._next_range(after):
            segment, start, end, first, last = found
            yield Batch(self._segments.read(segment, start, end - start), first, last)
            after = last

    @_serialised
    def _next_range(self, after: int) -> tuple[int, int, int, int, int] | None:
        """(segment, start, end, first page, last page) of what follows page ``after``, as far as it is one stretch."""
        found = None
        sql = "SELECT number, segment, start, length FROM page WHERE shipped = 0 AND number > ? ORDER BY number"
        with contextlib.closing(self._db.execute(sql, (after,))) as rows:  # read no further than it needs
            for number, segment, start, length in rows:
                if not found:
                    found = (segment, start, start + length, number, number)
                elif segment == found[0] and start == found[2] and found[2] - found[1] < SHIP_SIZE:
                    found = (segment, found[1], start + length, found[3], number)
                else:
                    break
        return found

    @_serialised
    def mark_shipped(self, batch: Batch, refused: t.Sequence[DeadLetter]) -> None:
        """Elasticsearch has acknowledged ``batch``; what it cannot ever take is in ``refused``."""
        self._reach("before_acknowledge")
        with transaction(self._db) as db:
            _insert_dead(db, refused)
            db.execute(
                "UPDATE page SET shipped = 1 WHERE shipped = 0 AND number BETWEEN ? AND ?", (batch.first, batch.last)
            )

    # Sealing

    @_serialised
    def turn_segment(self, now: datetime, seal_after: timedelta) -> None:
        """Go on in a new segment when the present one is older than ``seal_after``. Called at the start of a run."""
        self._opened = format_time(now)
        self._keep_companies()
        rows = self._query("SELECT opened FROM segment WHERE number = ?", (self._segments.number,))
        if rows and self._segments.size and now - parse_time(rows[0]["opened"]) >= seal_after:
            self._segments.turn()

    @_serialised
    def sealable(self) -> list[tuple[int, str]]:
        """(number, file) of segments that nothing more comes to and that Elasticsearch has acknowledged as a whole."""
        for (number,) in self._query("SELECT number FROM segment WHERE sealed = 1"):
            self._segments.remove(number)  # a run died between the two
        rows = self._query(
            "SELECT number FROM segment WHERE sealed = 0 AND number < ? AND NOT EXISTS"
            " (SELECT 1 FROM page WHERE page.segment = segment.number AND shipped = 0) ORDER BY number",
            (self._segments.number,),
        )
        return [(number, self._segments.finish(number, self._vouched(number))) for (number,) in rows]

    @_serialised
    def mark_sealed(self, number: int) -> None:
        """The archive holds segment ``number``, verified: its file goes, and the list of its pages."""
        with transaction(self._db) as db:
            db.execute("UPDATE segment SET sealed = 1 WHERE number = ?", (number,))
            db.execute("DELETE FROM page WHERE segment = ?", (number,))
        self._reach("before_remove")
        self._segments.remove(number)


def _move_cursor(db: sqlite3.Connection, data_set: str, cursor: Cursor) -> None:
    db.execute(
        "INSERT INTO cursor VALUES (?, ?, ?) ON CONFLICT (data_set) DO UPDATE SET time = excluded.time,"
        " tie = excluded.tie WHERE (excluded.time, excluded.tie) > (time, tie)",
        (data_set, cursor.time, cursor.tie),
    )


def _count(db: sqlite3.Connection, table: str, column: str, data_set: str, counts: t.Mapping) -> None:
    db.executemany(
        f"INSERT INTO {table} VALUES (?, ?, ?)"
        f" ON CONFLICT (data_set, {column}) DO UPDATE SET records = records + excluded.records",
        [(data_set, key, records) for key, records in counts.items()],
    )


def _insert_dead(db: sqlite3.Connection, dead: t.Sequence[DeadLetter]) -> int:
    before = db.total_changes
    db.executemany(
        "INSERT OR IGNORE INTO dead_letter VALUES (?, ?, ?, ?, ?, ?, ?)",
        [dataclasses.astuple(letter) for letter in dead],
    )
    return db.total_changes - before


def _read_companies(path: str) -> dict[str, str]:
    try:
        with open(path, "rb") as handle:
            found = orjson.loads(handle.read())
        return {str(key): str(value) for key, value in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as exc:
        raise StateError(
            f"The file {path} cannot be read: {exc}. It says which company has which index; restore it from a backup of"
            " the archive."
        ) from exc


def _private_copy(path: str) -> sqlite3.Connection:
    # The empty name is SQLite's own temporary database: it spills to disk when large, and is gone when closed.
    copy = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    copy.row_factory = sqlite3.Row
    try:
        if os.path.exists(path):
            with contextlib.closing(open_read_only(path)) as original:
                original.backup(copy)
        copy.executescript(SCHEMA)
    except sqlite3.Error as exc:
        raise StateError(f"The state in {path} cannot be read: {exc}.") from exc
    return copy
