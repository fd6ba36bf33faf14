# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""One walk through a data set: page after page to the journal, and what a complete walk tells."""

from __future__ import annotations

import dataclasses
import json
import typing as t
from datetime import timedelta

from .._core.clock import Clock, format_time, parse_time
from .._core.ids import content_digest
from .._core.libraries import orjson
from .._core.rest import Http
from .journal import Cursor, DeadLetter, Journal, plan_page
from .normalise import Document, Malformed, normalise, wanted
from .profile import DataSet, Source
from .vendor import pages


@dataclasses.dataclass
class Tally:
    """What one walk through one set met. ``fetched`` = ``new`` + ``changed`` + ``known`` + ``skipped`` + ``malformed``."""

    fetched: int = 0
    new: int = 0
    changed: int = 0
    known: int = 0
    skipped: int = 0
    malformed: int = 0
    vanished: int = 0
    dead_letters: int = 0
    cursor_before: str | None = None
    cursor_after: str | None = None

    @property
    def written(self) -> int:
        """Documents that went to the journal."""
        return self.new + self.changed + self.vanished


def collect_set(
    journal: Journal,
    source: Source,
    data_set: DataSet,
    http: Http,
    clock: Clock,
    look_back: timedelta,
    tenants: frozenset[str] | None,
) -> Tally:
    """Walk once through ``data_set`` and journal it, page by page."""
    walk = _Walk(journal, source, data_set, clock, tenants)
    cursor = journal.cursor(data_set.name)
    walk.tally.cursor_before = cursor.time if cursor else None
    since = parse_time(cursor.time) - look_back if cursor else None
    for variant in data_set.variants:
        for page in pages(source, data_set, variant, http, since, tenants):
            if not page.records or not walk.take(page.records):
                # Nothing that this walk has not seen: the end, unless the vendor's own counter says that more follows.
                walk.complete = walk.complete and (page.final or not data_set.paging.get("last_page"))
                break
    walk.finish()
    cursor = journal.cursor(data_set.name)
    walk.tally.cursor_after = cursor.time if cursor else None
    return walk.tally


class _Walk:
    """What has been seen so far on the way through one data set."""

    def __init__(
        self, journal: Journal, source: Source, data_set: DataSet, clock: Clock, tenants: frozenset[str] | None
    ) -> None:
        self._journal, self._source, self._set, self._clock, self._tenants = journal, source, data_set, clock, tenants
        self._number = journal.begin_walk(data_set.name)
        self.tally, self.complete = Tally(), True
        # What could not or should not be used: the journal does not know those records.
        self._unused: set[str] = set()
        self._high: tuple[str, str] | None = None
        self._ordered = True

    def take(self, records: list) -> bool:
        """Journal one page; True when it brought anything that this walk had not seen."""
        now = self._clock()
        observed, before, skipped = format_time(now), len(self._unused), 0
        documents: list[Document] = []
        dead: list[DeadLetter] = []
        for record in records:
            try:
                if wanted(record, self._set, self._tenants):
                    documents.append(normalise(record, self._source, self._set, observed, self._journal.slug_of))
                else:
                    skipped += 1
                    self._unused.add(content_digest(record))
            except Malformed as exc:
                dead.append(self._dead_letter(record, str(exc), observed))
            except (TypeError, ValueError, OverflowError, RecursionError) as exc:
                dead.append(self._dead_letter(record, f"it cannot be handled ({exc.__class__.__name__})", observed))
        self._unused.update(letter.id for letter in dead)
        known = self._journal.known({document.id for document in documents})
        plan = plan_page(documents, known, self._number, int(now.timestamp() * 1_000_000))
        self._see(documents, observed)
        cursor = Cursor(*self._high) if self._high and self._ordered else None
        tally, new = self.tally, sum(write.new for write in plan.writes)
        tally.dead_letters += self._journal.write_page(self._set.name, self._number, plan, dead, cursor)
        tally.fetched += len(records)
        tally.new += new
        tally.changed += len(plan.writes) - new
        tally.known += plan.unchanged
        tally.skipped += skipped
        tally.malformed += len(dead)
        return plan.fresh > 0 or len(self._unused) > before

    def finish(self) -> None:
        """The walk came to its end: the cursor may go to the newest record, and what a snapshot lacks is gone."""
        name = self._set.name
        if self._high:
            self._journal.move_cursor(name, Cursor(*self._high))
        # An empty list, or one with records that cannot be read, does not say what is missing from it.
        if self._set.kind != "snapshot" or not self.complete or not self.tally.fetched or self.tally.malformed:
            return
        now = self._clock()
        while gone := self._journal.vanished(name, self._number):
            self._journal.write_vanished(name, self._number, gone, now, format_time(now))
            self.tally.vanished += len(gone)

    def _see(self, documents: list[Document], observed: str) -> None:
        """Remember the newest record, and whether the vendor lists them in order.

        While it does, the cursor follows page by page. Out of order it waits for the end of the walk: a run that died
        before would start behind records that it never saw. A time in the future never counts: one probe with a
        wrong clock would move the cursor past everything to come.
        """
        for document in documents:
            key = (document.time, document.vendor_id)
            if document.time > observed:
                continue
            if self._high and key < self._high:
                self._ordered = False
            else:
                self._high = key

    def _dead_letter(self, record: t.Any, reason: str, observed: str) -> DeadLetter:
        kept = record
        if isinstance(record, dict):  # what always moves must not make another letter of it at each run
            kept = {key: value for key, value in record.items() if key not in self._set.volatile | self._set.drop}
        try:
            return DeadLetter(
                content_digest([self._set.name, kept]), self._set.name, reason, observed, orjson.dumps(record)
            )
        except TypeError:  # nested too deeply for orjson
            text = json.dumps(record, sort_keys=True)
            return DeadLetter(content_digest([self._set.name, text]), self._set.name, reason, observed, text.encode())
