# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""From a vendor's record to the one shape that everything after it reads: Elastic Common Schema, with a tenant."""

from __future__ import annotations

import dataclasses
import typing as t
from datetime import datetime

from .._core.clock import format_time, parse_time
from .._core.ids import content_digest, document_id, index_name
from .._core.libraries import orjson
from .ecs import KEYWORD_LENGTH
from .profile import DataSet, Derived, Source, dig

ONLINE, OFFLINE, RECENTLY_OFFLINE = "online", "offline", "recently offline"


class Malformed(Exception):
    """A record that cannot be identified or normalised; the text is the reason kept with the dead letter."""


@dataclasses.dataclass(frozen=True)
class Company:
    """A client, as its id and name at the source."""

    id: str
    name: str


@dataclasses.dataclass(frozen=True)
class Document:
    """One record in its final shape.

    ``source`` is what Elasticsearch will hold, ``digest`` its identity of content, ``open`` whether somebody at the
    vendor still has to look at it (None where that has no meaning), ``rejected`` what did not fit its type and why.
    ``note`` is what the journal keeps for the next time (the derived state).
    """

    id: str
    index: str
    kind: str
    time: str
    vendor_id: str
    tenant: str
    digest: str
    source: dict
    open: bool | None = None
    rejected: tuple[str, ...] = ()
    note: str | None = None


def normalise(
    record: t.Any,
    source: Source,
    data_set: DataSet,
    observed: str,
    slug_of: t.Callable[[str, str], str],
    company: Company | None = None,
    names: t.Mapping[str, str] | None = None,
) -> Document:
    """One record as a Document. ``observed`` is the present time as format_time() writes it.

    ``slug_of(tenant id, name)`` gives the company's part of the index name. ``company`` is whose record it is, where
    the record does not say; ``names`` has the names of companies by id, where it says no more than the id.

    A value that does not fit the type of its field is left out and named in ``rejected``: an alarm counts, also with
    an address that is none. Raises Malformed: a record without id, tenant or usable time is never guessed at.
    """
    if not isinstance(record, dict):
        raise Malformed("it is not an object")
    kept = _without(record, data_set.drop)
    digest = content_digest(_lasting(kept, data_set))
    vendor_id = digest if data_set.id is None else dig(record, data_set.id)
    if not _is_key(vendor_id):
        raise Malformed("it has no id that can be used")
    tenant = company or _tenant(record, data_set, names or {})
    if data_set.time is None:
        time = observed
    else:
        try:
            time = format_time(parse_time(dig(record, data_set.time), data_set.zone))
        except ValueError as exc:
            raise Malformed(f"its time is unusable: {exc}") from exc
    for field, allowed in data_set.only.items():
        value = record.get(field)
        if str(value) not in allowed:
            raise Malformed(f"it has no {field}" if value is None else f"its {field} is {str(value)[:60]!r}")
    vendor_id = str(vendor_id)
    identity = document_id(source.name, data_set.name, tenant.id, vendor_id)
    body: dict = {
        "@timestamp": time,
        "organization": {"id": tenant.id, "name": tenant.name},
        "event": {
            "id": vendor_id,
            "module": source.name,
            "dataset": f"{source.name}.{data_set.index}",
            "ingested": observed,
            "original": record["line"] if data_set.files else orjson.dumps(kept).decode(),
        },
        "soc": {"id": identity, "set": data_set.name},
    }
    for target, value in data_set.constants:
        _put(body, target, value)
    rejected = []
    for field in data_set.fields:
        value = record.get(field.key) if field.key else dig(record, field.paths)
        if value is None or value == "":
            continue
        try:
            # Every field of Elasticsearch may hold a list of its type.
            convert = field.convert
            _put(body, field.target, [convert(item) for item in value] if isinstance(value, list) else convert(value))
        except (TypeError, ValueError, OverflowError) as exc:
            rejected.append(f"{'.'.join(field.target)} cannot be {str(value)[:60]!r} ({str(exc)[:80]})")
    own = body["soc"]
    if rejected:
        own["rejected"] = [reason.partition(" ")[0] for reason in rejected]
    if data_set.kind == "snapshot":
        own["present"] = True
    return Document(
        id=identity,
        index=index_name(source.name, data_set.index, slug_of(tenant.id, tenant.name)),
        kind=data_set.kind,
        time=time,
        vendor_id=vendor_id,
        tenant=tenant.id,
        digest=digest,
        source=body,
        open=_is_open(body, data_set),
        rejected=tuple(rejected),
    )


def _is_key(value: t.Any) -> bool:
    """Whether a value identifies something. A number of more than 64 bits arrives as a float: two may look alike."""
    if isinstance(value, str):
        return 0 < len(value) <= KEYWORD_LENGTH
    return isinstance(value, int) and not isinstance(value, bool)


def _tenant(record: dict, data_set: DataSet, names: t.Mapping[str, str]) -> Company:
    identity = dig(record, data_set.tenant_id) if data_set.tenant_id else None
    if not _is_key(identity):
        raise Malformed("it names no company")
    identity = str(identity)
    name = dig(record, data_set.tenant_name) if data_set.tenant_name else names.get(identity)
    if not isinstance(name, str) or not name.strip() or len(name) > KEYWORD_LENGTH:
        raise Malformed(f"it names no company beside the id {identity[:60]!r}")
    return Company(identity, name)


def _lasting(record: dict, data_set: DataSet) -> dict:
    """What makes the identity of a record's content. An event stays what it was when its company gets another name."""
    record = _without(record, data_set.volatile)
    for path in data_set.tenant_name or () if data_set.kind == "event" else ():
        record = _pruned(record, path)
    return record


def _pruned(value: t.Any, path: t.Sequence) -> t.Any:
    if not isinstance(value, dict) or path[0] not in value:
        return value
    rest = {key: item for key, item in value.items() if key != path[0]}
    return {**rest, path[0]: _pruned(value[path[0]], path[1:])} if path[1:] else rest


def _is_open(body: dict, data_set: DataSet) -> bool | None:
    if not data_set.open_until:
        return None
    return dig(body, (data_set.open_until,)) is not True


def derive_state(document: Document, record: dict, rules: Derived, before: str | None, now: datetime) -> Document:
    """``document`` with the state of a probe: online, offline, or recently offline.

    Offline is what says so itself, and what was not seen for ``rules.offline_after``. It counts as recently offline
    for as long as ``rules.recent`` after the change. The moment of the change is what the journal kept (``before``, a
    note of ours), else the time when the probe was last seen. Pure.
    """
    status, seen = dig(record, rules.status), None
    try:
        seen = parse_time(dig(record, rules.seen), rules.zone)
    except ValueError:
        pass  # it never reported, or the vendor does not say when
    offline = str(status).lower() == OFFLINE or (seen is not None and now - seen > rules.offline_after)
    kept = orjson.loads(before) if before else {}
    since = min(seen, now) if offline and seen else now
    if kept.get("offline") == offline:
        since = parse_time(kept["since"])
    state = ONLINE if not offline else RECENTLY_OFFLINE if now - since <= rules.recent else OFFLINE
    body = {**document.source, "soc": {**document.source["soc"], "state_since": format_time(since)}}
    _put(body, rules.target, state)
    note = orjson.dumps({"offline": offline, "since": format_time(since)}).decode()
    return dataclasses.replace(document, source=body, digest=content_digest([document.digest, state]), note=note)


def wanted(record: t.Any, data_set: DataSet, tenants: frozenset[str] | None) -> bool:
    """False for what is not to be collected: other levels, companies without a subscription."""
    if not isinstance(record, dict):
        return True
    if tenants is not None and data_set.tenant_id:
        tenant = dig(record, data_set.tenant_id)
        if tenant is not None and str(tenant) not in tenants:
            return False
    # What is not even a number is let through, to be a dead letter: silence would hide it.
    return not any(
        str(value) not in allowed and str(value).lstrip("-").isdecimal()
        for field, allowed in data_set.only.items()
        if (value := record.get(field)) is not None
    )


def operation(document: Document, version: int) -> bytes:
    """The two lines that go to the bulk API, and that the journal keeps.

    An event is created once. State is replaced under an external version, so that an older state that is sent
    again, in whatever order, never replaces a newer one.
    """
    target = {"_index": document.index, "_id": document.id}
    if document.kind == "event":
        action: dict = {"create": target}
    else:
        action = {"index": {**target, "version": version, "version_type": "external"}}
    return b"%s\n%s\n" % (orjson.dumps(action), orjson.dumps(document.source))


def _put(body: dict, target: tuple[str, ...], value: t.Any) -> None:
    for key in target[:-1]:
        if key not in body:
            body[key] = {}
        body = body[key]
    body[target[-1]] = value


def _without(record: dict, keys: frozenset[str]) -> dict:
    return record if keys.isdisjoint(record) else {key: value for key, value in record.items() if key not in keys}
