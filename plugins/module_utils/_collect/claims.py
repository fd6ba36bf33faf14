# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""What a profile claims of a data set, held against what the vendor answered. Pure.

Text of a vendor comes into a sentence only as a shortened, printable name of a field.
"""

from __future__ import annotations

import collections
import dataclasses
import re
import typing as t
from datetime import datetime

from .._core.clock import format_time, parse_time
from .._core.secrets import excerpt
from .profile import DataSet, Paths, compile_paths, dig, records_of, unwrapped

OK, WARN, FAIL, UNKNOWN = "ok", "warn", "fail", "unknown"
CONFIRMED, REFUTED = "confirmed", "refuted"

SLOW = 10.0  # seconds for a page of 25


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at: ``check`` names it, ``what`` is the data set or part that it is about."""

    check: str
    what: str
    verdict: str
    sentence: str


@dataclasses.dataclass(frozen=True)
class Reply:
    """What came of one call.

    ``status`` is None when there was no answer at all, and ``text`` then says why; else it is the beginning of the
    answer, fit for a message. ``skew`` is by how many seconds the server's clock is ahead of ours, ``answer`` the
    decoded JSON (None when it is none).
    """

    status: int | None
    text: str = ""
    answer: t.Any = None
    seconds: float = 0.0
    skew: float | None = None

    @property
    def good(self) -> bool:
        """Whether it is an answer to the question."""
        return self.status is not None and 200 <= self.status < 300


@dataclasses.dataclass(frozen=True)
class SetLook:
    """What a data set answered: ``first`` pages by variant, and to the questions that were worth asking after that.

    ``since`` is from when on it was asked, ``by_id`` what came when only ``asked_id`` was asked for, ``nobody`` what
    is known of a company that cannot exist.
    """

    data_set: DataSet
    first: tuple[Reply, ...]
    since: datetime | None = None
    second: Reply | None = None
    asked_id: str | None = None
    by_id: Reply | None = None
    nobody: Reply | None = None
    company_unknown: bool = False


@dataclasses.dataclass(frozen=True)
class Claim:
    """Something that a profile takes for granted: it ``holds``, or not, or nobody knows. ``verdict`` is what to make of it."""

    name: str
    holds: bool | None
    verdict: str
    sentence: str


def judge_set(look: SetLook) -> list[Finding]:
    """The findings about one data set; for a set that rests on assumptions a line more, about these."""
    name = look.data_set.name
    claimed = claims(look)
    found = [Finding(claim.name, name, claim.verdict, claim.sentence) for claim in claimed]
    if look.data_set.assumed:
        said = assumptions(look)
        by = {word: [name for name, other in said.items() if other == word] for word in (CONFIRMED, REFUTED, UNKNOWN)}
        parts = [f"{word}: {', '.join(names)}" for word, names in by.items() if names]
        verdict = WARN if by[REFUTED] else UNKNOWN if by[UNKNOWN] else OK
        found.append(Finding("assumed", name, verdict, f"Of what the profile assumes, {'; '.join(parts)}."))
    return found


def assumptions(look: SetLook) -> dict[str, str]:
    """Each claim of the profile about this set as confirmed, refuted or unknown; once refuted is refuted."""
    words: dict[bool | None, str] = {True: CONFIRMED, False: REFUTED, None: UNKNOWN}
    said: dict[str, str] = {}
    for claim in claims(look):
        if said.get(claim.name) != REFUTED:
            said[claim.name] = words[claim.holds]
    return said


def coverage(look: SetLook) -> dict[str, int]:
    """How many per cent of the sample have a value for each mapped field; empty without a sample."""
    records = sample(look)
    if not records:
        return {}
    return {
        ".".join(field.target): round(100 * sum(_filled(record, field.paths) for record in records) / len(records))
        for field in look.data_set.fields
    }


def claims(look: SetLook) -> list[Claim]:
    """What the profile says of this set, held against what the vendor answered."""
    data_set, reply = look.data_set, look.first[0]
    if look.company_unknown:
        return [
            Claim(
                "answer",
                None,
                UNKNOWN,
                "There is no company to ask about: neither the list of companies nor the option accounts names one.",
            )
        ]
    answer = answered(reply, data_set.name)
    holds = True if answer.verdict in (OK, WARN) else False if answer.verdict == FAIL else None
    found = [Claim("answer", holds, answer.verdict, answer.sentence)]
    if not holds:
        return found
    if data_set.envelope.get("success") and _refusal(reply.answer, data_set.envelope):
        text = "The vendor answers that it could not do what was asked. Look at the path and the parameters."
        return [*found, Claim("list", False, FAIL, text)]
    if records_of(reply.answer, data_set.envelope) is None:
        missing = no_list(data_set.name, data_set.envelope)
        return [*found, Claim("list", False, FAIL, missing.sentence)]
    records = sample(look)
    if not records:
        text = "The list is where the profile says, and is empty: nothing can be said about records."
        return [
            *found,
            Claim("list", True, OK, text),
            Claim("records", None, UNKNOWN, "There is no record to look at."),
        ]
    found.append(Claim("list", True, OK, "The records are where the profile says."))
    found += _identified(data_set, records)
    found += _mapped(data_set, records)
    found += _paged(look, records)
    found += _ordered(look, records)
    return [*found, *_asked(look, records)]


def sample(look: SetLook) -> list[dict]:
    """All records of the first pages."""
    found = [records_of(reply.answer, look.data_set.envelope) or [] for reply in look.first if reply.good]
    return [record for records in found for record in records if isinstance(record, dict)]


def envelope_of(answer: t.Any) -> str:
    """How an answer is wrapped, by its looks."""
    if isinstance(answer, list):
        return "a bare list"
    if not isinstance(answer, dict):
        return "no object"
    if "success" in answer and "data" in answer:
        return "envelope v1"
    if isinstance(answer.get("meta"), dict) and isinstance(answer.get("data"), list):
        return "envelope v2"
    if "hits" in answer:
        return "hits of a search"
    return "a list under " + _fields(key for key, value in answer.items() if isinstance(value, list))


def answered(reply: Reply, what: str) -> Finding:
    """Whether ``what`` was answered at all, and if not, what to do."""
    if reply.status is None:
        return Finding("answer", what, UNKNOWN if not reply.text else FAIL, reply.text or "It was not asked.")
    if reply.status in (401, 403):
        return Finding("answer", what, UNKNOWN, f"Nothing can be said: the credentials are refused ({reply.status}).")
    if reply.status == 404:
        text = "There is no such path at the vendor (404). Correct base_url, or path in the option profile."
        return Finding("answer", what, FAIL, text)
    if reply.status == 429:
        return Finding("answer", what, UNKNOWN, "The vendor wants fewer calls now (429). Look again later.")
    if 300 <= reply.status < 400:
        text = f"The vendor sends us elsewhere ({reply.status}), where no token may go. Correct base_url or the path."
        return Finding("answer", what, FAIL, text)
    if not reply.good:
        return Finding("answer", what, FAIL, f"The vendor answers with status {reply.status}: {reply.text}.")
    if reply.answer is None:
        return Finding("answer", what, FAIL, f"The answer is not JSON: {reply.text}. Correct base_url or the path.")
    took = f"It answers in {reply.seconds:.1f} s, {envelope_of(reply.answer)}."
    if reply.seconds > SLOW:
        return Finding("answer", what, WARN, f"{took} That is slow: raise timeout, or ask for smaller pages.")
    return Finding("answer", what, OK, took)


def _refusal(answer: t.Any, envelope: dict) -> bool:
    return isinstance(answer, dict) and answer.get(envelope["success"]) is False


def no_list(what: str, envelope: dict) -> Finding:
    """What to say when the records are not where ``envelope`` says."""
    where = ", ".join(envelope["items"])
    text = (
        f"There is no list of records where the profile says ({where}). Correct envelope.items in the option profile."
    )
    return Finding("list", what, FAIL, text)


def having(what: str, name: str, written: t.Any, paths: Paths, records: list) -> list[Finding]:
    """Whether every record has its ``name``, which the profile looks for at ``paths`` (``written`` as a person wrote them)."""
    missing = sum(not _filled(record, paths) for record in records)
    where = written if isinstance(written, str) else ", ".join(written)
    if not records or not missing:
        return [] if not records else [Finding(name, what, OK, f"Every record has its {name}.")]
    verdict = FAIL if missing == len(records) else WARN
    return [Finding(name, what, verdict, _without(missing, len(records), name, where))]


def _without(missing: int, number: int, name: str, where: str) -> str:
    return f"{missing} of {number} records have no {name} where the profile says ({where})."


def _identified(data_set: DataSet, records: list[dict]) -> t.Iterator[Claim]:
    """Without an id, a company or a time a record is a dead letter."""

    def timed(record: dict) -> bool:
        return bool(_times([record], data_set))

    def filled(paths: Paths | None) -> t.Callable[[dict], bool]:
        return lambda record: _filled(record, paths or ())

    def among(field: str, allowed: frozenset[str]) -> t.Callable[[dict], bool]:
        return lambda record: str(record.get(field)) in allowed

    wanted: list[tuple[str, Paths | None, t.Callable[[dict], bool]]] = [
        ("id", data_set.id, filled(data_set.id)),
        ("company", data_set.tenant_id, filled(data_set.tenant_id)),
        ("time", data_set.time, timed),
        *((field, ((field,),), among(field, allowed)) for field, allowed in data_set.only.items()),
    ]
    for name, paths, there in wanted:
        if paths is None:
            continue
        missing = sum(not there(record) for record in records)
        if not missing:
            yield Claim(name, True, OK, f"Every record has a usable {name}.")
        else:
            text = _without(missing, len(records), f"usable {name}", _written(paths))
            yield Claim(name, False, FAIL if missing == len(records) else WARN, text)


def _mapped(data_set: DataSet, records: list[dict]) -> t.Iterator[Claim]:
    absent = [field for field in data_set.fields if not any(_present(record, field.paths) for record in records)]
    filled = sum(any(_filled(record, field.paths) for record in records) for field in data_set.fields)
    text = f"{filled} of {len(data_set.fields)} mapped fields have values in {len(records)} records."
    if absent:
        names = "; ".join(f"{'.'.join(field.target)} ({_written(field.paths)})" for field in absent)
        text += f" No record knows {names}: correct ecs in the option profile if the vendor calls it otherwise."
    unmapped = sorted({key for record in records for key in record if isinstance(key, str)} - _roots(data_set))
    if unmapped:
        text += f" Not mapped: {_fields(unmapped)}."
    yield Claim("mapping", not absent, WARN if absent else OK, text)
    misfits: collections.Counter[str] = collections.Counter()
    for field in data_set.fields:
        for record in records:
            value = dig(record, field.paths)
            if value is None or value == "":
                continue
            try:
                for item in value if isinstance(value, list) else [value]:
                    field.convert(item)
            except (TypeError, ValueError, OverflowError):
                misfits[".".join(field.target)] += 1
    if misfits:
        names = ", ".join(f"{target} ({number} of {len(records)})" for target, number in misfits.most_common())
        yield Claim("types", False, WARN, f"Values do not fit the type of {names}; they are left out and kept aside.")
    else:
        yield Claim("types", True, OK, "Every value fits its type.")


def _roots(data_set: DataSet) -> set[str]:
    paths = [*(field.paths for field in data_set.fields), data_set.id, data_set.time]
    paths += [data_set.tenant_id, data_set.tenant_name]
    if data_set.derive:
        paths += [data_set.derive.status, data_set.derive.seen]
    roots = {path[0] for alternatives in paths if alternatives for path in alternatives}
    return roots | data_set.drop | data_set.volatile | set(data_set.only)


def _paged(look: SetLook, records: list[dict]) -> t.Iterator[Claim]:
    data_set, first = look.data_set, look.first[0]
    paging = data_set.paging
    if paging["style"] == "search_after":
        if dig(first.answer, compile_paths(paging["cursor"])) is None:
            where = _written(compile_paths(paging["cursor"]))
            text = f"The page gives nothing to go on from ({where}). Correct paging.cursor in the option profile."
            yield Claim("cursor", False, FAIL, text)
            return
        yield Claim("cursor", True, OK, f"The page gives a {paging['send']} to go on from.")
    elif paging.get("last_page"):
        if isinstance(dig(first.answer, compile_paths(paging["last_page"])), int):
            yield Claim("counter", True, OK, "The vendor counts its pages.")
        else:
            where = ", ".join(paging["last_page"])
            text = f"There is no counter of pages ({where}): a list then ends with an empty page, one call later."
            yield Claim("counter", False, WARN, text)
    if look.second is None:
        return
    more = records_of(look.second.answer, data_set.envelope) if look.second.good else None
    param = paging.get("send") or paging.get("page_param")
    if more is None:
        yield Claim("paging", False, FAIL, f"The second page, asked for with {param}, cannot be read.")
        return
    own = {_identity(record, data_set) for record in records_of(first.answer, data_set.envelope) or []}
    again = sum(_identity(record, data_set) in own for record in more)
    if more and again == len(more):
        text = (
            f"The second page is the first one again: the vendor does not heed {param}. Correct paging in the profile."
        )
        yield Claim("paging", False, FAIL, text)
    elif again and paging["style"] == "search_after":
        text = f"{again} of {len(more)} records of the second page were on the first: {param} does not part them."
        yield Claim("paging", False, WARN, text)
    else:
        yield Claim("paging", True, OK, "The second page goes on where the first one ended.")


def _ordered(look: SetLook, records: list[dict]) -> t.Iterator[Claim]:
    data_set = look.data_set
    if data_set.time is None or not (data_set.newest_first or data_set.paging["style"] == "search_after"):
        return
    wanted = "newest first" if data_set.newest_first else "oldest first"
    times = [_times(records_of(reply.answer, data_set.envelope) or [], data_set) for reply in look.first if reply.good]
    if not any(len(set(page)) > 1 for page in times):
        yield Claim("order", None, UNKNOWN, f"There are too few records to tell whether they come {wanted}.")
    elif all(page == sorted(page, reverse=data_set.newest_first) for page in times):
        yield Claim("order", True, OK, f"The records come {wanted}.")
    elif data_set.newest_first:
        text = "The records do not come newest first: a run may stop too early. Set paging.newest_first: false."
        yield Claim("order", False, FAIL, text)
    else:
        text = "The records do not come oldest first: a run that breaks off begins anew at its old cursor."
        yield Claim("order", False, WARN, text)


def _asked(look: SetLook, records: list[dict]) -> t.Iterator[Claim]:
    data_set = look.data_set
    if look.since is not None:
        early = sum(time < format_time(look.since) for time in _times(records, data_set))
        param = data_set.paging["from"]
        if early:
            text = f"{early} of {len(records)} records are older than asked: the vendor does not heed {param}."
            yield Claim("from", False, WARN, f"{text} Every run then reads everything.")
        else:
            yield Claim("from", True, OK, f"The vendor heeds {param}.")
    for variant, reply in zip(data_set.variants, look.first):
        for param, value in variant.items():
            column = re.fullmatch(r"columns\[(\w+)\]", param)
            found = records_of(reply.answer, data_set.envelope) if column and reply.good else None
            if not column or not found:
                continue
            wrong = sum(_plain(record, column[1]) != str(value) for record in found)
            if wrong:
                text = f"{wrong} of {len(found)} records are not what {param}={value} asked for."
                yield Claim("filter", False, WARN, f"{text} They are collected all the same, once.")
            else:
                yield Claim("filter", True, OK, f"The vendor heeds {param}={value}.")
    if data_set.ask and data_set.ask.get("param"):
        yield _heeded(look)
    if data_set.ask_again:
        yield _asked_again(look, records)


def _heeded(look: SetLook) -> Claim:
    param = (look.data_set.ask or {})["param"]
    reply = look.nobody
    if reply is None or reply.status is None or reply.status in (401, 403, 429) or reply.status >= 500:
        return Claim("company filter", None, UNKNOWN, f"Whether the vendor heeds {param} could not be asked.")
    if reply.good and records_of(reply.answer, look.data_set.envelope):
        text = f"The vendor does not heed {param}: it answers for a company that cannot exist."
        return Claim("company filter", False, WARN, f"{text} The set is kept under the provider's own name.")
    return Claim("company filter", True, OK, f"The vendor heeds {param}.")


def _asked_again(look: SetLook, records: list[dict]) -> Claim:
    rules, data_set, reply = look.data_set.ask_again or {}, look.data_set, look.by_id
    way = rules.get("param") or rules.get("path")
    if reply is None or look.asked_id is None or reply.status in (401, 403, 429):
        return Claim("ids", None, UNKNOWN, f"Whether records can be asked for by id ({way}) could not be asked.")
    if rules["by"] == "get":
        found = None if not reply.good else [unwrapped(reply.answer, data_set.envelope)]
    else:
        found = records_of(reply.answer, data_set.envelope) if reply.good else None
    if not found:
        answered = f"status {reply.status}" if reply.status else "no answer"
        text = f"A record that was just listed is not found by its id ({way}; {answered})."
        return Claim("ids", False, FAIL, f"{text} Correct ask_again in the option profile.")
    got = {str(dig(record, data_set.id or ())) for record in found}
    if got == {look.asked_id}:
        if rules["by"] == "search" and len({str(dig(record, data_set.id or ())) for record in records}) < 2:
            return Claim("ids", None, UNKNOWN, f"With one record in all, nothing shows whether {way} is heeded.")
        return Claim("ids", True, OK, f"The vendor gives the record that is asked for by id ({way}).")
    text = f"Asked for one record by its id ({way}), the vendor sends others."
    return Claim("ids", False, FAIL, f"{text} Reviews would be missed: correct ask_again in the option profile.")


def _identity(record: t.Any, data_set: DataSet) -> str:
    return str(dig(record, data_set.id)) if data_set.id else repr(record)


def _times(records: list, data_set: DataSet) -> list[str]:
    found = []
    for record in records:
        try:
            found.append(format_time(parse_time(dig(record, data_set.time or ()), data_set.zone)))
        except ValueError:
            continue
    return found


def _plain(record: t.Any, field: str) -> str:
    value = record.get(field) if isinstance(record, dict) else None
    return str(int(value)) if isinstance(value, bool) else str(value)


def _filled(record: t.Any, paths: Paths) -> bool:
    return dig(record, paths) not in (None, "")


def _present(record: t.Any, paths: Paths) -> bool:
    """Whether the vendor knows such a field, be it empty."""
    for *parents, last in paths:
        holder = dig(record, (tuple(parents),)) if parents else record
        if isinstance(holder, dict) and last in holder:
            return True
        if isinstance(last, int) and dig(record, ((*parents, last),)) is not None:
            return True
    return False


def _written(paths: Paths) -> str:
    return ", ".join(".".join(map(str, path)) for path in paths)


def _fields(names: t.Iterable[str], most: int = 8) -> str:
    shown = [excerpt(name, (), 40) for name in names]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")
