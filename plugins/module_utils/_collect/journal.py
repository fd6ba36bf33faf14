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

import contextlib
import dataclasses
import os
import sqlite3
import typing as t
from datetime import datetime
from pathlib import Path

from .._core.errors import StateError
from .._core.ids import document_id, slug
from .._core.libraries import orjson
from .._core.reach import Reach, nowhere
from .._core.state import FILE_MODE, ensure_folder, open_database, sync_folder, transaction
from .normalise import Document, operation

SEGMENT_SIZE = 64 * 1024 * 1024
SHIP_SIZE = 4 * 1024 * 1024
# SQLite takes 999 parameters in its smallest build.
QUERY_SIZE = 500

SCHEMA = """
CREATE TABLE IF NOT EXISTS record (
    id TEXT PRIMARY KEY, data_set TEXT NOT NULL, digest TEXT NOT NULL, version INTEGER NOT NULL,
    segment INTEGER NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL,
    walk INTEGER NOT NULL, present INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS page (
    number INTEGER PRIMARY KEY, segment INTEGER NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL,
    records INTEGER NOT NULL, shipped INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS unshipped ON page (number) WHERE shipped = 0;
CREATE TABLE IF NOT EXISTS cursor (data_set TEXT PRIMARY KEY, time TEXT NOT NULL, tie TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS walk (data_set TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS company (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dead_letter (
    id TEXT PRIMARY KEY, data_set TEXT NOT NULL, reason TEXT NOT NULL, observed TEXT NOT NULL, record BLOB NOT NULL) WITHOUT ROWID;
"""


@dataclasses.dataclass(frozen=True)
class Cursor:
    """The greatest ``(time, id)`` among the records that a vendor returned."""

    time: str
    tie: str


@dataclasses.dataclass(frozen=True)
class Known:
    """What the journal holds of an id: content, version, and the walk that last saw it."""

    digest: str
    version: int
    walk: int
    present: bool


@dataclasses.dataclass(frozen=True)
class DeadLetter:
    """A record that could not be used, and why."""

    id: str
    data_set: str
    reason: str
    observed: str
    record: bytes


@dataclasses.dataclass(frozen=True)
class Write:
    """One document that goes to the journal, under ``version``."""

    document: Document
    version: int
    new: bool


@dataclasses.dataclass(frozen=True)
class PagePlan:
    """What one page means for the journal: documents to write, ids that were seen unchanged, ids new to this walk."""

    writes: tuple[Write, ...]
    unchanged: int
    seen: frozenset[str]
    fresh: int


def plan_page(documents: t.Sequence[Document], known: t.Mapping[str, Known], walk: int, stamp: int) -> PagePlan:
    """Decide which documents of a page are written. Pure.

    ``known`` holds what the journal has of their ids, ``stamp`` is the time of observation in microseconds. A document
    that came before is written again only when it is not an event and its content differs, or it had vanished. Of an
    id that occurs several times in a page the last content counts. Versions always grow, even when the clock does not.
    """
    writes: dict[str, Write] = {}
    seen: set[str] = set()
    unchanged = fresh = 0
    for document in documents:
        before, again = known.get(document.id), document.id in seen
        if not again and (before is None or before.walk != walk):
            fresh += 1
        seen.add(document.id)
        earlier = writes.get(document.id)
        digest = earlier.document.digest if earlier else before.digest if before else None
        same = digest == document.digest and (earlier is not None or before is None or before.present)
        if digest is not None and (same or document.kind == "event"):
            unchanged += 1
            continue
        version = max(stamp, before.version + 1 if before else 0)
        writes[document.id] = Write(document, version, new=before is None)
    return PagePlan(tuple(writes.values()), unchanged, frozenset(seen), fresh)


@dataclasses.dataclass(frozen=True)
class Batch:
    """A run of journal bytes that Elasticsearch has not acknowledged, and the pages that it covers."""

    payload: bytes
    first: int
    last: int


class Journal:
    """One source's journal in ``folder``.

    A rehearsal (check mode) works on a private copy that disappears, and leaves the disk as it was.
    Raises StateError where the disk fails.
    """

    def __init__(self, folder: str, *, rehearsal: bool = False, reach: Reach = nowhere) -> None:
        self._reach, self._rehearsal = reach, rehearsal
        self._segments = os.path.join(folder, "segments")
        path = os.path.join(folder, "journal.sqlite")
        if rehearsal:
            self._db = _private_copy(path)
        else:
            ensure_folder(self._segments)
            self._db = open_database(path, SCHEMA)
        rows = self._query(
            "SELECT segment, MAX(start + length) AS size FROM page GROUP BY segment ORDER BY segment DESC LIMIT 1"
        )
        row = rows[0] if rows else None
        self._segment, self._size = (row["segment"], row["size"]) if row else (1, 0)
        self._handle: int | None = None
        self._slugs = {row["id"]: row["slug"] for row in self._query("SELECT id, slug FROM company")}

    def close(self) -> None:
        """Let go of the files."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        self._db.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _query(self, sql: str, parameters: t.Sequence = ()) -> list[sqlite3.Row]:
        try:
            return self._db.execute(sql, parameters).fetchall()
        except sqlite3.Error as exc:
            raise StateError(
                f"The journal's database cannot be read: {exc}. Restore the state folder from a backup."
            ) from exc

    # What is known

    def cursor(self, data_set: str) -> Cursor | None:
        """Where the last walk through ``data_set`` came to."""
        rows = self._query("SELECT time, tie FROM cursor WHERE data_set = ?", (data_set,))
        return Cursor(rows[0]["time"], rows[0]["tie"]) if rows else None

    def known(self, ids: t.Iterable[str]) -> dict[str, Known]:
        """What the journal holds of ``ids``."""
        wanted, found = list(ids), {}
        for start in range(0, len(wanted), QUERY_SIZE):
            part = wanted[start : start + QUERY_SIZE]
            marks = ",".join("?" * len(part))
            for row in self._query(
                f"SELECT id, digest, version, walk, present FROM record WHERE id IN ({marks})", part
            ):
                found[row["id"]] = Known(row["digest"], row["version"], row["walk"], bool(row["present"]))
        return found

    def waiting(self) -> int:
        """How many documents Elasticsearch has not acknowledged."""
        return self._query("SELECT COALESCE(SUM(records), 0) FROM page WHERE shipped = 0")[0][0]

    def dead_letters(self) -> int:
        """How many records could not be used, ever."""
        return self._query("SELECT COUNT(*) FROM dead_letter")[0][0]

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
        return chosen

    # Collecting

    def begin_walk(self, data_set: str) -> int:
        """The number of a new walk through ``data_set``."""
        with transaction(self._db):
            self._db.execute(
                "INSERT INTO walk VALUES (?, 1) ON CONFLICT (data_set) DO UPDATE SET number = number + 1", (data_set,)
            )
            return self._db.execute("SELECT number FROM walk WHERE data_set = ?", (data_set,)).fetchone()[0]

    def write_page(
        self, data_set: str, walk: int, plan: PagePlan, dead: t.Sequence[DeadLetter], cursor: Cursor | None
    ) -> int:
        """Make one page durable: all of it, or none of it. Returns how many dead letters are new.

        ``cursor`` moves only forwards.
        """
        pieces = [operation(write.document, write.version) for write in plan.writes]
        with self._page(pieces) as (db, places):
            written = {write.document.id for write in plan.writes}
            db.executemany(
                "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1)",
                [
                    (write.document.id, data_set, write.document.digest, write.version, *place, walk)
                    for write, place in zip(plan.writes, places)
                ],
            )
            db.executemany("UPDATE record SET walk = ? WHERE id = ?", [(walk, key) for key in plan.seen - written])
            if cursor:
                _move_cursor(db, data_set, cursor)
            return _insert_dead(db, dead)

    def move_cursor(self, data_set: str, cursor: Cursor) -> None:
        """Move the cursor of ``data_set`` forwards, by itself."""
        with transaction(self._db) as db:
            _move_cursor(db, data_set, cursor)

    @contextlib.contextmanager
    def _page(self, pieces: list[bytes]) -> t.Iterator[tuple[sqlite3.Connection, list[tuple[int, int, int]]]]:
        """Append ``pieces`` durably, then open the transaction that vouches for them.

        Yields the database and the place (segment, start, length) of each piece. When the transaction does not
        commit, the bytes go with it: what this process appends next must not follow bytes that nobody knows.
        """
        start = self._append(b"".join(pieces)) if pieces else self._size
        places, end = [], start
        for piece in pieces:
            places.append((self._segment, end, len(piece)))
            end += len(piece)
        self._reach("before_commit")
        try:
            with transaction(self._db) as db:
                yield db, places
                if pieces:
                    db.execute(
                        "INSERT INTO page (segment, start, length, records) VALUES (?, ?, ?, ?)",
                        (self._segment, start, end - start, len(pieces)),
                    )
        except BaseException:
            self._forget_tail()
            raise
        self._size = end
        self._reach("after_commit")

    def vanished(self, data_set: str, walk: int, limit: int = 500) -> list[tuple[str, Document, int]]:
        """Documents of a snapshot that ``walk``, a complete one, did not meet: (id, last document, last version)."""
        rows = self._query(
            "SELECT * FROM record WHERE data_set = ? AND walk < ? AND present = 1 ORDER BY id LIMIT ?",
            (data_set, walk, limit),
        )
        return [(row["id"], self._read_document(row), row["version"]) for row in rows]

    def write_vanished(
        self, data_set: str, walk: int, gone: list[tuple[str, Document, int]], observed: datetime, time: str
    ) -> None:
        """Journal that the documents in ``gone`` are no longer in the snapshot: marked, never deleted."""
        stamp = int(observed.timestamp() * 1_000_000)
        pieces = []
        for _id, document, version in gone:
            body = {**document.source, "soc": {**document.source["soc"], "present": False, "vanished": time}}
            pieces.append(
                (
                    operation(dataclasses.replace(document, source=body), max(stamp, version + 1)),
                    max(stamp, version + 1),
                )
            )
        with self._page([piece for piece, _version in pieces]) as (db, places):
            db.executemany(
                "UPDATE record SET present = 0, version = ?, segment = ?, start = ?, length = ?, walk = ? WHERE id = ?",
                [
                    (version, *place, walk, key)
                    for (key, _document, _old), (_piece, version), place in zip(gone, pieces, places)
                ],
            )

    # Shipping

    def batches(self) -> t.Iterator[Batch]:
        """What Elasticsearch has not acknowledged, oldest first, in payloads of about SHIP_SIZE."""
        after = 0
        while True:
            first, segment, start, end, last = 0, 0, 0, 0, 0
            pages = "SELECT * FROM page WHERE shipped = 0 AND number > ? ORDER BY number LIMIT 1000"
            for row in self._query(pages, (after,)):
                if not first:
                    first, segment, start, end, last = (
                        row["number"],
                        row["segment"],
                        row["start"],
                        row["start"] + row["length"],
                        row["number"],
                    )
                elif row["segment"] == segment and row["start"] == end and end - start < SHIP_SIZE:
                    end, last = end + row["length"], row["number"]
                else:
                    break
            if not first:
                return
            yield Batch(self._read(segment, start, end - start), first, last)
            after = last

    def mark_shipped(self, batch: Batch, refused: t.Sequence[DeadLetter]) -> None:
        """Elasticsearch has acknowledged ``batch``; what it cannot ever take is in ``refused``."""
        self._reach("before_acknowledge")
        with transaction(self._db) as db:
            _insert_dead(db, refused)
            db.execute(
                "UPDATE page SET shipped = 1 WHERE shipped = 0 AND number BETWEEN ? AND ?", (batch.first, batch.last)
            )

    # Bytes

    def _append(self, payload: bytes) -> int:
        """Put ``payload`` at the end of the segment and make it durable; returns where it starts."""
        if self._size >= SEGMENT_SIZE:
            if self._handle is not None:
                os.close(self._handle)
                self._handle = None
            self._segment, self._size = self._segment + 1, 0
        if self._rehearsal:
            return self._size
        try:
            if self._handle is None:
                self._handle = self._open_segment()
            if os.fstat(self._handle).st_size != self._size:
                raise StateError(
                    f"The journal's segment {self._path(self._segment)} was changed by another process; this run stops here."
                )
            self._reach("before_append")
            view = memoryview(payload)
            while view:
                view = view[os.write(self._handle, view) :]
            self._reach("before_fsync")
            os.fsync(self._handle)
            self._reach("after_fsync")
        except OSError as exc:
            self._forget_tail()
            raise StateError(
                f"The journal in {self._segments} cannot be written: {exc.strerror}. Nothing was lost: make room and run again."
            ) from exc
        return self._size

    def _open_segment(self) -> int:
        path = self._path(self._segment)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
        size = os.fstat(handle).st_size
        if size < self._size:
            os.close(handle)
            raise StateError(
                f"The journal's segment {path} is shorter ({size} bytes) than what was recorded ({self._size}): it was damaged"
                " from outside. Restore it from a backup of the state folder."
            )
        # Bytes that no transaction vouches for: a run died between the two. Their page is asked for again.
        os.ftruncate(handle, self._size)
        sync_folder(self._segments)
        return handle

    def _forget_tail(self) -> None:
        if self._handle is not None:
            try:
                os.ftruncate(self._handle, self._size)
            except OSError:
                pass  # the next start cuts it off
            os.close(self._handle)
            self._handle = None

    def _read(self, segment: int, start: int, length: int) -> bytes:
        path = self._path(segment)
        try:
            with open(path, "rb") as handle:
                handle.seek(start)
                payload = handle.read(length)
        except OSError as exc:
            raise StateError(f"The journal's segment {path} cannot be read: {exc.strerror}.") from exc
        if len(payload) != length:
            raise StateError(
                f"The journal's segment {path} ends too early: it was damaged from outside. Restore it from a backup."
            )
        return payload

    def _read_document(self, row: sqlite3.Row) -> Document:
        action, source = self._read(row["segment"], row["start"], row["length"]).splitlines()
        target, body = next(iter(orjson.loads(action).values())), orjson.loads(source)
        return Document(
            row["id"], target["_index"], "snapshot", body["@timestamp"], body["event"]["id"], row["digest"], body
        )

    def _path(self, segment: int) -> str:
        return os.path.join(self._segments, f"{segment:08d}.ndjson")


def _move_cursor(db: sqlite3.Connection, data_set: str, cursor: Cursor) -> None:
    db.execute(
        "INSERT INTO cursor VALUES (?, ?, ?) ON CONFLICT (data_set) DO UPDATE SET time = excluded.time,"
        " tie = excluded.tie WHERE (excluded.time, excluded.tie) > (time, tie)",
        (data_set, cursor.time, cursor.tie),
    )


def _insert_dead(db: sqlite3.Connection, dead: t.Sequence[DeadLetter]) -> int:
    before = db.total_changes
    db.executemany(
        "INSERT OR IGNORE INTO dead_letter VALUES (?, ?, ?, ?, ?)",
        [(letter.id, letter.data_set, letter.reason, letter.observed, letter.record) for letter in dead],
    )
    return db.total_changes - before


def _private_copy(path: str) -> sqlite3.Connection:
    # The empty name is SQLite's own temporary database: it spills to disk when large, and is gone when closed.
    copy = sqlite3.connect("", isolation_level=None)
    copy.row_factory = sqlite3.Row
    try:
        if os.path.exists(path):
            # Without a write-ahead log beside it the file is all there is, and nothing need be created to read it.
            how = "mode=ro" if os.path.exists(path + "-wal") else "immutable=1"
            with contextlib.closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?{how}", uri=True)) as original:
                original.backup(copy)
        copy.executescript(SCHEMA)
    except sqlite3.Error as exc:
        raise StateError(f"The state in {path} cannot be read: {exc}.") from exc
    return copy
