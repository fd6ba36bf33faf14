# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""From the archive and the journal to Elasticsearch again: any span of what was ever collected, as often as you like.

What is sent are the very bytes of the journal. Events are created, and "already there" is success; everything else has
an external version, so that an older one never replaces a newer one. The order in which blocks arrive therefore does
not matter, and several are on their way at once. A run that died is simply run again.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import fnmatch
import os
import re
import sqlite3
import time
import typing as t
from datetime import timedelta

from .._core.argspec import ArgumentSpec, common, elasticsearch
from .._core.clock import format_time, parse_time
from .._core.elastic import BulkOutcome, Elastic, connect
from .._core.errors import AnswerError, ArchiveError, AuthError, ConfigError, SocError, StateError
from .._core.ids import check_index_pattern
from .._core.libraries import need
from .._core.module import Run
from .._core.reach import Reach, nowhere
from .._core.secrets import excerpt
from .._core.state import FILE_MODE, ensure_folder, lock, open_read_only
from .archive import (
    COLLECTED,
    Contents,
    Manifest,
    Operation,
    Survey,
    blocks_of,
    operations,
    raw_blocks,
    read_manifest,
    sealed_numbers,
    sealed_path,
    verified,
)
from .ship import unfit

MAX_WORKERS = 8
# Seconds between two lines of progress.
EVERY = 5.0
PROGRESS = "replay.progress.log"


def argument_spec() -> ArgumentSpec:
    """Options of C(soc_replay)."""
    own = ArgumentSpec(
        {
            "source": {"type": "str", "required": True},
            "since": {"type": "str"},
            "until": {"type": "str"},
            "indices": {"type": "list", "elements": "str", "default": []},
            "workers": {"type": "int", "default": 2},
            "archive_dir": {"type": "path", "default": "/srv/soc/archive"},
            "state_dir": {"type": "path", "default": "/var/lib/soc"},
            "log_dir": {"type": "path", "default": "/var/log/soc"},
        }
    )
    return own.merge(elasticsearch()).merge(common())


# The plan


@dataclasses.dataclass(frozen=True)
class Span:
    """Times of documents as format_time() writes them: from ``since`` up to, and without, ``until``; None is no limit."""

    since: str | None = None
    until: str | None = None

    def __contains__(self, moment: str) -> bool:
        return (self.since is None or self.since <= moment) and (self.until is None or moment < self.until)


@dataclasses.dataclass(frozen=True)
class Segment:
    """One segment of a source. It is sealed in ``path``, and has a manifest, or is still the journal's own file ``raw``."""

    number: int
    path: str
    contents: Contents
    manifest: Manifest | None = None
    raw: str = ""


@dataclasses.dataclass(frozen=True)
class Part:
    """A segment to be sent, all of it or what is wanted; ``documents`` is how many that are at most."""

    segment: Segment
    whole: bool
    documents: int

    def describe(self) -> dict:
        """For people and results."""
        contents = self.segment.contents
        return {
            "segment": self.segment.number,
            "path": self.segment.raw or self.segment.path,
            "sealed": not self.segment.raw,
            "whole": self.whole,
            "documents": self.documents,
            "oldest": contents.first[0] if contents.first else None,
            "newest": contents.last[0] if contents.last else None,
        }


@dataclasses.dataclass(frozen=True)
class Plan:
    """What will be sent, in the order of segments."""

    parts: tuple[Part, ...]
    span: Span
    patterns: tuple[str, ...]

    @property
    def documents(self) -> int:
        """How many documents will be read; those of a filtered segment count all."""
        return sum(part.segment.contents.documents for part in self.parts)


def make_plan(segments: t.Iterable[Segment], span: Span, patterns: t.Sequence[str]) -> Plan:
    """Which segments hold anything that is wanted, and which of them may be sent as they are. Pure.

    ``patterns`` name indices; none means all of them.
    """
    parts = []
    for segment in segments:
        contents = segment.contents
        names = {name: count for name, count in contents.indices.items() if matches(name, patterns)}
        if not contents.first or not contents.last or not names:
            continue
        oldest, newest = contents.first[0], contents.last[0]
        if (span.since is not None and newest < span.since) or (span.until is not None and oldest >= span.until):
            continue
        whole = oldest in span and newest in span and len(names) == len(contents.indices)
        parts.append(Part(segment, whole, sum(names.values())))
    return Plan(tuple(parts), span, tuple(patterns))


def matches(name: str, patterns: t.Sequence[str]) -> bool:
    """Whether the index ``name`` is wanted."""
    return not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def span_of(params: dict) -> Span:
    """The options ``since`` and ``until``. Raises ConfigError."""
    limits = {}
    for name in ("since", "until"):
        try:
            limits[name] = format_time(parse_time(params[name])) if params[name] else None
        except ValueError as exc:
            raise ConfigError(
                f"The option {name} is not a time: {exc}. Give ISO 8601, such as 2026-11-20T00:00:00Z."
            ) from exc
    if limits["since"] and limits["until"] and limits["since"] >= limits["until"]:
        raise ConfigError(f"since ({limits['since']}) is not before until ({limits['until']}): nothing lies between.")
    return Span(**limits)


# What there is


def find_segments(archive_dir: str, state_dir: str, source: str) -> tuple[list[Segment], dict[str, SocError]]:
    """Every segment of ``source``, and those that cannot be used with the reason, by file name.

    The sealed ones are as their manifests say. Of the journal's own files only what its database vouches for counts;
    they are read once to see what is in them. Raises ConfigError where there is nothing of that name at all.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", source):
        raise ConfigError(f"The source {source!r} is not a name: give the name of a source, such as cyberalarm.")
    folder, state = os.path.join(archive_dir, COLLECTED), os.path.join(state_dir, source)
    if not os.path.isdir(os.path.join(folder, source)) and not os.path.isdir(state):
        raise ConfigError(
            f"Nothing of {source} is in {folder} or {state_dir}: check source, archive_dir and state_dir."
        )
    # In this order: a segment that is sealed meanwhile is in one of the two lists, or in both.
    recorded = _recorded(state)
    found, failures = [], {}
    for number in sorted({*recorded, *sealed_numbers(folder, source)}):
        try:
            raw = os.path.join(state, "segments", f"{number:08d}.ndjson")
            found.append(_segment(number, sealed_path(folder, source, number), raw, recorded.get(number)))
        except SocError as exc:
            failures[f"{number:08d}"] = exc
    return found, failures


def _segment(number: int, path: str, raw: str, length: int | None) -> Segment:
    try:
        return _sealed(path)
    except StateError:
        if length is None:
            raise
    survey = Survey()
    try:
        for block in raw_blocks(raw, length):
            survey.add(block)
    except FileNotFoundError as exc:
        with contextlib.suppress(StateError):
            return _sealed(path)  # a collecting run did that this very moment
        raise StateError(f"The journal's segment {raw} is lost. Restore it from a backup of the state folder.") from exc
    except OSError as exc:
        raise StateError(f"The journal's segment {raw} cannot be read: {exc.strerror}.") from exc
    return Segment(number, path, survey.contents(), raw=raw)


def _sealed(path: str) -> Segment:
    manifest = read_manifest(path)
    return Segment(manifest.segment, path, manifest.contents, manifest)


def _recorded(state: str) -> dict[int, int]:
    """How many bytes the journal in ``state`` vouches for, of each segment that it has not sealed."""
    path = os.path.join(state, "journal.sqlite")
    if not os.path.exists(path):
        return {}
    try:
        with contextlib.closing(open_read_only(path)) as database:
            return dict(database.execute("SELECT segment, MAX(start + length) FROM page GROUP BY segment").fetchall())
    except sqlite3.Error as exc:
        raise StateError(f"The journal in {path} cannot be read: {exc}. Restore it from a backup.") from exc


# Reading what is wanted


@dataclasses.dataclass(frozen=True)
class Batch:
    """One call's worth of operations, those that must not be sent, and how many were read to find them."""

    part: Part
    wanted: list[Operation]
    faults: list[Operation]
    read: int


def batches(plan: Plan, part: Part) -> t.Iterator[Batch]:
    """What is wanted of ``part``, block by block. Raises ArchiveError and StateError where it is damaged.

    The checksum of a sealed segment is compared before its first block is given.
    """
    read = 0
    for block in _blocks(part.segment):
        found = list(operations(block))
        read += len(found)
        faults = [entry for entry in found if entry.fault]
        if faults or not part.whole:
            found = [entry for entry in found if not entry.fault and _is_wanted(plan, entry)]
        yield Batch(part, found, faults, block.count(b"\n") // 2)
    if read != part.segment.contents.documents:
        raise StateError(
            f"The segment {part.segment.path} holds {read} documents and not {part.segment.contents.documents}: it was damaged from outside."
        )


def _is_wanted(plan: Plan, entry: Operation) -> bool:
    return entry.time in plan.span and matches(entry.index, plan.patterns)


def _blocks(segment: Segment) -> t.Iterator[bytes]:
    manifest = segment.manifest
    if segment.raw:
        try:
            yield from raw_blocks(segment.raw, segment.contents.raw_bytes)
            return
        except FileNotFoundError:  # a collecting run has sealed it meanwhile
            manifest = read_manifest(segment.path)
        except OSError as exc:
            raise StateError(f"The journal's segment {segment.raw} cannot be read: {exc.strerror}.") from exc
    if manifest is None:
        raise StateError(f"The segment {segment.path} has no manifest. Restore it from a backup of the archive.")
    with verified(manifest) as handle:
        yield from blocks_of(handle, segment.path)


# Sending


@dataclasses.dataclass
class Tally:
    """What became of the operations of one segment."""

    sent: int = 0
    indexed: int = 0
    already: int = 0
    refused: int = 0


class Outcome:
    """What became of everything, put together as the answers come."""

    def __init__(self) -> None:
        self.segments: dict[int, Tally] = collections.defaultdict(Tally)
        self.indices: collections.Counter[str] = collections.Counter()
        self.refusals: dict[str, dict] = {}
        self.failures: dict[str, SocError] = {}

    def total(self, what: str) -> int:
        """Sum over all segments of ``sent``, ``indexed``, ``already`` or ``refused``."""
        return sum(getattr(tally, what) for tally in self.segments.values())

    def add(self, batch: Batch, answer: BulkOutcome) -> None:
        """Take in the answer to one batch. Raises where Elasticsearch refuses what is right, now or for this identity."""
        tally = self.segments[batch.part.segment.number]
        for entry in batch.faults:
            self._refuse(tally, entry.fault, f"a line of {batch.part.segment.path}")
        tally.sent += len(batch.wanted)
        for position, (entry, status) in enumerate(zip(batch.wanted, answer.statuses)):
            if status in (200, 201):
                tally.indexed += 1
                self.indices[entry.index] += 1
            elif status == 409:
                tally.already += 1
            else:
                reason = answer.reasons.get(position, f"status {status}")
                unfit(status, reason, "Run again later.")
                kind, _colon, words = reason.partition(": ")
                self._refuse(tally, kind, f"{entry.index}/{entry.id}: {words}")

    def _refuse(self, tally: Tally, reason: str, example: str) -> None:
        tally.refused += 1
        entry = self.refusals.setdefault(reason, {"count": 0, "example": excerpt(example, (), 300)})
        entry["count"] += 1


# What one call of Elasticsearch answers to a batch.
Call = t.Callable[[Elastic, list[Operation]], BulkOutcome]


def load(elastic: Elastic, wanted: list[Operation]) -> BulkOutcome:
    """Send the operations. Raises AuthError, AnswerError, Unreachable."""
    return elastic.bulk(b"".join([entry.payload for entry in wanted]))


def foretell(elastic: Elastic, wanted: list[Operation]) -> BulkOutcome:
    """What C(load) would answer, without writing. The identity needs C(read). Raises like C(load)."""
    answer = elastic.call(
        "mget",
        docs=[{"_index": entry.index, "_id": entry.id} for entry in wanted],
        source=False,
        filter_path="docs.found,docs._version,docs.error.type",
    )
    statuses = []
    for entry, item in zip(wanted, answer["docs"]):
        kind = item.get("error", {}).get("type", "index_not_found_exception")
        if kind == "security_exception":
            raise AuthError("Elasticsearch does not let this identity read. It needs read on soc-*.")
        if kind != "index_not_found_exception":
            raise AnswerError(f"Elasticsearch cannot say what it holds: {kind}.")
        held = item.get("found") and (entry.version is None or item["_version"] >= entry.version)
        statuses.append(409 if held else 201)
    return BulkOutcome(statuses, {})


class Progress:
    """Lines that a person can watch with C(tail -f), one every few seconds and one at the end.

    ``ticks`` is a clock of seconds for rates. A log that cannot be written is told once, and the work goes on.
    """

    def __init__(self, run: Run, title: str, plan: Plan, ticks: t.Callable[[], float]) -> None:
        self._title, self._total, self._clock, self._ticks = title, plan.documents, run.clock, ticks
        self._order = {part.segment.number: position for position, part in enumerate(plan.parts, 1)}
        self._done, self._began = 0, ticks()
        self._last = self._began
        self._handle: int | None = None
        if run.check_mode:
            return
        path = os.path.join(run.params["log_dir"], PROGRESS)
        try:
            ensure_folder(run.params["log_dir"])
            self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
        except (OSError, SocError) as exc:
            run.warn(f"The progress of this run cannot be followed, because {path} cannot be written: {exc}")

    def step(self, number: int, documents: int) -> None:
        """``documents`` more of segment ``number`` are done with."""
        self._done += documents
        now = self._ticks()
        if now - self._last >= EVERY:
            self._last = now
            text = progress_text(self._order[number], len(self._order), self._done, self._total, now - self._began)
            self._write(text)

    def close(self, text: str) -> None:
        """The last line."""
        self._write(text)
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _write(self, text: str) -> None:
        if self._handle is not None:
            with contextlib.suppress(OSError):  # a full disk must not end the loading
                os.write(self._handle, f"{format_time(self._clock())} {self._title}: {text}\n".encode())


def progress_text(segment: int, segments: int, done: int, total: int, seconds: float) -> str:
    """One line of progress: how far, how fast, how long it will take. Pure."""
    rate = done / seconds if seconds > 0 else 0.0
    left = f", {timedelta(seconds=round((total - done) / rate))} left" if rate else ""
    return (
        f"segment {segment} of {segments}, {done} of {total} documents, {100 * done / max(total, 1):.1f} %,"
        f" {rate:.0f} a second{left}"
    )


def send(plan: Plan, elastic: Elastic, call: Call, workers: int, progress: Progress, reach: Reach = nowhere) -> Outcome:
    """Give everything in ``plan`` to ``call``: one thread reads, ``workers`` send, so that both go on at once.

    What is damaged does not stop the rest. When Elasticsearch takes nothing any more, what is on its way is waited
    for, and the rest is left. Either is in the ``failures`` of the outcome.
    """
    outcome = Outcome()
    pending: dict[concurrent.futures.Future[BulkOutcome], Batch] = {}

    def settle(limit: int) -> None:
        while len(pending) > limit:
            done, _rest = concurrent.futures.wait(pending, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                batch = pending.pop(future)
                outcome.add(batch, future.result())
                reach("after_bulk")
                progress.step(batch.part.segment.number, batch.read)

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        try:
            for part in plan.parts:
                try:
                    for batch in batches(plan, part):
                        settle(workers - 1)
                        reach("before_bulk")
                        pending[pool.submit(_call, call, elastic, batch.wanted)] = batch
                except (ArchiveError, StateError) as exc:
                    outcome.failures[f"{part.segment.number:08d}"] = exc
            settle(0)
        except SocError as exc:
            outcome.failures["elasticsearch"] = exc
            while pending:
                with contextlib.suppress(SocError):
                    settle(0)
    return outcome


def _call(call: Call, elastic: Elastic, wanted: list[Operation]) -> BulkOutcome:
    return call(elastic, wanted) if wanted else BulkOutcome([], {})


# The module


def replay(run: Run, reach: Reach = nowhere, ticks: t.Callable[[], float] = time.monotonic) -> dict:
    """The whole run of C(soc_replay). Returns the module's result; see the RETURN of the module."""
    need("elasticsearch", "orjson")
    params = run.params
    span, patterns = span_of(params), [check_index_pattern(pattern) for pattern in params["indices"]]
    if not 1 <= params["workers"] <= MAX_WORKERS:
        raise ConfigError(f"workers is {params['workers']}: give a number from 1 to {MAX_WORKERS}.")
    elastic = connect(params)
    with contextlib.ExitStack() as stack:
        segments, failures = find_segments(params["archive_dir"], params["state_dir"], params["source"])
        if not run.check_mode:
            stack.enter_context(lock(os.path.join(params["state_dir"], "replay", "lock")))
        plan = make_plan(segments, span, patterns)
        progress = Progress(run, params["source"], plan, ticks)
        outcome = send(plan, elastic, foretell if run.check_mode else load, params["workers"], progress, reach)
        if run.check_mode and isinstance(outcome.failures.get("elasticsearch"), AuthError):
            run.warn(
                "This identity may not read soc-*, so nobody can say what Elasticsearch has already: all of the plan is told as missing."
            )
            outcome = _all_missing(plan)
        outcome.failures = {**failures, **outcome.failures}
        result = _result(run, plan, outcome)
        progress.close(_last_words(result))
        return result


def _all_missing(plan: Plan) -> Outcome:
    outcome = Outcome()
    for part in plan.parts:
        outcome.segments[part.segment.number] = Tally(part.documents, part.documents)
        for name, count in part.segment.contents.indices.items():
            if matches(name, plan.patterns):
                outcome.indices[name] += count
    return outcome


def _result(run: Run, plan: Plan, outcome: Outcome) -> dict:
    source = run.params["source"]
    told = []
    for part in plan.parts:
        tally = dataclasses.asdict(outcome.segments[part.segment.number])
        told.append({**part.describe(), **tally})
    result: dict = {
        "changed": outcome.total("indexed") > 0,
        "segments": told,
        "documents": outcome.total("sent"),
        "indexed": outcome.total("indexed"),
        "already_indexed": outcome.total("already"),
        "refused": outcome.total("refused"),
        "refusals": [{"reason": reason, **entry} for reason, entry in outcome.refusals.items()],
        "diff": {
            "before": {},
            "after": {name: {"indexed": count} for name, count in sorted(outcome.indices.items())},
        },
    }
    if result["refused"]:
        run.warn(f"{result['refused']} documents of {source} can never be taken by Elasticsearch; see refusals.")
    if outcome.failures:
        first = next(iter(outcome.failures.values()))
        reasons = "; ".join(f"{what}: {exc.message}" for what, exc in outcome.failures.items())
        result["failure"] = {
            "code": first.code,
            "message": f"{source} was not loaded whole: {reasons} Run again when that is put right; what is there already is skipped.",
            "details": {what: exc.as_dict() for what, exc in outcome.failures.items()},
        }
    return result


def _last_words(result: dict) -> str:
    figures = ", ".join(
        f"{result[name]} {words}"
        for name, words in (("indexed", "indexed"), ("already_indexed", "already there"), ("refused", "refused"))
    )
    return f"{'stopped' if result.get('failure') else 'done'}: {result['documents']} documents sent, {figures}"
