# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""The collector watching itself: what a run did, sources that fell silent, look-backs that are too short, and counts.

All of it is pure: plain data and the time in, plain data and sentences out.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import statistics
import typing as t
from datetime import UTC, datetime, timedelta

from .._core.clock import format_time
from .._core.ids import document_id

PROBE_INDEX = "soc-probe"
HOUR = timedelta(hours=1)
COUNTED = ("fetched", "new", "changed", "known", "skipped", "malformed", "vanished", "dead_letters")


# What a run did


def probe_document(
    source: str, data_set: str, started: datetime, ended: datetime, tally: dict, facts: dict, tenant: dict
) -> tuple[str, dict]:
    """What one run did with one set, as a document of the index ``soc-probe`` with its id.

    ``tally`` holds the counters of the walk (see Tally; what is missing is 0). ``facts`` may hold ``waiting`` (documents
    of the source that are not shipped), ``newest`` (time of the newest record, datetime), ``gap`` and ``dup`` (of
    reconcile), ``silent`` (the sentence of silent()), ``error`` (code of what went wrong). ``tenant`` is the provider
    itself: {id, name}. The id follows from source, set and start, so that a run that is journaled twice is there once.
    """
    start, end = format_time(started), format_time(ended)
    identity = document_id(source, PROBE_INDEX, data_set, start)
    newest, error, silence = facts.get("newest"), facts.get("error"), facts.get("silent")
    body = {
        "@timestamp": end,
        "organization": {"id": tenant["id"], "name": tenant["name"]},
        "event": {
            "id": identity,
            "kind": "metric",
            "module": source,
            "dataset": "soc.probe",
            "ingested": end,
            "start": start,
            "end": end,
            "duration": max(0, round((ended - started) / timedelta(microseconds=1))) * 1000,  # ECS counts nanoseconds
            "outcome": "failure" if error else "success",
        },
        "soc": {
            "id": identity,
            "set": data_set,
            "run": {
                "source": source,
                "set": data_set,
                **{name: int(tally.get(name) or 0) for name in COUNTED},
                "waiting": int(facts.get("waiting") or 0),
                "lag": round((ended - newest).total_seconds(), 3) if newest else None,
                "gap": facts.get("gap"),
                "dup": facts.get("dup"),
                "silent": bool(silence),
                "error": error,
            },
        },
    }
    if silence:
        body["message"] = silence
    return identity, body


# Silence


@dataclasses.dataclass(frozen=True)
class SilenceRules:
    """When silence is not chance.

    ``chance`` is the probability below which we do not believe in it; ``days`` is how far back the usual rate is read,
    ``history`` how much of that must be there before it is judged at all. What lasted for less than ``at_least`` is no
    silence: a set that is read once a day is new once a day. ``silent_after`` is a limit that a person set: it counts
    whatever the rate.
    """

    chance: float = 0.001
    days: int = 7
    history: timedelta = timedelta(days=2)
    at_least: timedelta = timedelta(0)
    silent_after: timedelta | None = None


@dataclasses.dataclass(frozen=True)
class Silence:
    """Nothing new came since ``since``; by the usual rate ``expected`` records should have. ``sentence`` tells it."""

    since: datetime
    expected: float
    sentence: str


def silent(
    counts: t.Mapping[datetime, int], newest: datetime | None, now: datetime, rules: SilenceRules = SilenceRules()
) -> Silence | None:
    """Whether nothing came for so long that it is not chance.

    ``counts`` are records by the full hour (UTC) of their own time, at least those of ``rules.days`` days before
    ``newest``; an hour that is not there had none. ``newest`` is the time of the newest record, or of the first walk
    where no record ever came (None: nothing to judge by).

    A stretch in which ``expected`` records usually come stays empty with the probability exp(-expected) (Poisson), so
    with a chance of 0.001 the alarm comes when 6.9 were to be expected. The usual rate is that of the same hour of
    the day, on working days or at the weekend: quiet nights and weekends raise no alarm, and neither does a weekend
    when none was ever seen.
    """
    if newest is None or newest >= now:
        return None
    lasted = now - newest
    expected, history = _expected(counts, newest, now, rules)
    begin = f"Nothing new came since {newest.astimezone(UTC):%Y-%m-%d %H:%M} UTC, for {duration(lasted)}"
    advice = "Check at the vendor that it still sees what happens and serves it."
    if rules.silent_after is not None and lasted > rules.silent_after:
        return Silence(newest, expected, f"{begin}; at most {duration(rules.silent_after)} is allowed. {advice}")
    if lasted < rules.at_least or history < rules.history or math.exp(-expected) >= rules.chance:
        return None
    return Silence(newest, expected, f"{begin}; usually some {expected:.0f} records come in such a time. {advice}")


def _expected(
    counts: t.Mapping[datetime, int], newest: datetime, now: datetime, rules: SilenceRules
) -> tuple[float, timedelta]:
    """How many records usually come between ``newest`` and ``now``, and how long a history that rests on."""
    end = newest.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    known = [hour for hour, number in counts.items() if number and hour < end]
    if not known:
        return 0.0, timedelta(0)
    start = max(min(known), end - timedelta(days=rules.days))
    # A storm must not teach that storms are usual: an hour counts for three busy hours at most.
    busy = [counts[hour] for hour in known if hour >= start]
    most = max(3.0, 3 * statistics.median(busy)) if busy else 0.0
    sums: dict[tuple[bool, int], float] = collections.defaultdict(float)
    hours: collections.Counter[tuple[bool, int]] = collections.Counter()
    for hour in _hours(start, end):  # without the hour in which the silence began: it is half full
        hours[_kind(hour)] += 1
        sums[_kind(hour)] += min(counts.get(hour, 0), most)
    expected = 0.0
    for hour in _hours(end, now):
        if hours[_kind(hour)]:
            share = (min(now, hour + HOUR) - max(newest, hour)) / HOUR
            expected += share * sums[_kind(hour)] / hours[_kind(hour)]
    return expected, end - start


def _hours(start: datetime, end: datetime) -> t.Iterator[datetime]:
    while start < end:
        yield start
        start += HOUR


def _kind(hour: datetime) -> tuple[bool, int]:
    return hour.weekday() >= 5, hour.hour


def duration(span: timedelta) -> str:
    """``span`` as a person says it: 45 seconds, 12 minutes, 5.5 hours, 3 days."""
    seconds = span.total_seconds()
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{round(seconds / size, 1):g} {unit}"
    return f"{round(seconds):g} seconds"


# The look-back


def lateness(time: datetime, cursor: datetime | None) -> float | None:
    """By how many seconds a record that is new to the journal came behind the cursor with which its walk began.

    This is what a look-back must cover, and unlike the age of a record it holds neither our own pauses nor our
    rhythm. None in a first walk, where everything is old.
    """
    return None if cursor is None else max(0.0, (cursor - time).total_seconds())


def lag_bucket(seconds: float) -> int:
    """The bucket of ``seconds`` in a histogram of powers of two: 0 holds up to 1 s, n holds 2**(n-1) to 2**n s."""
    return max(0, math.ceil(math.log2(seconds))) if seconds > 1 else 0


def percentile(buckets: t.Mapping[int, int], share: float) -> float | None:
    """The seconds below which ``share`` (0 to 1) of what is in ``buckets`` lies, evenly spread within a bucket."""
    rank = share * sum(buckets.values())
    for bucket, number in sorted(buckets.items()):
        if number and rank <= number:
            low = 2.0 ** (bucket - 1) if bucket else 0.0
            return low + (2.0**bucket - low) * rank / number
        rank -= number
    return None


def look_back_advice(buckets: t.Mapping[int, int], look_back: timedelta, least: int = 1000) -> str | None:
    """A sentence when ``look_back`` is less than twice the 99.9th percentile of lateness; None when it is enough.

    Below ``least`` records there is no such percentile to speak of.
    """
    if sum(buckets.values()) < least:
        return None
    late = percentile(buckets, 0.999)
    if late is None or look_back.total_seconds() >= 2 * late:
        return None
    wanted = math.ceil(2 * late / 60)
    return (
        f"One record in a thousand comes more than {duration(timedelta(seconds=late))} late, and the look-back is"
        f" {duration(look_back)}: records may be missed. Set look_back to {wanted}m."
    )


# Counting what is there


@dataclasses.dataclass(frozen=True)
class Hour:
    """One hour of three ledgers. ``hour`` is None in the line of totals.

    ``gap`` is what is at the vendor and not in the journal, and what is in the journal and not in the index; ``dup``
    what the index has beyond the journal. ``index`` is None where the index was not asked.
    """

    hour: datetime | None
    vendor: int
    journal: int
    index: int | None
    gap: int
    dup: int
    missing: tuple[str, ...] = ()  # ids that the journal lacks

    @property
    def differs(self) -> bool:
        """Whether there is anything to look into."""
        return bool(self.gap or self.dup)


def reconcile(
    vendor: t.Mapping[datetime, t.Collection[str]],
    journal: t.Mapping[datetime, t.Collection[str]],
    index: t.Mapping[datetime, int] | None,
    excused: t.Collection[str] = (),
) -> list[Hour]:
    """The three ledgers of one set, hour by hour, oldest first.

    ``vendor`` are the document ids of a whole walk, by the full hour (UTC) of the record's time; ``journal`` those of
    the journal's rows, for the same stretch of time; ``index`` what Elasticsearch counts by hour, or None when
    it was not asked or not everything is shipped. The stretch must not reach back to what was pruned. ``excused`` are
    ids that are rightly not in the journal's rows: dead letters, other levels, other companies.

    By id and not by number: one record too few and another too many in an hour are two faults and not none. A record
    whose time was corrected since counts as there, in whatever hour the journal has it.
    """
    there = set(excused).union(*journal.values())
    rows = []
    for hour in sorted({*vendor, *journal, *(index or ())}):
        offered, kept = set(vendor.get(hour, ())), set(journal.get(hour, ()))
        missing = tuple(sorted(offered - there))
        found = None if index is None else index.get(hour, 0)
        short = 0 if found is None else len(kept) - found
        gap, dup = len(missing) + max(0, short), max(0, -short)
        rows.append(Hour(hour, len(offered), len(kept), found, gap, dup, missing))
    return rows


def totals(rows: t.Sequence[Hour]) -> Hour:
    """All of ``rows`` in one line."""
    found = [row.index for row in rows if row.index is not None]
    return Hour(
        None,
        sum(row.vendor for row in rows),
        sum(row.journal for row in rows),
        sum(found) if found else None,
        sum(row.gap for row in rows),
        sum(row.dup for row in rows),
        tuple(key for row in rows for key in row.missing),
    )


def table(rows: t.Sequence[Hour]) -> str:
    """``rows`` for a person: the hours with a difference, and the totals."""
    lines = [f"{'hour (UTC)':<16} {'vendor':>8} {'journal':>8} {'index':>8} {'gap':>6} {'dup':>6}"]
    for row in [*(row for row in rows if row.differs), totals(rows)]:
        name = f"{row.hour:%Y-%m-%d %H:%M}" if row.hour else "total"
        found = "-" if row.index is None else row.index
        lines.append(f"{name:<16} {row.vendor:>8} {row.journal:>8} {found:>8} {row.gap:>6} {row.dup:>6}")
    return "\n".join(lines)
