# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""One walk through a data set: page after page to the journal, and what a complete walk tells."""

from __future__ import annotations

import collections
import dataclasses
import json
import typing as t
from datetime import datetime, timedelta

from .._core.clock import Clock, format_time, parse_time
from .._core.errors import AnswerError, SocError, StateError
from .._core.ids import content_digest
from .._core.libraries import orjson
from .._core.rest import Http
from .files import read_files
from .firebox import parse
from .journal import Backfill, Cursor, DeadLetter, Journal, Moved, plan_page
from .normalise import Company, Document, Malformed, derive_state, normalise, wanted
from .profile import DataSet, Source, dig
from .vendor import Directory, Page, Request, ask_by_ids, heeds_company, pages
from .watch import lag_bucket, lateness

FILE_PAGE = 500
ASK_AT_ONCE = 500
# Raise it when normalising learns something: dead letters of before are then tried again.
NORMALISER = 1
# So many companies in a row that cannot be asked: it is not the companies.
GIVE_UP_AFTER = 3


def quiet(_line: str, _always: bool = False) -> None:
    """Nobody watches."""


@dataclasses.dataclass(frozen=True)
class Rules:
    """What a run wants of every set.

    ``look_back`` is how far before the cursor a walk begins. ``provider`` is the tenant of what belongs to no company,
    ``devices`` whose firewalls are whose, by serial number or name. Open records younger than ``ask_again_for`` are
    asked for anew. ``since`` is where a backfill begins, for ``companies`` only where given, in slices of
    ``backfill_slice``; without ``backfill`` only a first walk begins there. ``reconcile`` is how far back a walk begins
    that counts what is there.
    """

    look_back: timedelta
    directory: Directory
    provider: Company
    ask_again_for: timedelta
    syslog_files: tuple[str, ...] = ()
    devices: t.Mapping[str, Company] = dataclasses.field(default_factory=dict)
    since: datetime | None = None
    companies: frozenset[str] | None = None
    backfill: bool = True
    backfill_slice: timedelta = timedelta(minutes=2)
    reconcile: timedelta | None = None
    progress: t.Callable[..., None] = quiet


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
    backfilled_to: str | None = None

    @property
    def written(self) -> int:
        """Documents that went to the journal."""
        return self.new + self.changed + self.vanished


@dataclasses.dataclass
class Walked:
    """What a walk leaves: its tally, what went wrong on the way, and for reconciling the ids that the vendor has.

    ``offered`` are document ids by hour; ``missed`` counts those that earlier walks should have met and had not. A walk
    is ``whole`` when every list came to a proper end.
    """

    tally: Tally
    failures: dict[str, SocError] = dataclasses.field(default_factory=dict)
    offered: dict[str, set[str]] | None = None
    missed: int = 0
    whole: bool = True


def collect_set(
    journal: Journal, source: Source, data_set: DataSet, http: Http | None, clock: Clock, rules: Rules
) -> Walked:
    """Walk once through ``data_set`` and journal it, page by page. What one company breaks does not stop the others."""
    walk = _Walk(journal, source, data_set, clock, rules)
    walk.try_again()
    if data_set.files:
        walk.read(rules)
    else:
        walk.ask(http, rules)
    return walk.result()


class _Walk:
    """What has been seen so far on the way through one data set."""

    def __init__(self, journal: Journal, source: Source, data_set: DataSet, clock: Clock, rules: Rules) -> None:
        self._journal, self._source, self._set, self._clock = journal, source, data_set, clock
        self._names, self._collected = rules.directory.names, rules.directory.collected
        self._devices = rules.devices
        names = sorted(self._names.items()) if data_set.tenant_id and not data_set.tenant_name else []
        devices = sorted((key, *dataclasses.astuple(company)) for key, company in rules.devices.items())
        self._setup = content_digest([NORMALISER, data_set.digest, devices, names, sorted(self._collected or ())])
        self._began = format_time(clock())
        cursor = journal.cursor(data_set.name)
        self._cursor = parse_time(cursor.time) if cursor else None
        self._number = journal.begin_walk(data_set.name, self._began)
        self._first = self._number  # a second look has another number
        self._to_the_end = True  # whether no list was left before its end
        self._several = False  # whether a list had more than one page
        self._whole = True
        self._falling = True  # whether everything came newest first
        self._tally = Tally(cursor_before=cursor.time if cursor else None)
        self._failures: dict[str, SocError] = {}
        self._offered: dict[str, set[str]] | None = collections.defaultdict(set) if rules.reconcile else None
        self._missed, self._expected = 0, format_time(self._cursor - rules.look_back) if self._cursor else ""
        # What could not or should not be used: the journal does not know those records.
        self._unused: set[str] = set()
        # Whether nothing of a list was left out, and whether its end was seen, so that the cursor may go there.
        self._complete = self._ended = True
        self._spared: set[str] = set()  # companies of which not all was seen
        self._high: tuple[str, str] | None = None
        # Only a search begins at the cursor and goes forwards: only there may the cursor follow page by page.
        self._ordered = (
            not data_set.files
            and data_set.paging["style"] == "search_after"
            and not data_set.ask
            and len(data_set.variants) == 1
        )

    def result(self) -> Walked:
        """The walk's tally and failures."""
        cursor = self._journal.cursor(self._set.name)
        self._tally.cursor_after = cursor.time if cursor else None
        return Walked(self._tally, self._failures, self._offered, self._missed, self._whole)

    # Where records come from

    def try_again(self) -> None:
        """Give records another chance that were no use under other settings, such as a device of an unknown company.

        A snapshot needs none: its list is read as a whole each time.
        """
        if self._set.kind == "snapshot":
            return
        while letters := self._journal.retriable(self._set.name, self._setup):
            records = [orjson.loads(letter.record) for letter in letters]
            if self._set.files:
                records = [self._parsed(raw, self._clock()) for raw in records]
            owner = Company(*orjson.loads(letters[0].owner)) if letters[0].owner else None
            self.take(Page(records, False), records, owner, follow=False, retried=[letter.id for letter in letters])
            # What the walk itself meets, it meets for the first time.
            self._number = self._first = self._journal.begin_walk(self._set.name, self._began)
            self._unused.clear()

    def read(self, rules: Rules) -> None:
        """Read files from where the last run came to."""
        now = self._clock()
        try:
            for page in read_files(rules.syslog_files, self._journal.positions(self._set.name), FILE_PAGE, now):
                self.take(page, [self._parsed(raw, now) for raw in page.records])
        except StateError:  # some file could not be read, and all the others were
            self._finish(whole=False)
            raise
        self._finish()

    def _parsed(self, raw: dict, now: datetime) -> t.Any:
        """The record that a line holds, or the reason why it holds none."""
        if raw.get("problem"):
            return raw, raw["problem"]
        try:
            return {**parse(raw["line"], self._set.zone, now), "id": raw["id"], "line": raw["line"]}
        except ValueError as exc:
            return raw, str(exc)

    def ask(self, http: t.Any, rules: Rules) -> None:
        """Ask the vendor for what is new, for what was open, and for what a backfill still lacks."""
        first, since = self._cursor is None, rules.since
        if self._cursor is not None:
            since = self._cursor - rules.look_back
            if rules.reconcile:
                since = min(since, self._clock() - rules.reconcile)
        # Where clocks go back, times without a zone seem to lie an hour before they do.
        fold = timedelta(hours=1 if self._set.zone != "UTC" else 0)
        # Only a list that was once seen whole, and was newest first throughout, is left before its end.
        trusted = self._journal.last_walk(self._set.name).falling and not rules.reconcile
        floor = format_time(since - fold) if since and trusted else None
        open_since = format_time(self._clock() - rules.ask_again_for)
        failed = answered = 0
        for asked, owner in self._requests(http, rules, since):
            before = self._tally.fetched
            try:
                self._walk_pages(http, asked, owner, floor, open_since)
                failed, answered = 0, answered + 1
                if owner and self._tally.fetched == before:
                    self._spared.add(owner.id)  # an empty list does not say what is missing from it
            except SocError as exc:
                # What a vendor answers is about that company; no answer is not, and neither is our own disk.
                failed = 0 if _is_about_the_company(exc) else failed + 1
                if not owner or owner is rules.provider or isinstance(exc, StateError) or failed >= GIVE_UP_AFTER:
                    raise
                self._failures[owner.name] = exc
                self._spared.add(owner.id)
        if self._failures and not answered:
            raise next(iter(self._failures.values()))
        self._look_again(http, rules, since, open_since)
        self._ask_again(http, open_since)
        self._whole = not self._failures and (self._ended or self._complete)
        self._finish(reconciled=bool(rules.reconcile), whole=self._whole)
        if rules.since and rules.backfill and self._set.kind != "snapshot":
            self._backfill(http, rules, first)

    def _requests(
        self, http: t.Any, rules: Rules, since: datetime | None, only: frozenset[str] | None = None
    ) -> t.Iterator[tuple[Request, Company | None]]:
        """What is asked for in a walk, and whose the records are where they do not say so themselves."""
        tenants = self._collected if only is None else only & (self._collected or only)
        ask = self._set.ask
        for variant in self._set.variants:
            if not ask:
                yield Request(variant, None, since, tenants), None
            elif ask.get("path") or self._heeds(http):
                for about, company in rules.directory.companies():
                    if tenants is None or company.id in tenants:
                        yield Request(variant, about, since), company
            else:
                yield Request(variant, None, since), rules.provider

    def _heeds(self, http: t.Any) -> bool:
        """Whether figures are asked for company by company. What was found out at first stays.

        A vendor that does not heed the company gives the figures of all to each: one odd answer must not do that.
        """
        heeds = heeds_company(self._source, self._set, http)
        name = f"heeds {self._set.digest}"
        before = self._journal.positions(self._set.name).get(name)
        if before not in (None, str(heeds)):
            raise AnswerError(
                f"Asked for {self._set.name} of a company that does not exist, {self._source.name} answers otherwise than"
                " before; nothing was collected. When that is for good, set tenant.ask.heeds to true or false in the profile."
            )
        if before is None:
            empty = plan_page([], {}, self._number, 0)
            self._journal.write_page(self._set.name, self._number, empty, moved=Moved(positions={name: str(heeds)}))
        return heeds

    def _walk_pages(
        self, http: t.Any, asked: Request, owner: Company | None, floor: str | None, open_since: str
    ) -> None:
        oldest, falling = "9", self._set.newest_first
        for number, page in enumerate(pages(self._source, self._set, asked, http)):
            self._several = self._several or (number > 0 and bool(page.records))
            times = self.take(page, page.records, owner)
            if times is None:
                # Nothing that this walk has not seen. Without records that is the end; with some it is where the server
                # repeats itself, or where the list moved on meanwhile, and its own counter must have said so.
                ended = page.final and not page.records
                self._complete = self._complete and (ended or not self._set.paging.get("last_page"))
                self._ended = self._ended and ended
                return
            falling = falling and bool(times) and times == sorted(times, reverse=True) and times[0] <= oldest
            self._falling = self._falling and falling
            oldest = min([oldest, *times])
            # Older pages hold nothing new, and nothing that was open and is not any more.
            behind = falling and floor is not None and times[0] < floor
            if behind and not self._journal.unmet_open(self._set.name, self._number, open_since, 1):
                self._complete = self._to_the_end = False
                return

    def _look_again(self, http: t.Any, rules: Rules, since: datetime | None, open_since: str) -> None:
        """Walk a list of several pages once more before anything of it counts as gone.

        When something left the list between two pages, the next page lacks what moved up to the one before.
        """
        if self._set.kind != "snapshot" or not self._several or not self._complete:
            return
        if not self._journal.vanished(self._set.name, self._first, self._spared, 1):
            return
        self._number = self._journal.begin_walk(self._set.name, self._began)
        self._unused.clear()
        for asked, owner in self._requests(http, rules, since):
            if not owner or owner.id not in self._spared:
                self._walk_pages(http, asked, owner, None, open_since)

    def _ask_again(self, http: t.Any, open_since: str) -> None:
        """Ask for records that were open and that the walk did not meet: somebody may have closed them."""
        if not self._set.ask_again:
            return
        unmet = self._journal.unmet_open(self._set.name, self._number, open_since)
        ids = [key for key, tenant in unmet if self._collected is None or tenant in self._collected]
        for start in range(0, len(ids), ASK_AT_ONCE):
            found = ask_by_ids(self._source, self._set, ids[start : start + ASK_AT_ONCE], http)
            self.take(Page(found, False), found, follow=False)

    def _backfill(self, http: t.Any, rules: Rules, first: bool) -> None:
        """Go on with what lies between ``since`` and where the collecting began, for as long as a run may take.

        It stands behind the collecting of what is new, and remembers how far it came.
        """
        name, since = self._set.name, t.cast(datetime, rules.since)
        what = f"{format_time(since)} {','.join(sorted(rules.companies)) if rules.companies else 'all'}"
        state = self._journal.backfill(name, what) or Backfill(format_time(since), done=False)
        if first and not self._failures and not rules.companies:
            state = Backfill(self._began, done=True)  # the walk began at that time
            self._journal.move_backfill(name, what, state)
        goal = self._cursor or self._clock()
        began = self._clock()
        while not state.done and not state.paused and self._clock() - began <= rules.backfill_slice:
            state = self._backfill_slice(http, rules, what, state, began, goal)
        self._tally.backfilled_to = None if state.done else state.reached

    def _backfill_slice(
        self, http: t.Any, rules: Rules, what: str, state: Backfill, began: datetime, goal: datetime
    ) -> Backfill:
        name, start = self._set.name, parse_time(state.reached)
        self._number = self._journal.begin_walk(name, self._began)
        resumable = bool(self._set.paging.get("from")) and not self._set.ask and len(self._set.variants) == 1
        whole, last = True, state.reached
        for asked, owner in self._requests(http, rules, start, rules.companies):
            for page in self._pages_of_one(http, asked, owner):
                times = self.take(page, page.records, owner, follow=False, only=rules.companies)
                if times is None:
                    ended = page.final and not page.records
                    whole = whole and (ended or not self._set.paging.get("last_page"))
                    break
                resumable = resumable and times == sorted(times) and (not times or times[0] >= last)
                last = max([last, *times])
                if times and resumable and min(times) > format_time(goal):
                    break
                if times and resumable:
                    state = Backfill(max(state.reached, min(max(times), format_time(goal))), done=False)
                    self._journal.move_backfill(name, what, state)
                    rules.progress(_progress(self._source.name, name, rules.since, parse_time(state.reached), goal))
                    # At least one step forwards, or a page of ties would be read for ever.
                    if self._clock() - began > rules.backfill_slice and parse_time(state.reached) > start:
                        return state
                if times and self._set.newest_first and max(times) < format_time(start):
                    break
        if self._failures:
            return dataclasses.replace(state, paused=True)
        if not whole:
            raise AnswerError(
                f"The list {name} ended before its own counter; the next run begins this part of the past again."
            )
        state = Backfill(format_time(goal), done=True)
        self._journal.move_backfill(name, what, state)
        rules.progress(_progress(self._source.name, name, rules.since, goal, goal), True)
        return state

    def _pages_of_one(self, http: t.Any, asked: Request, owner: Company | None) -> t.Iterator[Page]:
        """The pages of a request; what one company breaks does not stop the others."""
        try:
            yield from pages(self._source, self._set, asked, http)
        except SocError as exc:
            if not owner or not _is_about_the_company(exc):
                raise
            self._failures[owner.name] = exc

    # What becomes of them

    def take(
        self,
        page: Page,
        records: list,
        owner: Company | None = None,
        follow: bool = True,
        retried: t.Sequence[str] = (),
        only: frozenset[str] | None = None,
    ) -> list[str] | None:
        """Journal one page. The times of its records, or None when it brought nothing that this walk had not seen.

        ``follow`` says whether the cursor goes with it. ``retried`` are dead letters that the records come from, and
        ``only`` the companies that count.
        """
        now = self._clock()
        observed, before, skipped = format_time(now), len(self._unused), 0
        documents: list[tuple[Document, dict]] = []
        dead: list[DeadLetter] = []
        for record in records:
            try:
                if isinstance(record, tuple):
                    raise Malformed(record[1])
                if wanted(record, self._set, None if owner else _both(only, self._collected)):
                    company = owner or self._device(record)
                    document = normalise(
                        record, self._source, self._set, observed, self._journal.slug_of, company, self._names
                    )
                    documents.append((document, record))
                elif retried:
                    raise Malformed("it is not to be collected now")
                else:
                    skipped += 1
                    self._unused.add(content_digest(record))
            except Malformed as exc:
                dead.append(self._dead_letter(record, str(exc), observed, owner))
            except (TypeError, ValueError, OverflowError, RecursionError) as exc:
                reason = f"it cannot be handled ({exc.__class__.__name__})"
                dead.append(self._dead_letter(record, reason, observed, owner))
        malformed = len(dead)
        self._unused.update(letter.id for letter in dead)
        known = self._journal.known({document.id for document, _record in documents})
        if rules := self._set.derive:
            documents = [
                (
                    derive_state(
                        document, record, rules, known[document.id].note if document.id in known else None, now
                    ),
                    record,
                )
                for document, record in documents
            ]
        if retried:  # what was met since in a form that could be used is newer than the letter
            states = {entry[0].id: entry for entry in reversed(documents) if entry[0].kind != "event"}
            documents = [
                entry
                for entry in documents
                if entry[0].kind == "event" or (entry[0].id not in known and states[entry[0].id] is entry)
            ]
        met = [document for document, _record in documents]
        plan = plan_page(met, known, self._number, int(now.timestamp() * 1_000_000))
        dead += [self._clash(document, observed) for document in plan.clashes]
        self._unused.update(letter.id for letter in dead)
        dead += [letter for write in plan.writes for letter in self._misfits(write.document, observed)]
        if follow:
            self._see(met, observed)
        moved = Moved(
            cursor=Cursor(*self._high) if self._high and self._ordered and follow else None,
            retried=retried,
            positions=page.positions,
            lags=self._lags([write.document for write in plan.writes if write.new]) if follow else {},
        )
        tally, new = self._tally, sum(write.new for write in plan.writes)
        letters = self._journal.write_page(self._set.name, self._number, plan, dead, moved)
        tally.dead_letters += 0 if retried else letters
        tally.fetched += len(records)
        tally.new += new
        tally.changed += len(plan.writes) - new
        tally.known += plan.unchanged
        tally.skipped += skipped
        tally.malformed += malformed + len(plan.clashes)
        if self._offered is not None and follow:
            for document in met:
                self._offered[document.time[:13]].add(document.id)
            self._missed += sum(write.new and write.document.time < self._expected for write in plan.writes)
        if not records or not (plan.fresh or len(self._unused) > before):
            return None
        return [document.time for document in met]

    def _finish(self, reconciled: bool = False, whole: bool = True) -> None:
        """The walk came to its end: the cursor may go to the newest record, and what a snapshot lacks is gone."""
        name = self._set.name
        # An empty list, or one with records that cannot be read, does not say what is missing from it.
        if self._set.kind == "snapshot" and self._complete and self._tally.fetched and not self._tally.malformed:
            now = self._clock()
            while gone := self._journal.vanished(name, self._first, self._spared):
                self._journal.write_vanished(name, self._number, gone, now)
                self._tally.vanished += len(gone)
        if whole or self._set.files:
            cursor = Cursor(*self._high) if self._high and self._ended else None
            falling = self._falling and self._ended if self._to_the_end and self._set.newest_first else None
            self._journal.end_walk(name, cursor, whole, reconciled, falling)

    def _see(self, documents: list[Document], observed: str) -> None:
        """Remember the newest record, and whether the vendor lists them in order.

        While a search does, the cursor follows page by page. Out of order it waits for the end of the walk: a run that
        died before would start behind records that it never saw. A time in the future never counts: one probe with a
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

    def _lags(self, fresh: list[Document]) -> dict[int, int]:
        late = (lateness(parse_time(document.time), self._cursor) for document in fresh if self._cursor)
        return dict(collections.Counter(lag_bucket(seconds) for seconds in late if seconds is not None))

    def _device(self, record: t.Any) -> Company | None:
        """Whose device wrote a line: files do not say."""
        if not self._set.files:
            return None
        for key in ("serial", "host"):
            if record.get(key) in self._devices:
                return self._devices[record[key]]
        name = record.get("serial") or record.get("host")
        raise Malformed(f"the option devices does not say whose device {str(name)[:60]!r} is")

    def _dead_letter(self, record: t.Any, reason: str, observed: str, owner: Company | None = None) -> DeadLetter:
        kept = record = record[0] if isinstance(record, tuple) else record
        if isinstance(record, dict):  # what always moves must not make another letter of it at each run
            kept = {key: value for key, value in record.items() if key not in self._set.volatile | self._set.drop}
        try:
            whose = orjson.dumps([owner.id, owner.name]).decode() if owner else ""
            key, content = content_digest([self._set.name, whose, kept]), orjson.dumps(record)
            return DeadLetter(key, self._set.name, reason, observed, content, self._setup, whose)
        except TypeError:  # nested too deeply for orjson
            pass
        try:
            text = json.dumps(record, sort_keys=True)
        except RecursionError:  # and for anything else: what it calls itself must do
            text = json.dumps({"id": str(dig(record, self._set.id or ()))[:100], "nested": "too deeply to be kept"})
        return DeadLetter(content_digest([self._set.name, text]), self._set.name, reason, observed, text.encode())

    def _clash(self, document: Document, observed: str) -> DeadLetter:
        reason = (
            f"another event has its id {document.vendor_id[:60]!r}: the profile's id is too narrow, or this is no event"
        )
        original = document.source["event"]["original"].encode()
        return DeadLetter(content_digest([document.id, document.digest]), self._set.name, reason, observed, original)

    def _misfits(self, document: Document, observed: str) -> t.Iterator[DeadLetter]:
        """The document is indexed without them; the record is kept with each reason."""
        original = document.source["event"]["original"].encode()
        for reason in document.rejected:
            identity = content_digest([document.id, reason])
            yield DeadLetter(identity, self._set.name, reason, observed, original)


def _progress(source: str, name: str, since: datetime | None, at: datetime, goal: datetime) -> str:
    begin = t.cast(datetime, since)
    share = 1.0 if at >= goal else max(0.0, (at - begin) / (goal - begin))
    return f"{source} {name}: backfilled from {format_time(begin)} to {format_time(at)}, {share:.0%} of the way"


def _is_about_the_company(exc: SocError) -> bool:
    return isinstance(exc, AnswerError) or exc.details.get("status") == 403


def _both(some: frozenset[str] | None, others: frozenset[str] | None) -> frozenset[str] | None:
    return others if some is None else some if others is None else some & others
