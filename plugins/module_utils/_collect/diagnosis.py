# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""What to make of what soc_doctor saw: verdicts on a vendor as a whole, on Elasticsearch, and on this machine. Pure.

What to make of a single data set is in claims.py.

Text of a vendor comes into a sentence only as a shortened, printable name of a field.
"""

from __future__ import annotations

import collections
import dataclasses
import textwrap
import typing as t
from datetime import datetime, timedelta

from .._core.clock import parse_time
from .._core.secrets import excerpt
from .claims import FAIL, OK, UNKNOWN, WARN, Finding, Reply, SetLook, answered, having, judge_set, no_list
from .profile import compile_paths, records_of
from .watch import duration, look_back_advice

MAX_SKEW = timedelta(seconds=30)
CERTIFICATE_SOON = timedelta(days=21)
QUIET_FILES = timedelta(hours=24)
SPACE_LOW, SPACE_OUT = 1 << 30, 100 << 20  # bytes
LATE_RUNS = 3  # a set that missed so many of its runs is not collected any more
NEEDED = ("create_index", "index")
WIDTH = 100


@dataclasses.dataclass(frozen=True)
class FilesLook:
    """The files that set ``name`` is read from: path, whether we may read it, when it was last written to."""

    name: str
    files: tuple[tuple[str, bool, datetime], ...]


@dataclasses.dataclass(frozen=True)
class Certificate:
    """Until when the certificate of ``what`` is valid, or why that cannot be said."""

    what: str
    until: datetime | None
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class ElasticLook:
    """Elasticsearch as the collector's identity sees it. None is what could not be asked."""

    error: str | None = None
    status: str | None = None
    may: t.Mapping[str, bool] | None = None
    template: bool | None = None
    fields: tuple[str, ...] | None = None  # fields that the mapping lacks or has otherwise


@dataclasses.dataclass(frozen=True)
class JournalLook:
    """A journal: documents that wait, dead letters (set, reason, number), last whole walk and lags of each set."""

    waiting: int = 0
    dead: tuple[tuple[str, str, int], ...] = ()
    walks: t.Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    lags: t.Mapping[str, t.Mapping[int, int]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Facts:
    """Everything that was seen. ``journal`` is None where nothing was collected yet, or the reason it cannot be read.

    ``free`` is the space for the state in bytes, ``modes`` are the file modes of secrets by path.
    """

    now: datetime
    source: str
    look_back: timedelta
    sets: tuple[SetLook, ...] = ()
    files: tuple[FilesLook, ...] = ()
    companies: tuple[dict, Reply] | None = None  # the profile's entry, and the answer
    certificates: tuple[Certificate, ...] = ()
    elastic: ElasticLook = ElasticLook()
    journal: JournalLook | str | None = None
    free: int | None = None
    modes: t.Mapping[str, int] = dataclasses.field(default_factory=dict)


def judge(facts: Facts) -> list[Finding]:
    """Every finding, those about the vendor as a whole first."""
    certificates = [_certificate(entry, facts.now) for entry in facts.certificates]
    found = [*_vendor(facts), *(entry for entry in certificates if entry.what == facts.source)]
    if facts.companies:
        found += _companies(*facts.companies)
    for look in facts.sets:
        found += judge_set(look)
    found += [_files(entry, facts.now) for entry in facts.files]
    found += [entry for entry in certificates if entry.what != facts.source]
    return [*found, *_elastic(facts.elastic), *_journal(facts), *_machine(facts)]


# The vendor as a whole


def _vendor(facts: Facts) -> t.Iterator[Finding]:
    replies = {look.data_set.name: look.first[0] for look in facts.sets}
    if facts.companies:
        replies["the companies"] = facts.companies[1]
    if not replies:
        return
    refused = sorted(name for name, reply in replies.items() if reply.status == 401)
    forbidden = sorted(name for name, reply in replies.items() if reply.status == 403)
    silent = [reply for reply in replies.values() if reply.status is None]
    if len(silent) == len(replies):
        yield Finding("answer", facts.source, FAIL, silent[0].text)
    if refused:
        yield Finding(
            "token",
            facts.source,
            FAIL,
            f"The vendor does not know the credentials, or they have expired (401 for {_some(refused)}). Get new ones.",
        )
    if forbidden:
        yield Finding(
            "token",
            facts.source,
            FAIL,
            f"The credentials are known but may not read {_some(forbidden)} (403). Ask the vendor for that right.",
        )
    if not refused and not forbidden and any(reply.good for reply in replies.values()):
        yield Finding("token", facts.source, OK, "The vendor takes the credentials.")
    skews = [reply.skew for reply in replies.values() if reply.skew is not None]
    if not skews:
        yield Finding("clock", facts.source, UNKNOWN, "The vendor's answers do not say what time it is there.")
        return
    skew = sorted(skews)[len(skews) // 2]
    size, way = duration(timedelta(seconds=abs(skew))), "ahead of" if skew > 0 else "behind"
    if abs(skew) > MAX_SKEW.total_seconds():
        advice = "Check the time of this machine (chrony, NTP), then ask the vendor."
        yield Finding("clock", facts.source, WARN, f"The vendor's clock is {size} {way} ours. {advice}")
    else:
        yield Finding("clock", facts.source, OK, f"The vendor's clock and ours differ by {size}.")


def _certificate(entry: Certificate, now: datetime) -> Finding:
    if entry.until is None:
        return Finding("certificate", entry.what, UNKNOWN, entry.reason)
    left, day = entry.until - now, f"{entry.until:%Y-%m-%d}"
    if left < timedelta(0):
        return Finding("certificate", entry.what, FAIL, f"The certificate has expired on {day}. Renew it.")
    if left < CERTIFICATE_SOON:
        text = f"The certificate expires on {day}, in {duration(left)}. See to it that it is renewed."
        return Finding("certificate", entry.what, WARN, text)
    return Finding("certificate", entry.what, OK, f"The certificate is valid until {day}.")


def _companies(rules: dict, reply: Reply) -> list[Finding]:
    what = "list of companies"
    answer = answered(reply, what)
    if answer.verdict != OK:
        return [answer]
    records = records_of(reply.answer, rules["envelope"])
    if records is None:
        return [answer, no_list(what, rules["envelope"])]
    found = [answer]
    for name in ("id", "name", "flag"):
        if rules.get(name):
            found += having(what, name, rules[name], compile_paths(rules[name]), records)
    return found


# Files that are read, and Elasticsearch


def _files(look: FilesLook, now: datetime) -> Finding:
    """Where records come from files, there must be some, we must be let in, and somebody must write to them."""
    if not look.files:
        text = "No file fits the option syslog_files. Have the firewall send its log here, or leave this set out."
        return Finding("files", look.name, WARN, text)
    if closed := [path for path, readable, _written_at in look.files if not readable]:
        text = (
            f"{len(closed)} of {len(look.files)} files cannot be read, such as {closed[0]}. Let the SOC user read them."
        )
        return Finding("files", look.name, FAIL, text)
    age = now - max(written for _path, _readable, written in look.files)
    if age > QUIET_FILES:
        text = f"Nothing was written to {len(look.files)} files for {duration(age)}. Check that the firewall sends its log."
        return Finding("files", look.name, WARN, text)
    text = f"{len(look.files)} files can be read, the newest was written {duration(max(age, timedelta(0)))} ago."
    return Finding("files", look.name, OK, text)


def _elastic(look: ElasticLook) -> t.Iterator[Finding]:
    what = "elasticsearch"
    if look.error:
        yield Finding("answer", what, FAIL, look.error)
        return
    if look.status == "red":
        text = "The cluster is red: some indices cannot be written. Look at GET _cluster/allocation/explain."
        yield Finding("answer", what, WARN, text)
    else:
        yield Finding(
            "answer", what, OK, f"Elasticsearch answers{f', its state is {look.status}' if look.status else ''}."
        )
    if look.may is None:
        yield Finding("privileges", what, UNKNOWN, "Elasticsearch does not say what this identity may do.")
    elif lacking := [name for name in NEEDED if not look.may.get(name)]:
        text = f"This identity lacks {' and '.join(lacking)} on the indices of this source. Give it a role with both."
        yield Finding("privileges", what, FAIL, text)
    elif look.may.get("delete"):
        text = "This identity may also delete documents. Give the collector one that may only create and replace them."
        yield Finding("privileges", what, WARN, text)
    else:
        yield Finding("privileges", what, OK, "This identity may write what is collected, and delete nothing.")
    if look.template is None:
        yield Finding("template", what, UNKNOWN, "This identity may not read index templates.")
    elif not look.template:
        yield Finding("template", what, FAIL, "The index templates are not there. Deploy them with site.yml.")
    elif look.fields:
        text = f"The index templates differ from this version of the collection ({_some(list(look.fields))})."
        yield Finding("template", what, WARN, f"{text} Deploy them with site.yml.")
    elif look.fields is None:
        yield Finding("template", what, OK, "The index template is in place.")
    else:
        yield Finding("template", what, OK, "The index templates are those of this version of the collection.")


# This machine


def _journal(facts: Facts) -> t.Iterator[Finding]:
    look = facts.journal
    if look is None:
        yield Finding("state", "journal", UNKNOWN, "Nothing has been collected on this machine yet.")
        return
    if isinstance(look, str):
        yield Finding("state", "journal", FAIL, look)
        return
    if look.waiting:
        text = f"{look.waiting} documents wait for Elasticsearch; the next run sends them."
        yield Finding("waiting", "journal", WARN, text)
    else:
        yield Finding("waiting", "journal", OK, "Elasticsearch has everything that was collected.")
    if look.dead:
        number = sum(entry[2] for entry in look.dead)
        reasons = "; ".join(f"{name}: {excerpt(reason, (), 80)} ({count})" for name, reason, count in look.dead[:3])
        yield Finding("dead letters", "journal", WARN, f"{number} records or values could not be used. {reasons}.")
    else:
        yield Finding("dead letters", "journal", OK, "Every record could be used.")
    for entry in facts.sets:
        data_set = entry.data_set
        completed = look.walks.get(data_set.name)
        if not completed:
            yield Finding("last walk", data_set.name, UNKNOWN, "It was never read to the end yet.")
            continue
        age = facts.now - parse_time(completed)
        late = f"It was last read to the end {duration(max(age, timedelta(0)))} ago"
        if age > LATE_RUNS * data_set.every:
            text = f"{late}, and should be every {duration(data_set.every)}. Check the schedule and the error log."
            yield Finding("last walk", data_set.name, WARN, text)
        else:
            yield Finding("last walk", data_set.name, OK, f"{late}.")
        if advice := look_back_advice(look.lags.get(data_set.name, {}), facts.look_back):
            yield Finding("look-back", data_set.name, WARN, advice)


def _machine(facts: Facts) -> t.Iterator[Finding]:
    if facts.free is not None:
        text = f"{facts.free / (1 << 30):.1f} GiB are free for the state."
        if facts.free < SPACE_OUT:
            yield Finding("space", "machine", FAIL, f"{text} Make room: the next run cannot write its journal.")
        elif facts.free < SPACE_LOW:
            yield Finding("space", "machine", WARN, f"{text} Make room before the journal needs it.")
        else:
            yield Finding("space", "machine", OK, text)
    open_files = [path for path, mode in sorted(facts.modes.items()) if mode & 0o007]
    for path in open_files:
        text = (
            f"Every user of this machine may reach {path} (mode {facts.modes[path] & 0o777:04o}). Make it 0640 or less."
        )
        yield Finding("secrets", "machine", WARN, text)
    if facts.modes and not open_files:
        yield Finding("secrets", "machine", OK, "The files with secrets are not open to every user.")


# For people


def _some(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def table(source: str, findings: t.Sequence[Finding]) -> str:
    """The findings as text of at most 100 columns, grouped by what they are about, faults first in the summary."""
    counts = collections.Counter(finding.verdict for finding in findings)
    numbers = ", ".join(f"{counts[verdict]} {verdict}" for verdict in (FAIL, WARN, UNKNOWN, OK) if counts[verdict])
    lines = [f"{source}: {numbers}"]
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.what, []).append(finding)
    for what, group in groups.items():
        lines += ["", what]
        for finding in group:
            start = f"  {finding.verdict:<8} {finding.check:<15} "
            lines += textwrap.wrap(
                finding.sentence,
                WIDTH,
                initial_indent=start,
                subsequent_indent=" " * len(start),
                break_on_hyphens=False,
            )
    return "\n".join(lines)
